//! An accepted packet splits into name and arguments, and its parts encode to a packet that means
//! the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throng_wire::sio::{EventData, Kind, Limits, decode, event, first_arg, put_event};

fuzz_target!(|text: &str| {
    let limits = Limits::default();
    let _ = event(text);
    let _ = first_arg(text);
    let Ok(packet) = decode(text, &limits) else { return };
    if packet.kind != Kind::Event {
        return;
    }
    let data = packet.data.expect("an event has data");
    let parts = event(data).expect("an accepted event splits");
    let kept = EventData::new(data, &parts, String::new());
    assert_eq!((kept.name(), kept.args()), (&*parts.name, parts.args));
    let args: &[&str] = if parts.args.is_empty() { &[] } else { &[parts.args] };
    let mut again = String::new();
    put_event(&mut again, packet.namespace, packet.ack, &parts.name, args);
    let again = decode(&again[1..], &limits).expect("our own packet");
    assert_eq!((again.namespace, again.ack), (packet.namespace, packet.ack));
    assert_eq!(event(again.data.expect("data")).expect("an event"), parts);
});
