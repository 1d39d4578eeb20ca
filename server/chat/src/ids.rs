//! Identifiers of the chat; those of sessions are the engine's.

use std::fmt;

pub use throng_engine::{SessionId, ShardId};

/// A user, as the database numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub u32);

/// A room, by its number: 1 to 999,999,999 where a client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u32);

/// Number of a message in its room; the first message is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// Where the answer to a request goes: the Socket.IO ack id, if the client asked for one.
pub type AckId = Option<u64>;

/// Names one question about a user's read marks: to the homes, then to the store. Its answers carry it,
/// and are late once another question has been asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoadId(pub u64);

impl LoadId {
    /// Names the next question.
    pub(crate) fn advance(&mut self) -> LoadId {
        self.0 += 1;
        *self
    }
}

/// A client's own id for a message, by which it may send it again.
///
/// Spec: CHAT-90.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cid(Box<str>);

impl Cid {
    /// The longest one, in characters.
    pub const CHARS_MAX: usize = 64;

    /// `None` if the text is no client id: 1 to 64 printable ASCII characters.
    pub fn new(text: &str) -> Option<Cid> {
        let is_cid = (1..=Self::CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        is_cid.then(|| Cid(text.into()))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Cid> for String {
    fn from(cid: Cid) -> String {
        cid.0.into()
    }
}

/// SHA-256 of a token. The token itself is never kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}
