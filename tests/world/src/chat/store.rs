//! The chat's store, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use throng_chat::lane::Mark;
use throng_chat::store::{First, Repeat};
use throng_chat::{
    AppendFault, Appended, Chat, Choice, Cid, Command, ImageFault, NewMessage, Reply, RoomId, RoomInfo,
    SavedImage, Seq, StoreDown, StoredMessage, TokenHash, UserCard, UserId,
};

const IMAGE_BYTES_MAX: usize = 3 << 20;
/// Messages in the answer to one fetch, so that a gap takes several.
const FETCH_MAX: usize = 2;

/// A message that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: i64,
    pub user: UserId,
    pub msg: Box<str>,
    img: Box<str>,
    time: Box<str>,
    cid: Option<Cid>,
}

pub struct Store {
    /// Users have the numbers from 1 on.
    pub users: Vec<Arc<UserCard>>,
    pub tokens: BTreeMap<TokenHash, UserId>,
    pub rooms: BTreeSet<RoomId>,
    /// No room is created beyond so many.
    pub rooms_max: usize,
    pub rows: BTreeMap<(RoomId, Seq), Row>,
    pub reads: BTreeMap<(UserId, RoomId), Seq>,
    /// Whether users follow rooms.
    pub choices: BTreeMap<(UserId, RoomId), Choice>,
    /// Who is said to be reading.
    pub reading: BTreeSet<(UserId, RoomId)>,
    /// How many tokens were asked for at a time.
    pub checks: Vec<usize>,
    /// Images that were kept.
    pub images: usize,
    /// Ranges that were asked for.
    pub fetches: Vec<(u64, u64)>,
    /// Answers nothing to a fetch.
    pub forgets: bool,
    /// Stores every message anew, whatever client id it has.
    pub repeats: bool,
    /// Appends, and does not know it.
    pub loses_answers: bool,
    pub is_down: bool,
    /// Commands wait until this is cleared.
    pub is_paused: bool,
    next_id: i64,
}

/// A token of the user that the store knows from the start.
pub fn token(user: u32) -> String {
    format!("{user:0>60}")
}

pub fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token).into())
}

impl Store {
    pub fn new(users: u32, rooms: u32) -> Store {
        let mut store = Store {
            users: Vec::new(),
            tokens: BTreeMap::new(),
            rooms: (1..=rooms).map(RoomId).collect(),
            rooms_max: usize::MAX,
            rows: BTreeMap::new(),
            reads: BTreeMap::new(),
            choices: BTreeMap::new(),
            reading: BTreeSet::new(),
            checks: Vec::new(),
            images: 0,
            fetches: Vec::new(),
            forgets: false,
            repeats: false,
            loses_answers: false,
            is_down: false,
            is_paused: false,
            next_id: 0,
        };
        for _ in 0..users {
            store.add_user();
        }
        store
    }

    /// One more user, with a token.
    pub fn add_user(&mut self) {
        let id = self.users.len() as u32 + 1;
        self.users.push(Arc::new(UserCard {
            id: UserId(id),
            email: format!("user{id}@example.com").into(),
            name: format!("user{id}").into(),
            avatar: format!("/avatars/{id}.svg").into(),
        }));
        self.tokens.insert(hash(&token(id)), UserId(id));
    }

    /// The user as other nodes announce them: without an e-mail address.
    pub fn card(&self, user: u32) -> Arc<UserCard> {
        let card = UserCard::clone(self.user(UserId(user)));
        Arc::new(UserCard { email: "".into(), ..card })
    }

    pub fn user(&self, user: UserId) -> &Arc<UserCard> {
        &self.users[user.0 as usize - 1]
    }

    /// The rooms there are, as a process that starts finds them.
    pub fn infos(&self) -> Vec<RoomInfo> {
        self.rooms.iter().map(|room| self.info(*room)).collect()
    }

    fn info(&self, room: RoomId) -> RoomInfo {
        RoomInfo { id: room, name: "".into(), last_seq: self.last_seq(room) }
    }

    pub fn last_seq(&self, room: RoomId) -> Seq {
        let mut rows = self.rows.range((room, Seq(0))..=(room, Seq(u64::MAX)));
        rows.next_back().map_or(Seq(0), |((_, seq), _)| *seq)
    }

    /// Another node commits a message.
    pub fn commit_elsewhere(&mut self, room: u32, user: u32, text: &str) -> StoredMessage {
        let (room, user) = (RoomId(room), UserId(user));
        let seq = Seq(self.last_seq(room).0 + 1);
        // Ids of this node's messages count from 1.
        let id = 1000 + seq.0 as i64;
        let row = Row { id, user, msg: text.into(), img: "".into(), time: "t".into(), cid: None };
        let stored = StoredMessage { author: self.card(user.0), ..self.stored(seq, &row) };
        self.rows.insert((room, seq), row);
        stored
    }

    fn stored(&self, seq: Seq, row: &Row) -> StoredMessage {
        StoredMessage {
            seq,
            id: row.id,
            author: self.user(row.user).clone(),
            msg: row.msg.clone(),
            img: row.img.clone(),
            time: row.time.clone(),
        }
    }

    /// A mark only grows.
    pub fn read(&mut self, user: UserId, room: RoomId, seq: Seq) {
        let mark = self.reads.entry((user, room)).or_default();
        *mark = seq.max(*mark);
    }

