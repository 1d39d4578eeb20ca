//! What a handler may do for a connected client.

use std::convert::Infallible;

use serde::Serialize;

use super::edge::{Edge, JoinError};
use super::io::Io;
use super::items::Ack;
use super::packets;
use super::settings::Counters;
use crate::engine::Engine;
use crate::ids::SocketId;

/// A connected client, for the length of one call of the [`super::Handler`].
///
/// What is sent to a client that has left meanwhile reaches nobody, also when its session has connected
/// again: that is another client, with another id. It is counted (`sockets_unknown`).
pub struct Socket<'a, M = Infallible> {
    pub(super) id: SocketId,
    /// Of the event that is handled.
    pub(super) event_bytes: u32,
    pub(super) engine: &'a mut Engine,
    pub(super) edge: &'a mut Edge<M>,
    pub(super) counters: &'a mut Counters,
}

impl<M> Socket<'_, M> {
    /// The client's public id, which may be sent to anyone. A client of Engine.IO 4 knows it as
    /// `socket.id`; one of Engine.IO 3 does not know it.
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// Sends an event with one argument to this client.
    ///
    /// # Panics
    /// When [`super::is_reserved`] names `name`, or `data` has no JSON: a map whose keys are not
    /// strings.
    #[track_caller]
    pub fn emit(&mut self, name: &str, data: impl Serialize) {
        packets::send(self.id, &packets::event(name, &data), self.engine, self.counters);
    }

    /// Answers an event at once; nothing happens when the client asked for no answer.
    ///
    /// # Panics
    /// When `data` has no JSON.
    #[track_caller]
    pub fn ack(&mut self, ack: Ack, data: impl Serialize) {
        if let Some(packet) = packets::ack(ack, &data) {
            packets::send(self.id, &packet, self.engine, self.counters);
        }
    }

    /// The rooms that the client is in, or has asked to join. See [`Socket::is_in`].
    pub fn rooms(&self) -> Vec<String> {
        self.edge.rooms_of(self.id.session())
    }

    /// Whether the client is in the room, or has asked to join it. This is no permission: it is true
    /// before the room's home has decided, and false again when that refuses. What only members may do
    /// is for the room's state to judge, with [`super::RoomHome::has`]. Only where rooms have no state
    /// nobody is refused, and a client that has asked is in before anything that it does next.
    pub fn is_in(&self, room: &str) -> bool {
        self.edge.is_in(self.id.session(), room)
    }

    /// A room, as this client acts on it.
    pub fn room<'r>(&'r mut self, name: &'r str) -> Room<'r, M> {
        let Socket { id, event_bytes, .. } = *self;
        Room { id, event_bytes, name, edge: self.edge }
    }

    /// Other clients and rooms, as the server acts on them.
    pub fn io(&mut self) -> Io<'_, M> {
        Io { edge: self.edge }
    }

    /// Disconnects the client: it reports `io server disconnect` and does not come back by itself.
    pub fn disconnect(&mut self) {
        packets::disconnect(self.id, self.engine, self.counters);
    }
}

/// A room and the client that acts on it.
pub struct Room<'a, M = Infallible> {
    id: SocketId,
    event_bytes: u32,
    name: &'a str,
    edge: &'a mut Edge<M>,
}

impl<M> Room<'_, M> {
    /// Asks the room's home to let the client in. `Ok` says that it was asked; a [`super::RoomState`],
    /// or a limit of rooms with state, may refuse later. [`Room::ack_is_in`] answers when it has decided.
    ///
    /// # Errors
    /// [`JoinError`] when the client cannot ask; then nothing has happened.
    pub fn join(&mut self) -> Result<(), JoinError> {
        self.edge.join(self.id, self.name)
    }

    /// Takes the client out. False if it is not in.
    pub fn leave(&mut self) -> bool {
        self.edge.leave(self.id.session(), self.name)
    }

    /// Sends an event with one argument to every member, the client included if it is one. The client
    /// need not be one.
    ///
    /// # Panics
    /// As [`Socket::emit`].
    #[track_caller]
    pub fn emit(&mut self, name: &str, data: impl Serialize) {
        self.edge.emit(self.name, packets::event_frame(name, &data), None);
    }

    /// As [`Room::emit`], to every member but the client: `socket.to(room).emit` of the original.
    ///
    /// # Panics
    /// As [`Socket::emit`].
    #[track_caller]
    pub fn emit_to_others(&mut self, name: &str, data: impl Serialize) {
        self.edge.emit(self.name, packets::event_frame(name, &data), Some(self.id));
    }

    /// Answers an event of the client once everything done with the room before has taken effect.
    ///
    /// # Panics
    /// When `data` has no JSON.
    #[track_caller]
    pub fn ack(&mut self, ack: Ack, data: impl Serialize) {
        if let Some(packet) = packets::ack(ack, &data) {
            self.edge.ack(self.id, self.name, packet);
        }
    }

    /// As [`Room::ack`], with what `answer` makes of whether the client is then in the room: the answer
    /// to a request to join, whether [`Room::join`] was `Ok` or not. A client that is refused gets
    /// `answer(false)`, after [`super::Handler::join_refused`].
    ///
    /// # Panics
    /// When what `answer` returns has no JSON.
    #[track_caller]
    pub fn ack_is_in<T: Serialize>(&mut self, ack: Ack, answer: impl Fn(bool) -> T) {
        let packets = packets::ack(ack, &answer(true)).zip(packets::ack(ack, &answer(false)));
        if let Some((member, other)) = packets {
            self.edge.ack_is_in(self.id, self.name, member, other);
        }
    }

    /// Sends a message to the room's state, [`super::RoomState::message`], which may answer the event.
    pub fn send(&mut self, message: M, ack: Ack) {
        self.edge.message(self.name, self.id, message, ack, self.event_bytes);
    }
}
