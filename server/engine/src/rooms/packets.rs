//! The packets that an application of named rooms sends.

use bytes::Bytes;
use serde::Serialize;
use throng_wire::{sio, ws};

use super::items::Ack;
use super::settings::Counters;
use crate::engine::Engine;
use crate::ids::SocketId;

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

/// Sends an Engine.IO packet to a client, unless it has gone.
pub(super) fn send(id: SocketId, packet: &str, engine: &mut Engine, counters: &mut Counters) {
    if is_here(id, engine, counters) {
        engine.emit_event(id.session(), packet);
    }
}

/// Disconnects a client, unless it has gone.
pub(super) fn disconnect(id: SocketId, engine: &mut Engine, counters: &mut Counters) {
    if is_here(id, engine, counters) {
        engine.disconnect(id.session(), 0);
    }
}

/// Whether the client is still connected. Its session may have left and connected again as another
/// client, of which the application does not know yet: the engine decodes all of a read first.
fn is_here(id: SocketId, engine: &Engine, counters: &mut Counters) -> bool {
    let current = engine.session(id.session()).and_then(|session| session.socket_id(0));
    let is_here = current == Some(id);
    counters.sockets_unknown += u64::from(!is_here);
    is_here
}

#[track_caller]
fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("an application sends values that have JSON")
}