    fn append(&mut self, room: RoomId, first_seq: Option<Seq>, batch: Vec<NewMessage>) -> Appended {
        let first_seq = first_seq.unwrap_or_else(|| Seq(self.last_seq(room).0 + 1));
        let (mut ids, mut repeats) = (Vec::new(), Vec::new());
        let mut seq = first_seq;
        for (index, message) in batch.into_iter().enumerate() {
            if let Some((seq, row)) = self.first(room, message.user, message.cid.as_ref()) {
                let Row { id, msg, img, time, .. } = row.clone();
                let first = Some(First { msg, img, time });
                repeats.push(Repeat { index, seq, id, first });
                continue;
            }
            let NewMessage { user, msg, img, time, cid } = message;
            self.next_id += 1;
            ids.push(self.next_id);
            self.rows.insert((room, seq), Row { id: self.next_id, user, msg, img, time, cid });
            seq.0 += 1;
        }
        Appended { first_seq, ids, repeats }
    }

    /// The stored message that one with this client id repeats.
    fn first(&self, room: RoomId, user: UserId, cid: Option<&Cid>) -> Option<(Seq, &Row)> {
        let cid = cid.filter(|_| !self.repeats)?;
        let mut rows = self.rows.range((room, Seq(0))..=(room, Seq(u64::MAX)));
        let is_first = |row: &Row| row.user == user && row.cid.as_ref() == Some(cid);
        rows.find(|(_, row)| is_first(row)).map(|((_, seq), row)| (*seq, row))
    }

    fn create(&mut self, room: RoomId) -> Option<RoomInfo> {
        if self.rooms.len() < self.rooms_max {
            self.rooms.insert(room);
        }
        self.load(room)
    }

    fn load(&self, room: RoomId) -> Option<RoomInfo> {
        self.rooms.contains(&room).then(|| self.info(room))
    }

    fn fetch(&mut self, room: RoomId, after: Seq, upto: Seq) -> Vec<StoredMessage> {
        self.fetches.push((after.0, upto.0));
        if self.forgets || after >= upto {
            return Vec::new();
        }
        let rows = self.rows.range((room, Seq(after.0 + 1))..=(room, upto));
        rows.take(FETCH_MAX).map(|((_, seq), row)| self.stored(*seq, row)).collect()
    }
}

impl crate::Store<Chat> for Store {
    fn is_paused(&self) -> bool {
        self.is_paused
    }

    fn serve(&mut self, command: Command) -> Reply {
        let up = if self.is_down { Err(StoreDown) } else { Ok(()) };
        match command {
            Command::Authenticate { session, token, client } => {
                let card = self.tokens.get(&token).map(|user| self.user(*user).clone());
                Reply::Authenticated { session, token, client, outcome: up.map(|()| card) }
            }
            Command::CheckTokens { tokens } => {
                self.checks.push(tokens.len());
                let ended = tokens.iter().filter(|token| !self.tokens.contains_key(token));
                let ended = ended.copied().collect();
                Reply::TokensChecked { tokens, outcome: up.map(|()| ended) }
            }
            Command::Append { room, first_seq, batch, .. } => {
                let appended = up.map(|()| self.append(room, first_seq, batch));
                let outcome = match appended {
                    Ok(_) if self.loses_answers => Err(AppendFault::Unknown),
                    appended => appended.map_err(AppendFault::from),
                };
                Reply::Appended { room, outcome }
            }
            Command::CreateRoom { room } => {
                Reply::RoomCreated { room, outcome: up.map(|()| self.create(room)) }
            }
            Command::LoadRoom { room } => {
                Reply::RoomLoaded { room, outcome: up.map(|()| self.load(room)) }
            }
            Command::Fetch { room, after, upto } => {
                Reply::Fetched { room, outcome: up.map(|()| self.fetch(room, after, upto)) }
            }
            Command::Reads { user, load } => {
                let reads = self.reads.range((user, RoomId(0))..=(user, RoomId(u32::MAX)));
                let mark = |((_, room), seq): (&(UserId, RoomId), &Seq)| Mark {
                    room: *room,
                    seq: *seq,
                    is_reading: false,
                    choice: self.choices.get(&(user, *room)).copied().unwrap_or_default(),
                };
                let marks = reads.map(mark).collect();
                Reply::Reads { user, load, outcome: up.map(|()| marks) }
            }
            Command::SaveRead { user, mark } => {
                if up.is_ok() {
                    let Mark { room, seq, is_reading, choice } = mark;
                    self.read(user, room, seq);
                    let known = self.choices.entry((user, room)).or_default();
                    *known = choice.max(*known);
                    if is_reading {
                        self.reading.insert((user, room));
                    } else {
                        self.reading.remove(&(user, room));
                    }
                }
                Reply::ReadSaved { user, mark, outcome: up }
            }
            Command::SaveImage { session, user, room, cid, image } => {
                if let Some((_, first)) = self.first(room, user, cid.as_ref()) {
                    let outcome = Ok(SavedImage::OfFirst(first.img.clone()));
                    return Reply::ImageSaved { session, outcome };
                }
                self.images += 1;
                let decoded = image.decode(IMAGE_BYTES_MAX);
                let up = up.map_err(|StoreDown| ImageFault::StoreDown);
                let url = "/storage/images/messages/aa/aa.png";
                let outcome = up.and(decoded).map(|_| SavedImage::Kept(url.into()));
                Reply::ImageSaved { session, outcome }
            }
        }
    }
}
