//! What an application of named rooms says about events.

use std::convert::Infallible;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use throng_wire::sio::EventData;

use super::io::Io;
use super::items::Ack;
use super::socket::Socket;
use crate::ids::SocketId;

/// Gives events their meaning. One value per shard, made by cloning the one in
/// [`super::Settings`]. `M` is what it sends to the homes of rooms with state, if there are such:
/// [`super::RoomState::Message`].
///
/// Nothing here may wait: work that takes longer than a millisecond holds up the whole shard. A panic
/// ends the server, so that it is not run on with a broken state. Fields of the handler are one
/// shard's own: state of a room belongs into its [`super::RoomState`], other state that clients of
/// several shards share behind a lock of the application.
pub trait Handler<M = Infallible>: Clone + Send + Sync + 'static {
    /// A client asks to connect the namespace `/`. An `Err` refuses it: the client gets the text as
    /// the `message` of its `connect_error`, and nothing else of this trait is called for it. `id` is
    /// what [`Socket::id`] will be, for a handler that keeps who the client is. The default admits
    /// everybody.
    ///
    /// Only what can be judged at once belongs here: a signature, a shared secret. Where a look-up must
    /// be waited for, admit the client and let it do nothing until its first event is answered.
    ///
    /// # Errors
    /// What the client gets as the reason.
    fn admits(&mut self, id: SocketId, auth: Auth<'_>) -> Result<(), String> {
        let _ = (id, auth);
        Ok(())
    }

    /// A client connected the namespace `/`.
    fn connected(&mut self, socket: &mut Socket<'_, M>) {
        let _ = socket;
    }

    /// A client sent an event. Its name is not one of those that Socket.IO reserves: a client that
    /// sends such an event is disconnected, as by the original server (SIO-47).
    fn event(&mut self, socket: &mut Socket<'_, M>, event: Event<'_>);

    /// The room's [`super::RoomState`] or a limit of [`super::Settings`] has refused the client, after
    /// [`super::Room::join`] was `Ok`. It is no longer in [`Socket::rooms`]. An event that
    /// [`super::Room::ack_is_in`] answers is answered with `false` after this call.
    fn join_refused(&mut self, socket: &mut Socket<'_, M>, room: &str) {
        let _ = (socket, room);
    }

    /// A client is leaving the namespace, or its session has ended. It is still in
    /// [`Socket::rooms`] and is removed from them after this call.
    fn disconnecting(&mut self, socket: &mut Socket<'_, M>) {
        let _ = socket;
    }

    /// Called every [`super::Settings::tick_ms`], on the first shard only. This is also how other threads
    /// act on rooms, such as a route of the application's own: they add to a queue that this empties.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use throng_engine::rooms::{Event, Handler, Io, Socket};
    ///
    /// /// Rooms, and what other threads have to say there. A clone shares the queue.
    /// #[derive(Clone, Default)]
    /// struct Announcements(Arc<Mutex<Vec<(String, String)>>>);
    ///
    /// impl Announcements {
    ///     /// False: too many wait already.
    ///     fn add(&self, room: &str, text: &str) -> bool {
    ///         let mut queue = self.0.lock().expect("no thread panics while it holds the lock");
    ///         let has_space = queue.len() < 1000;
    ///         if has_space {
    ///             queue.push((room.to_owned(), text.to_owned()));
    ///         }
    ///         has_space
    ///     }
    /// }
    ///
    /// impl Handler for Announcements {
    ///     fn event(&mut self, socket: &mut Socket<'_>, event: Event<'_>) {
    ///         let is_asked = socket.room("lobby").join().is_ok();
    ///         socket.ack(event.ack(), is_asked);
    ///     }
    ///
    ///     fn tick(&mut self, io: &mut Io<'_>) {
    ///         let mut queue = self.0.lock().expect("no thread panics while it holds the lock");
    ///         for (room, text) in queue.drain(..) {
    ///             io.room(&room).emit("announced", text);
    ///         }
    ///     }
    /// }
    ///
    /// let announcements = Announcements::default();
    /// let handler = announcements.clone();
    /// assert!(announcements.add("lobby", "dinner"));
    /// assert!(handler.0.lock().unwrap().iter().any(|(room, _)| room == "lobby"));
    /// ```
    fn tick(&mut self, io: &mut Io<'_, M>) {
        let _ = io;
    }
}

/// What a client sent with its request to connect: the option `auth` of `io()`.
#[derive(Clone, Copy, Debug)]
pub struct Auth<'a>(pub(super) Option<&'a str>);

impl Auth<'_> {
    /// The value sent; `null` if none was, as by clients of Engine.IO 3.
    ///
    /// # Errors
    /// When the value is not of this type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.unwrap_or("null"))
    }
}

/// One event of a client.
#[derive(Debug)]
pub struct Event<'a> {
    pub(super) data: &'a EventData,
    pub(super) ack: Ack,
    pub(super) attachments: &'a [Bytes],
}

impl Event<'_> {
    /// The event's name.
    pub fn name(&self) -> &str {
        self.data.name()
    }

    /// The arguments behind the name, as a tuple: `event.args::<(String, u32)>()`.
    ///
    /// # Errors
    /// When the arguments are not of these types, or not as many.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&format!("[{}]", self.data.args()))
    }

    /// Binary attachments, in the order of their placeholders.
    pub fn attachments(&self) -> &[Bytes] {
        self.attachments
    }

    /// What [`Socket::ack`], [`super::Room::ack`] and [`super::RoomHome::ack`] answer.
    pub fn ack(&self) -> Ack {
        self.ack
    }
}
