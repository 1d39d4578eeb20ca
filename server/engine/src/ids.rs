//! Identifiers. Each packs into one machine word so that tables stay small.

use std::fmt;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

/// One shard: one thread on one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u8);

/// One Engine.IO session, for as long as it lives: shard, slot and the slot's generation, so that
/// a late message cannot reach the next session in the slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl SessionId {
    /// Slots of one shard: sessions that can live at the same time.
    pub const SLOTS_MAX: u32 = 1 << 24;

    /// # Panics
    /// When `slot` is not below [`SessionId::SLOTS_MAX`].
    pub fn new(shard: ShardId, slot: u32, generation: u32) -> SessionId {
        assert!(slot < Self::SLOTS_MAX, "the session table is bounded below 2^24");
        SessionId(u64::from(shard.0) << 56 | u64::from(slot) << 32 | u64::from(generation))
    }

    /// The shard that accepted the session.
    pub const fn shard(self) -> ShardId {
        ShardId((self.0 >> 56) as u8)
    }

    /// Its place in the shard's table.
    pub const fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & (Self::SLOTS_MAX - 1)
    }

    /// How many sessions had the slot before, and one; wraps around.
    pub const fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.shard().0, self.slot(), self.generation())
    }
}

/// One WebSocket byte stream of this shard, numbered by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipeId {
    /// Its place in the caller's table.
    pub slot: u32,
    /// Distinguishes the pipes of one slot.
    pub generation: u32,
}

/// One HTTP request of the polling transport that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PollId(pub u64);

/// The secret id of an Engine.IO session: 20 characters of base64url over
/// `shard (1 byte) | slot (3 bytes) | random (11 bytes)`.
#[derive(Clone, Copy)]
pub struct Sid([u8; 15]);

impl Sid {
    /// `random` must be unpredictable: it is what makes the sid a secret. Spec: EIO-3.
    pub fn new(shard: ShardId, slot: u32, random: [u8; 11]) -> Sid {
        let mut raw = [0; 15];
        raw[0] = shard.0;
        raw[1..4].copy_from_slice(&slot.to_be_bytes()[1..]);
        raw[4..].copy_from_slice(&random);
        Sid(raw)
    }

    /// `None` when the text cannot be a sid of ours.
    pub fn parse(text: &str) -> Option<Sid> {
        let mut raw = [0; 15];
        let written = URL_SAFE_NO_PAD.decode_slice(text, &mut raw).ok()?;
        (written == 15 && text.len() == 20).then_some(Sid(raw))
    }

    /// The shard that owns the session, so that any thread can route a request.
    pub const fn shard(&self) -> ShardId {
        ShardId(self.0[0])
    }

    /// The session's place in its shard's table.
    pub const fn slot(&self) -> u32 {
        u32::from_be_bytes([0, self.0[1], self.0[2], self.0[3]])
    }

    /// The secret part, 11 bytes; compare it in constant time.
    pub fn random(&self) -> &[u8] {
        &self.0[4..]
    }

    /// As it is sent: 20 characters of base64url. Spec: EIO-2.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sid(..)")
    }
}

/// The public id of a client in one namespace, which Socket.IO calls `socket.id`: 20 characters of
/// base64url over `session (8 bytes) | random (7 bytes)`.
///
/// It authorises nothing, so it may be sent to anyone. A client of Socket.IO protocol 5 has the same
/// value as its `socket.id` (SIO-14). A client of Engine.IO 3 takes its secret session id for that
/// (SIO-13) and does not know this one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId([u8; 15]);

impl SocketId {
    /// `random` distinguishes the connections of one session, and the runs of the server.
    pub fn new(session: SessionId, random: [u8; 7]) -> SocketId {
        let mut raw = [0; 15];
        raw[..8].copy_from_slice(&session.0.to_be_bytes());
        raw[8..].copy_from_slice(&random);
        SocketId(raw)
    }

    /// `None` when the text cannot be an id of ours.
    pub fn parse(text: &str) -> Option<SocketId> {
        let mut raw = [0; 15];
        let written = URL_SAFE_NO_PAD.decode_slice(text, &mut raw).ok()?;
        (written == 15 && text.len() == 20).then_some(SocketId(raw))
    }

    /// The session that has, or had, the id. An id that a client has made up names any session, of
    /// any shard, so compare it with the one that the session has.
    pub fn session(&self) -> SessionId {
        let (session, _) = self.0.split_first_chunk().expect("it has 15 bytes");
        SessionId(u64::from_be_bytes(*session))
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.0, &URL_SAFE_NO_PAD).fmt(f)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for SocketId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SocketId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SocketId, D::Error> {
        let text = String::deserialize(deserializer)?;
        SocketId::parse(&text).ok_or_else(|| D::Error::custom("not a socket id"))
    }
}
