//! The orders of a node to Redis and to the shared SQL database, and their outcomes.
//!
//! Every order is answered by exactly one [`crate::Event::Outcome`]; outcomes may come in any
//! sequence. The backplane bounds the time it takes: about two seconds, for [`Order::Read`] `block_ms`
//! more. Keys are complete, prefix included. Every command has one key, so that Redis Cluster can
//! serve it; the one exception, [`Order::Number`], has several keys with one hash tag. On a Redis
//! Cluster a command may be executed twice, because its client sends again what was not answered.
//!
//! At most one `Append`, one `Read`, one order about the lease and two `Write`s (one of this node's
//! own state, one of a sweep) are in flight at any time, so an executor needs no queue and no
//! ordering between orders.

use std::fmt;
use std::sync::Arc;

use throng_chat::UserCard;
use throng_chat::{RoomId, Seq, UserId};

/// Identifies an order of one node; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(pub u64);

/// The id of an entry in a stream, which Redis writes as `ms-n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    pub ms: u64,
    pub n: u64,
}

impl EntryId {
    /// Precedes every entry of every stream.
    pub const ZERO: EntryId = EntryId { ms: 0, n: 0 };

    /// Reads `ms-n`; `None` for any other form.
    pub fn parse(text: &str) -> Option<EntryId> {
        let (ms, n) = text.split_once('-')?;
        Some(EntryId { ms: ms.parse().ok()?, n: n.parse().ok()? })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.n)
    }
}

/// One order to Redis or to the SQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    // ---- the lease ----------------------------------------------------------------------------
    /// Claims `key` (`throng:node:<id>`) for `ttl_ms`. A script, since the answer to an earlier claim
    /// may have been lost:
    ///
    /// ```text
    /// v = GET key;  if v is nil or v == value { SET key value PX ttl_ms; 1 } else { 0 }
    /// ```
    /// Answer: [`Outcome::Held`].
    Claim { key: String, value: String, ttl_ms: u64 },
    /// `if GET key == value { PEXPIRE key ttl_ms; 1 } else { 0 }`. Answer: [`Outcome::Held`].
    Renew { key: String, value: String, ttl_ms: u64 },
    /// `if GET key == value { DEL key }`. Answer: [`Outcome::Done`].
    Release { key: String, value: String },
    /// `GET key` each, pipelined: the holders of these leases. Answer: [`Outcome::Values`].
    Values { keys: Vec<String> },

    // ---- the mirror ---------------------------------------------------------------------------
    /// Pipelined. In a Redis Cluster, writes to different keys may overtake each other; writes to
    /// one key keep their sequence. Answer: [`Outcome::Done`] when all were executed, else the
    /// failure of any; the node then assumes nothing about any of them.
    Write { writes: Vec<Write> },
    /// `SMEMBERS key`. Answer: [`Outcome::Members`].
    Members { key: String },
    /// `SRANDMEMBER key count`: random members, so that several sweepers share the work. Answer:
    /// [`Outcome::Members`].
    Sample { key: String, count: u32 },
    /// `HGETALL key`. Answer: [`Outcome::Fields`].
    Fields { key: String },

    // ---- the logs -----------------------------------------------------------------------------
    /// `XADD stream MAXLEN ~ maxlen * field value …` each, pipelined; entries of one stream keep
    /// their sequence. Answer: [`Outcome::Done`].
    Append { maxlen: u64, entries: Vec<Append> },
    /// Numbers the messages of a room where no SQL database does, and logs them, in one script
    /// whose keys have one hash tag. A message whose `cid_key` is set is one that was sent before: it
    /// is answered with that one's number and not logged.
    ///
    /// ```text
    /// KEYS counters stream answer_key cid_key …
    /// on a Redis Cluster: return GET answer_key, if it is set
    /// first = max(HGET counters room or 0, at_least) + 1
    /// new = the messages without GET cid_key
    /// XADD stream MAXLEN ~ maxlen * field value … d {"r":room,"m":[new]} f first
    /// HSET counters room (first + new - 1)
    /// SET cid_key number PX cid_ttl_ms    for each that is new
    /// on a Redis Cluster: SET answer_key (what is returned), for a minute
    /// return first, numbers of the others
    /// ```
    /// Answer: [`Outcome::Numbered`].
    Number {
        counters: String,
        stream: String,
        /// Keeps the answer where a command may be executed twice. Of no other order.
        answer_key: String,
        room: RoomId,
        /// The last known seq of the room, which Redis may have lost.
        at_least: Seq,
        maxlen: u64,
        fields: Fields,
        messages: Vec<UnnumberedMessage>,
        cid_ttl_ms: u64,
    },
    /// `XREAD COUNT count BLOCK block_ms STREAMS … after …`. On a Redis Cluster the executor reads
    /// each stream separately and answers when the first has entries or the time is over. Answer:
    /// [`Outcome::Entries`], empty when there are none.
    Read { from: Vec<(String, EntryId)>, count: u32, block_ms: u64 },
    /// The `last-generated-id` of each stream (`XINFO STREAM`), `None` where there is no such key.
    /// Answer: [`Outcome::Tails`], in the order asked.
    Tails { streams: Vec<String> },

    // ---- SQL ----------------------------------------------------------------------------------
    /// The last seq of every room. Answer: [`Outcome::Tips`].
    Tips,
    /// The card of a user. Answer: [`Outcome::Card`].
    Card { user: UserId },
    /// Raises the read marks of the users who were reading on a dead process to the last messages.
    /// Idempotent. Answer: [`Outcome::Done`].
    RaiseMarks { process: String },
}

