//! What the chat asks of the store, and the answers.

use std::sync::Arc;

use crate::cluster::StoredMessage;
use crate::ids::{Cid, LoadId, RoomId, Seq, SessionId, TokenHash, UserId};
use crate::image::{DataUrl, ImageFault};
use crate::invalid_tokens::ClientBucket;
use crate::lane::Mark;
use crate::room_info::RoomInfo;
use crate::user::UserCard;

/// One message on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Who wrote it.
    pub user: UserId,
    /// The text; may be empty.
    pub msg: Box<str>,
    /// URL of the image; empty without one.
    pub img: Box<str>,
    /// ISO 8601.
    pub time: Box<str>,
    /// Its author's own id for it. A message whose id another one of theirs in the room has is not
    /// stored, and is answered with that one's place.
    pub cid: Option<Cid>,
}

/// Work for the store; each is answered by exactly one [`crate::Reply`].
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Whose token is it?
    Authenticate { session: SessionId, token: TokenHash, client: ClientBucket },
    /// Sessions act for these tokens, and a logout of theirs may have been missed.
    CheckTokens { tokens: Box<[TokenHash]> },
    /// The batch takes `first_seq`, `first_seq + 1`, …: all of it or nothing. `None`: the store
    /// gives the next free numbers, in the order of the commits of all nodes. They come behind `tip`, which was
    /// the room's last, also if the store has lost messages since.
    Append { room: RoomId, first_seq: Option<Seq>, tip: Seq, batch: Vec<NewMessage> },
    /// Creates the room if it does not exist and the limit allows it.
    CreateRoom { room: RoomId },
    /// Another node named a room that this one does not know. Creates nothing.
    LoadRoom { room: RoomId },
    /// Messages with `after < seq <= upto`, in order; the store may answer with the first part.
    Fetch { room: RoomId, after: Seq, upto: Seq },
    /// All read marks of the user, with their choices.
    Reads { user: UserId, load: LoadId },
    /// A mark never falls, and neither does a choice. `is_reading`: the user is in the room, so after a crash they
    /// have read all of it.
    SaveRead { user: UserId, mark: Mark },
    /// Decodes, checks and keeps the image of a message, which follows in an `Append`. `cid`: that of the
    /// message, of which there may be one already.
    SaveImage { session: SessionId, user: UserId, room: RoomId, cid: Option<Cid>, image: DataUrl },
}

/// The store could not do it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreDown;

/// What became of the image of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedImage {
    /// It is served under this URL.
    Kept(Box<str>),
    /// Its message is a repeat, and nothing was kept. The image of the first one, empty if it has none.
    OfFirst(Box<str>),
}

/// Why a batch is not in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFault {
    /// The store could not do it now.
    StoreDown,
    /// The store could not find out whether it has done it.
    Unknown,
}

impl From<StoreDown> for AppendFault {
    fn from(StoreDown: StoreDown) -> AppendFault {
        AppendFault::StoreDown
    }
}

/// Where a batch stands in its room: the first message that is no repeat is `first_seq`, the others
/// follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Number of the first message that is no repeat.
    pub first_seq: Seq,
    /// Ids of the messages that are no repeats, in the order of the batch.
    pub ids: Vec<i64>,
    /// The others, in the order of the batch.
    pub repeats: Vec<Repeat>,
}

/// A message of a batch that its author has published before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Its place in the batch.
    pub index: usize,
    /// Number of the first one.
    pub seq: Seq,
    /// Id of the first one.
    pub id: i64,
    /// What the first one said, unless messages are not kept.
    pub first: Option<First>,
}

/// What a message said that is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// The text; may be empty.
    pub msg: Box<str>,
    /// URL of the image; empty without one.
    pub img: Box<str>,
    /// ISO 8601.
    pub time: Box<str>,
}

/// Answers to [`crate::Command`]s. Every command gets exactly one.
pub enum Reply {
    /// `Ok(None)`: unknown or expired token.
    Authenticated {
        session: SessionId,
        token: TokenHash,
        client: ClientBucket,
        outcome: Result<Option<Arc<UserCard>>, StoreDown>,
    },
    /// Those of the tokens that are unknown or expired by now.
    TokensChecked { tokens: Box<[TokenHash]>, outcome: Result<Vec<TokenHash>, StoreDown> },
    /// Where the batch stands, now that it is durable.
    Appended { room: RoomId, outcome: Result<Appended, AppendFault> },
    /// `Ok(None)`: may not be created (the limit is reached).
    RoomCreated { room: RoomId, outcome: Result<Option<RoomInfo>, StoreDown> },
    /// `Ok(None)`: there is no such room.
    RoomLoaded { room: RoomId, outcome: Result<Option<RoomInfo>, StoreDown> },
    /// What the store has of the range, in order. Nothing means that it has nothing there.
    Fetched { room: RoomId, outcome: Result<Vec<StoredMessage>, StoreDown> },
    /// What the user has read, per room, and who reads is not said; rooms never read or followed are absent.
    Reads { user: UserId, load: LoadId, outcome: Result<Vec<Mark>, StoreDown> },
    /// The mark of `SaveRead`, and whether it is durable.
    ReadSaved { user: UserId, mark: Mark, outcome: Result<(), StoreDown> },
    /// Where the image is.
    ImageSaved { session: SessionId, outcome: Result<SavedImage, ImageFault> },
}
