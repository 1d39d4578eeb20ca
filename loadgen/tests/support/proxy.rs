//! A proxy that passes everything on, except that it spoils deliveries in one chosen way.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use throng_loadgen::frame::{self, Head};

use super::server::read_head;

#[derive(Clone, Copy)]
pub enum Fault {
    /// Nothing is spoiled.
    None,
    /// Every so many deliveries one is dropped.
    Lose(u32),
    /// Every so many deliveries one is sent twice.
    Duplicate(u32),
    /// Every so many deliveries one changes places with the next.
    Swap(u32),
    /// Every so many deliveries one has another text: cut, with another byte, or with one more, in turns.
    Alter(u32),
    /// Everything takes this much longer.
    Delay(Duration),
    /// Once, after so many deliveries, nothing moves for this long.
    Pause(u32, Duration),
    /// After so many deliveries the connection is cut.
    Cut(u32),
}

/// What went to the clients, counted on the wire.
#[derive(Default)]
pub struct Wire {
    pub deliveries: AtomicU64,
    pub frames: AtomicU64,
    /// Response heads included.
    pub bytes: AtomicU64,
}

/// Starts a proxy before `upstream` (`http://…`); returns its URL.
pub fn start(upstream: &str, fault: Fault) -> String {
    start_counting(upstream, fault).0
}

/// The same, with its count.
pub fn start_counting(upstream: &str, fault: Fault) -> (String, Arc<Wire>) {
    let wire = Arc::new(Wire::default());
    let counting = Arc::clone(&wire);
    let upstream = upstream.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let upstream = TcpStream::connect(&upstream).unwrap();
            client.set_nodelay(true).unwrap();
            upstream.set_nodelay(true).unwrap();
            let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let wire = Arc::clone(&counting);
            std::thread::spawn(move || copy(from, to));
            std::thread::spawn(move || spoil(upstream, client, fault, &wire));
        }
    });
    (url, wire)
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

fn spoil(mut from: TcpStream, mut to: TcpStream, fault: Fault, wire: &Wire) {
    let Some(head) = read_head(&mut from) else { return };
    if to.write_all(head.as_bytes()).is_err() {
        return;
    }
    wire.bytes.fetch_add(head.len() as u64, Ordering::Relaxed);
    let (queue, queued) = channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        while let Ok((due, frame)) = queued.recv() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if frame.is_empty() || to.write_all(&frame).is_err() {
                let _ = to.shutdown(std::net::Shutdown::Both);
                break;
            }
        }
    });
    let mut seen = 0u32;
    let mut held: Option<Vec<u8>> = None;
    while let Some(frame) = read_whole_frame(&mut from) {
        let now = Instant::now();
        wire.frames.fetch_add(1, Ordering::Relaxed);
        wire.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        let pass = |frame: Vec<u8>| queue.send((now, frame)).is_ok();
        if !frame.windows(4).any(|window| window == b"~TL:") {
            let due = if let Fault::Delay(by) = fault { now + by } else { now };
            let _ = queue.send((due, frame));
            continue;
        }
        seen += 1;
        wire.deliveries.fetch_add(1, Ordering::Relaxed);
        let _ = match fault {
            Fault::Lose(every) if seen.is_multiple_of(every) => true,
            Fault::Duplicate(every) if seen.is_multiple_of(every) => {
                pass(frame.clone()) && pass(frame)
            }
            Fault::Alter(every) if seen.is_multiple_of(every) => {
                pass(altered(&frame, seen / every))
            }
            Fault::Swap(every) if seen.is_multiple_of(every) => {
                held = Some(frame);
                true
            }
            Fault::Delay(by) => queue.send((now + by, frame)).is_ok(),
            Fault::Pause(after, by) if seen == after => {
                std::thread::sleep(by);
                pass(frame)
            }
            Fault::Cut(after) if seen == after => {
                let _ = from.shutdown(std::net::Shutdown::Both);
                pass(Vec::new())
            }
            _ => pass(frame) && held.take().is_none_or(pass),
        };
    }
}

/// The frame with another text.
fn altered(frame: &[u8], turn: u32) -> Vec<u8> {
    let Head::Frame { header, .. } = frame::head(frame) else { return frame.to_vec() };
    let mut payload = frame[header..].to_vec();
    let text = payload.windows(4).position(|window| window == b"~TL:").unwrap_or(0);
    let end = payload[text..].iter().position(|byte| *byte == b'"').map(|len| text + len);
    let end = end.unwrap_or(payload.len());
    match turn % 3 {
        0 => drop(payload.drain(end - 7..end)),
        1 => payload[end - 1] = b'!',
        _ => payload.insert(end, b'!'),
    }
    let mut altered = Vec::new();
    frame::put_unmasked(&mut altered, frame::TEXT, &payload);
    altered
}

/// One frame of the server, header included.
fn read_whole_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Head::Partial { need } = frame::head(&bytes) {
        let read = bytes.len();
        bytes.resize(need, 0);
        stream.read_exact(&mut bytes[read..]).ok()?;
    }
    Some(bytes)
}
