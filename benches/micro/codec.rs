//! Codecs: what one inbound message and one outbound frame cost.

#![forbid(unsafe_code)]

use divan::Bencher;
use divan::counter::BytesCount;
use throng_loadgen::frame;
use throng_wire::{sio, ws};

fn main() {
    divan::main();
}

const LIMITS: ws::Limits = ws::Limits { message_bytes_max: 1 << 20, fragments_max: 16 };

fn packet(text_bytes: usize) -> String {
    let text = "x".repeat(text_bytes);
    format!("42[\"message\",{{\"msg\":\"{text}\",\"img\":\"\",\"roomid\":1,\"time\":\"\"}}]")
}

fn masked(payload: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, frame::TEXT, 0x1357_9bdf, payload.as_bytes());
    bytes
}

/// A masked WebSocket frame becomes a text message, unmasked in place.
#[divan::bench(args = [128, 2048])]
fn websocket_decode(bencher: Bencher<'_, '_>, text_bytes: usize) {
    let payload = packet(text_bytes);
    let frame = masked(&payload);
    bencher.counter(BytesCount::new(frame.len())).with_inputs(|| frame.clone()).bench_refs(
        |bytes| {
            let mut decoder = ws::Decoder::default();
            let mut input = bytes.as_mut_slice();
            match decoder.next(&mut input, &LIMITS) {
                Ok(Some(ws::Message::Text(text))) => assert_eq!(text.len(), payload.len()),
                _ => panic!("one whole text message"),
            }
        },
    );
}

/// The Socket.IO packet of a publish, down to its first argument.
#[divan::bench(args = [128, 2048])]
fn socketio_decode(bencher: Bencher<'_, '_>, text_bytes: usize) {
    let packet = packet(text_bytes);
    let limits = sio::Limits::default();
    bencher.counter(BytesCount::new(packet.len())).bench_local(|| {
        let packet = sio::decode(divan::black_box(&packet[1..]), &limits).expect("a packet");
        let event = sio::event(packet.data.expect("an event has data")).expect("an event");
        assert_eq!(event.name, "message");
        sio::first_arg(event.args).expect("one argument").len()
    });
}

/// The event a room receives, and its shared frame.
#[divan::bench(args = [128, 2048])]
fn socketio_encode(bencher: Bencher<'_, '_>, text_bytes: usize) {
    let text = "x".repeat(text_bytes);
    let argument = format!("{{\"userid\":\"u1\",\"msg\":\"{text}\",\"roomid\":1,\"seq\":1}}");
    bencher.counter(BytesCount::new(argument.len())).bench_local(|| {
        let mut out = String::new();
        sio::put_event(&mut out, "/", None, "message", &[divan::black_box(&argument)]);
        ws::text_frame(&out)
    });
}