impl Order {
    /// The name of the order in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Order::Claim { .. } => "claim",
            Order::Renew { .. } => "renew",
            Order::Release { .. } => "release",
            Order::Values { .. } => "values",
            Order::Write { .. } => "write",
            Order::Members { .. } => "members",
            Order::Sample { .. } => "sample",
            Order::Fields { .. } => "fields",
            Order::Append { .. } => "append",
            Order::Number { .. } => "number",
            Order::Read { .. } => "read",
            Order::Tails { .. } => "tails",
            Order::Tips => "tips",
            Order::Card { .. } => "card",
            Order::RaiseMarks { .. } => "raise_marks",
        }
    }

    /// The order is for the SQL database, not for Redis.
    pub fn is_sql(&self) -> bool {
        matches!(self, Order::Tips | Order::Card { .. } | Order::RaiseMarks { .. })
    }
}

/// One idempotent change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// `HSET key field value …`
    HashSet { key: String, pairs: Vec<(String, String)> },
    /// `HDEL key field …`
    HashDelete { key: String, fields: Vec<String> },
    /// A script: `HDEL`s every field of `key` that begins with `prefix`.
    HashDeletePrefix { key: String, prefix: String },
    /// `SADD key member …`
    SetAdd { key: String, members: Vec<String> },
    /// `SREM key member …`
    SetRemove { key: String, members: Vec<String> },
    /// `DEL key`
    Delete { key: String },
    /// Binds a user to its newest connection, whichever node writes last. Fds are compared as
    /// `(fd % 2^43, fd)`: the time of the connection, then the node. A value that is not a number is
    /// replaced. A script:
    ///
    /// ```text
    /// v = tonumber(HGET key user);  if v is nil or (v % 2^43, v) < (fd % 2^43, fd) { HSET key user fd }
    /// ```
    Bind { key: String, user: UserId, fd: Fd },
    /// `if HGET key user == fd { HDEL key user }`, as a script.
    Unbind { key: String, user: UserId, fd: Fd },
}

impl Write {
    pub fn key(&self) -> &str {
        match self {
            Write::HashSet { key, .. }
            | Write::HashDelete { key, .. }
            | Write::HashDeletePrefix { key, .. }
            | Write::SetAdd { key, .. }
            | Write::SetRemove { key, .. }
            | Write::Delete { key }
            | Write::Bind { key, .. }
            | Write::Unbind { key, .. } => key,
        }
    }
}

/// The public number of a connection in the original's map: below 2^53, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fd(pub u64);

impl Fd {
    /// Bits of the time of the connection; the node id is above them.
    pub const STAMP_BITS: u32 = 43;

    pub fn new(node: u16, stamp: u64) -> Fd {
        Fd(u64::from(node) << Self::STAMP_BITS | stamp & ((1 << Self::STAMP_BITS) - 1))
    }

    pub fn stamp(self) -> u64 {
        self.0 & ((1 << Self::STAMP_BITS) - 1)
    }

    /// The sort key of [`Write::Bind`].
    pub fn age_order(self) -> (u64, u64) {
        (self.stamp(), self.0)
    }
}

impl fmt::Display for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Field names and values of a hash or of a stream entry. Bytes that are not UTF-8 may be read as
/// replacement characters: Throng writes UTF-8 only.
pub type Fields = Vec<(String, String)>;

/// One entry to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub stream: String,
    pub fields: Fields,
}

/// A message that Redis is to number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnumberedMessage {
    /// As it is logged.
    pub json: String,
    /// Says for a while that the message was numbered; `None` for one without a client id.
    pub cid_key: Option<String>,
}

/// The numbers of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Of the first message that is no repeat; the others follow.
    pub first: Seq,
    /// Messages that were numbered before, by their places in the batch, in order.
    pub repeats: Vec<(usize, Seq)>,
}

/// Why a batch has no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFault {
    /// Redis was not asked, or has refused.
    Refused,
    /// Redis has not answered, and may have numbered it.
    Unknown,
}

/// The answer to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The value of the order holds the lease.
    Held(bool),
    /// One per key of the order, in the same sequence; `None` for a missing key.
    Values(Vec<Option<String>>),
    Members(Vec<String>),
    Fields(Fields),
    Numbered(Numbers),
    /// One per stream that has entries, oldest entry first.
    Entries(Vec<StreamEntries>),
    Tails(Vec<Option<EntryId>>),
    Tips(Vec<(RoomId, Seq)>),
    /// `None` for an unknown user.
    Card(Option<Arc<UserCard>>),
}

/// The entries of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntries {
    pub stream: String,
    pub entries: Vec<(EntryId, Fields)>,
}

/// Why an order failed, as far as the node must distinguish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, no answer in time, or a server that changes its role (`READONLY`,
    /// `LOADING`). The order may have been executed, may be executed later, and earlier writes may
    /// be lost. `why` is a short word for `/ready`: `down`, `timeout`, …
    Broken { why: &'static str },
    /// The server rejected the order: out of memory, no permission. Nothing changed.
    Refused { why: &'static str },
}

impl Failure {
    /// The short word for `/ready`.
    pub fn why(&self) -> &'static str {
        match self {
            Failure::Broken { why } | Failure::Refused { why } => why,
        }
    }
}
