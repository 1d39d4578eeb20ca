//! From polling to WebSocket: probe, pause, upgrade packet.

use std::io::{self, BufReader};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use throng_codec::websocket::Message;

use crate::defect::Defect;
use crate::frames::{Fault, Reader, Writer};
use crate::shared::{Shared, lock};
use crate::world::Session;

/// Runs the probe on a new WebSocket; `true` when the session moved to it.
pub fn probe(
    world: &Shared,
    sid: &str,
    frames: &mut Reader<BufReader<TcpStream>>,
    writer: &Writer,
    stream: &TcpStream,
) -> io::Result<bool> {
    let timeout = lock(world).options.upgrade_timeout;
    let deadline = Instant::now() + timeout;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    if next_text(frames, writer, deadline).as_deref() != Some("2probe") {
        if lock(world).has(Defect::NoProbeEndsSession) {
            lock(world).end_session(sid, 1008, "parse_error");
        }
        writer.close(1008, "no probe");
        return Ok(false);
    }
    let pipe = {
        let mut world = lock(world);
        let has_payload = !world.has(Defect::PongWithoutPayload);
        let keeps_poll = world.has(Defect::HeldPollKept);
        let once = world.has(Defect::UpgradedOnce);
        let may_upgrade = |s: &&mut Session| !(s.upgrading || once && s.gave_up);
        let Some(session) = world.sessions.get_mut(sid).filter(may_upgrade) else {
            writer.close(1008, "no such session");
            return Ok(false);
        };
        session.upgrading = true;
        writer.text(if has_payload { "3probe" } else { "3" })?;
        let mut out = session.pipe.lock();
        out.released = out.held && !keeps_poll;
        drop(out);
        session.pipe.wake.notify_all();
        session.pipe.clone()
    };
    let moved = if lock(world).has(Defect::WritesDuringProbe) {
        writer.text("6")?;
        next_text(frames, writer, deadline).as_deref() == Some("5")
    } else {
        next_text(frames, writer, deadline).as_deref() == Some("5")
    };
    let mut world = lock(world);
    let repeats = world.has(Defect::DuplicateAfterUpgrade);
    let loses = world.has(Defect::LostInUpgrade);
    let restarts = world.has(Defect::UpgradeRestartsPing);
    let gives_up = world.has(Defect::GivenUpEndsSession);
    let interval = world.options.ping_interval;
    let Some(session) = world.sessions.get_mut(sid) else {
        writer.close(1008, "no such session");
        return Ok(false);
    };
    session.upgrading = false;
    session.gave_up |= !moved;
    if restarts {
        session.ping_due = Instant::now() + interval;
    }
    if !moved && gives_up {
        world.end_session(sid, 1008, "parse_error");
        return Ok(false);
    }
    if !moved {
        pipe.lock().released = false;
        writer.close(1008, "no upgrade");
        return Ok(false);
    }
    session.on_websocket = true;
    if loses {
        pipe.lock().queue.clear();
    }
    if repeats && let Some(packet) = session.last_event.clone() {
        pipe.lock().queue.insert(0, packet);
    }
    // A GET that is still held is answered with a noop.
    let mut out = pipe.lock();
    if out.held {
        out.released = true;
    }
    drop(out);
    pipe.wake.notify_all();
    stream.set_read_timeout(None)?;
    Ok(true)
}

fn next_text(
    frames: &mut Reader<BufReader<TcpStream>>,
    writer: &Writer,
    deadline: Instant,
) -> Option<String> {
    while Instant::now() < deadline {
        match frames.next() {
            Ok(Message::Text(text)) => return Some(text),
            Ok(Message::Ping(data)) => writer.pong(&data),
            Ok(Message::Pong(_)) | Err(Fault::Quiet) => {}
            Ok(Message::Binary(_) | Message::Close(_)) | Err(_) => return None,
        }
    }
    None
}
