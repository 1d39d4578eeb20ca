//! A protocol over WebSocket that has channels, requests with numbers, and messages.

use std::time::Duration;

use crate::ended::Ended;

/// What a request is about.
pub struct Ask<'a> {
    pub id: u32,
    pub room: &'a str,
    pub room_number: u32,
    /// What the server calls this connection; empty where it has no name.
    pub member: &'a str,
    /// The payload that the client shows, as JSON; empty: none.
    pub payload: &'a str,
}

/// What comes before the first join.
pub enum Greeting {
    None,
    /// The client begins.
    Send(String),
    /// The server begins.
    Await,
}

/// A part of what was received.
pub enum Found<'p> {
    /// The client may join; what the server calls its connection.
    Greeted(String),
    /// The answer to a request; `refused`: why it was.
    Answer {
        id: u32,
        refused: Option<String>,
    },
    /// A join without a number is answered.
    Joined {
        room: String,
        refused: Option<String>,
    },
    /// A message, with its text somewhere in it.
    Message(&'p [u8]),
    /// What the client has to send at once.
    Reply(&'static str),
    /// The server reports an error that ends nothing.
    Error(String),
    Ended(Ended),
    /// Nothing that a member needs.
    Other,
}

pub trait Broker: Send + Sync {
    /// What is awaited between the upgrade and the first join.
    fn name_of_greeting(&self) -> &'static str;
    /// `payload`: what the client shows, as JSON; empty: nothing.
    fn greeting(&self, payload: &str) -> Greeting;
    fn has_leave(&self) -> bool;
    fn join(&self, ask: &Ask<'_>) -> String;
    fn leave(&self, ask: &Ask<'_>) -> Option<String>;
    /// A packet in which the marks of a form stand.
    fn message(&self, ask: &Ask<'_>, has_ack: bool) -> String;
    /// What the client sends now and then to keep the connection.
    fn heartbeat(&self) -> Option<(Duration, &'static str)> {
        None
    }
    /// Hands each part of a message to `take`.
    fn read<'p>(&self, payload: &'p [u8], take: &mut dyn FnMut(Found<'p>));
}
