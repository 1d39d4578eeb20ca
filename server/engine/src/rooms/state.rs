//! What an application keeps for each room, at the room's home.

use std::convert::Infallible;

use super::items::Ack;
use super::room_home::RoomHome;
use crate::ids::SocketId;

/// What an application keeps for each room: one value, at the room's home, made by `Default` when
/// the first client joins and dropped when the last one has left. What must live longer belongs to a
/// store.
///
/// All calls about one room come in the room's order: that of its joins, leaves, events and messages.
/// What a call sends reaches the members in the same order. Nothing here may wait.
///
/// `()` keeps nothing: homes then know the number of members on each shard, and no members.
pub trait RoomState: Default + 'static {
    /// What [`super::Room::send`] sends here.
    type Message: Send + 'static;

    /// False only for `()`: no hook is called, and homes keep no members.
    const IS_KEPT: bool = true;

    /// A client asks to join; false refuses it. The reason is sent with
    /// [`RoomHome::emit_to`], or in the answer to its event from [`RoomState::message`].
    fn admits(&mut self, room: &mut RoomHome<'_>, id: SocketId) -> bool {
        let _ = (room, id);
        true
    }

    /// A client is a member from now on. What [`RoomHome::emit_to`] sends to it here comes before
    /// everything that happens in the room later: the place for a snapshot.
    fn joined(&mut self, room: &mut RoomHome<'_>, id: SocketId) {
        let _ = (room, id);
    }

    /// A client is a member no longer: it left, was removed, or has disconnected.
    fn left(&mut self, room: &mut RoomHome<'_>, id: SocketId) {
        let _ = (room, id);
    }

    /// A message that [`super::Room::send`] sent for the client `from`, which may be no member
    /// ([`RoomHome::has`]). `ack` is what [`RoomHome::ack`] answers. If the room has no members, the
    /// state lives for this call only.
    fn message(
        &mut self,
        room: &mut RoomHome<'_>,
        from: SocketId,
        message: Self::Message,
        ack: Ack,
    );

    /// Called for each room every [`super::Settings::tick_ms`].
    fn tick(&mut self, room: &mut RoomHome<'_>) {
        let _ = room;
    }
}

impl RoomState for () {
    type Message = Infallible;

    const IS_KEPT: bool = false;

    fn message(&mut self, _: &mut RoomHome<'_>, _: SocketId, message: Infallible, _: Ack) {
        match message {}
    }
}
