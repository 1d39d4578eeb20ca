//! What the server may do by itself: act on any room and on any client.

use std::convert::Infallible;

use serde::Serialize;

use super::edge::Edge;
use super::items::Direct;
use super::packets;
use crate::ids::SocketId;

/// All rooms and all clients, as the server acts on them: `io` of the original.
pub struct Io<'a, M = Infallible> {
    pub(super) edge: &'a mut Edge<M>,
}

impl<M> Io<'_, M> {
    /// A room: `io.in(room)`. One without members takes everything and does nothing.
    pub fn room<'r>(&'r mut self, name: &'r str) -> IoRoom<'r, M> {
        IoRoom { name, edge: self.edge }
    }

    /// One client: `io.to(id)`. An action on a client that has gone does nothing and is counted
    /// (`sockets_unknown`).
    pub fn socket(&mut self, id: SocketId) -> IoSocket<'_, M> {
        IoSocket { id, edge: self.edge }
    }
}

/// A room, as the server acts on it. An action takes effect in the room's order, for the members of
/// that moment.
pub struct IoRoom<'a, M = Infallible> {
    name: &'a str,
    edge: &'a mut Edge<M>,
}

impl<M> IoRoom<'_, M> {
    /// Sends an event with one argument to every member.
    ///
    /// # Panics
    /// When [`super::is_reserved`] names `name`, or `data` has no JSON.
    #[track_caller]
    pub fn emit(&mut self, name: &str, data: impl Serialize) {
        self.edge.emit(self.name, packets::event_frame(name, &data), None);
    }

    /// Takes every member out: `socketsLeave`. They receive nothing of the room that comes after it in the
    /// room's order. A member may join again once it has left.
    pub fn remove_all(&mut self) {
        self.edge.remove_all(self.name, false);
    }

    /// Disconnects every member: `disconnectSockets`.
    pub fn disconnect_all(&mut self) {
        self.edge.remove_all(self.name, true);
    }
}

/// One client, as the server acts on it. What one handler call does for one client happens in that
/// order; it has no order with what happens in rooms.
pub struct IoSocket<'a, M = Infallible> {
    id: SocketId,
    edge: &'a mut Edge<M>,
}

impl<M> IoSocket<'_, M> {
    /// Sends an event with one argument to the client.
    ///
    /// # Panics
    /// When [`super::is_reserved`] names `name`, or `data` has no JSON.
    #[track_caller]
    pub fn emit(&mut self, name: &str, data: impl Serialize) {
        self.edge.direct(self.id, Direct::Packet(packets::event(name, &data).into()));
    }

    /// Takes the client out of a room.
    pub fn leave(&mut self, room: &str) {
        self.edge.direct_leave(self.id, room);
    }

    /// Disconnects the client: it reports `io server disconnect` and does not come back by itself.
    pub fn disconnect(&mut self) {
        self.edge.direct(self.id, Direct::Disconnect);
    }
}
