//! The packets that an application of named rooms sends.

use bytes::Bytes;
use serde::Serialize;
use throng_wire::{sio, ws};

use super::items::Ack;
use crate::engine::Engine;
use crate::ids::SessionId;

/// Whether Socket.IO reserves the name of an event. A client's library would take such an event for
/// its own, so an application that emits under a name it got from a client asks this first.
///
/// Spec: SIO-47, SIO-48.
pub fn is_reserved(name: &str) -> bool {
    sio::is_reserved(name)
}

/// The Engine.IO packet of an event.
#[track_caller]
pub(super) fn event(name: &str, data: &impl Serialize) -> String {
    assert!(!is_reserved(name), "`{name}` is the name of an event that Socket.IO reserves");
    let mut packet = String::new();
    sio::put_event(&mut packet, "/", None, name, &[&json(data)]);
    packet
}

/// The WebSocket frame of an event.
#[track_caller]
pub(super) fn event_frame(name: &str, data: &impl Serialize) -> Bytes {
    ws::text_frame(&event(name, data))
}

/// The Engine.IO packet of an answer, if the client waits for one.
#[track_caller]
pub(super) fn ack(ack: Ack, data: &impl Serialize) -> Option<String> {
    let mut packet = String::new();
    sio::put_ack(&mut packet, "/", ack?, &json(data));
    Some(packet)
}

/// Disconnects the client of a session.
pub(super) fn disconnect(session: SessionId, engine: &mut Engine) {
    engine.disconnect(session, 0);
}

#[track_caller]
fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("an application sends values that have JSON")
}
