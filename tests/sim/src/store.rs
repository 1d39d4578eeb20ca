//! The database as a model: one writer that keeps the order it was given, readers that do not
//! wait for it, answers that may come late and, between kinds of command, in another order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use throng_chat::{
    Appended, Command, Reply, RoomId, RoomInfo, Seq, StoreDown, StoredMessage, TokenHash, UserId,
};
use throng_chat::{ImageFault, UserCard};

use crate::canary::Canary;
use crate::entropy::Draw;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: i64,
    pub user: u32,
    pub msg: String,
    img: Box<str>,
    time: Box<str>,
}

pub struct Store {
    users: Vec<Arc<UserCard>>,
    tokens: BTreeMap<[u8; 32], u32>,
    issued: u32,
    pub rows: BTreeMap<(u32, u64), Row>,
    pub reads: BTreeMap<(u32, u32), u64>,
    /// Who is reading, by the process that says so.
    reading: BTreeSet<(String, u32, u32)>,
    /// The process of each shard.
    pub processes: Vec<String>,
    rooms: u32,
    created: BTreeMap<u32, ()>,
    rooms_to_create: u32,
    next_id: i64,
    pub is_down: bool,
    pub is_slow: bool,
    /// In the order given, of all shards together.
    writes: VecDeque<(usize, Command)>,
    asked: VecDeque<(usize, Command)>,
    /// Answers on their way, by kind.
    done: [VecDeque<(usize, Reply)>; 6],
    pub failures: u64,
    canary: Option<Canary>,
    applied: u64,
}

impl Store {
    pub fn new(users: u32, rooms: u32, rooms_to_create: u32, canary: Option<Canary>) -> Store {
        let card = |id: u32| UserCard {
            id: UserId(id),
            email: format!("user{id}@example.com").into(),
            name: format!("user{id}").into(),
            avatar: format!("/avatars/{id}.svg").into(),
        };
        Store {
            users: (1..=users).map(|id| Arc::new(card(id))).collect(),
            tokens: BTreeMap::new(),
            issued: 0,
            rows: BTreeMap::new(),
            reads: BTreeMap::new(),
            reading: BTreeSet::new(),
            processes: Vec::new(),
            rooms,
            created: BTreeMap::new(),
            rooms_to_create,
            next_id: 0,
            is_down: false,
            is_slow: false,
            writes: VecDeque::new(),
            asked: VecDeque::new(),
            done: Default::default(),
            failures: 0,
            canary,
            applied: 0,
        }
    }

    /// A new token of the user.
    pub fn issue(&mut self, user: u32) -> String {
        self.issued += 1;
        let token = format!("{user:0>30}{:0>30}", self.issued);
        self.tokens.insert(hash(&token).0, user);
        token
    }

    pub fn revoke(&mut self, token: &str) -> TokenHash {
        let hash = hash(token);
        self.tokens.remove(&hash.0);
        hash
    }

    /// Changes the user's name; every shard is to be notified.
    pub fn rename(&mut self, user: u32) -> Arc<UserCard> {
        let entry = &mut self.users[user as usize - 1];
        let mut card = UserCard::clone(entry);
        card.name = format!("{}'", card.name).into();
        *entry = Arc::new(card);
        entry.clone()
    }

    pub fn last_seq(&self, room: u32) -> u64 {
        self.rows.range((room, 0)..=(room, u64::MAX)).next_back().map_or(0, |((_, seq), _)| *seq)
    }

    pub fn take(&mut self, shard: usize, command: Command) {
        match command {
            Command::Authenticate { .. }
            | Command::CheckTokens { .. }
            | Command::Reads { .. }
            | Command::LoadRoom { .. }
            | Command::Fetch { .. } => {
                self.asked.push_back((shard, command));
            }
            _ => self.writes.push_back((shard, command)),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.writes.is_empty() && self.asked.is_empty() && self.done.iter().all(VecDeque::is_empty)
    }

    /// Works for a while; answers that are ready to arrive come back.
    pub fn serve(&mut self, draw: &mut Draw<'_>) -> Vec<(usize, Reply)> {
        if !self.is_slow {
            return self.serve_all();
        }
        for _ in 0..=draw.below(3) {
            if draw.chance(128) && !self.asked.is_empty() {
                let index = draw.below(self.asked.len().min(256));
                if let Some((shard, command)) = self.asked.remove(index) {
                    self.execute(shard, command);
                }
            } else if let Some((shard, command)) = self.writes.pop_front() {
                self.execute(shard, command);
            }
        }
        let mut out = Vec::new();
        for _ in 0..=draw.below(3) {
            out.extend(self.done[draw.below(6)].pop_front());
        }
        out
    }

    pub fn serve_all(&mut self) -> Vec<(usize, Reply)> {
        while let Some((shard, command)) =
            self.writes.pop_front().or_else(|| self.asked.pop_front())
        {
            self.execute(shard, command);
        }
        self.done.iter_mut().flat_map(|queue| queue.drain(..)).collect()
    }

    fn execute(&mut self, shard: usize, command: Command) {
        let kind = match &command {
            Command::Authenticate { .. } | Command::CheckTokens { .. } => 0,
            Command::Append { .. } => 1,
            Command::CreateRoom { .. } => 2,
            Command::Reads { .. } => 3,
            Command::SaveRead { .. } => 4,
            Command::SaveImage { .. } => 5,
            Command::LoadRoom { .. } | Command::Fetch { .. } => 3,
        };
        let reply = self.apply(shard, command);
        self.done[kind].push_back((shard, reply));
    }

    fn apply(&mut self, shard: usize, command: Command) -> Reply {
        let is_down = self.is_down;
        self.failures += u64::from(is_down);
        let up = || if is_down { Err(StoreDown) } else { Ok(()) };
        match command {
            Command::Authenticate { session, token } => {
                let user = self.tokens.get(&token.0).map(|user| *user as usize - 1);
                let card = user.map(|index| self.users[index].clone());
                Reply::Authenticated { session, token, outcome: up().map(|()| card) }
            }
            Command::CheckTokens { tokens } => {
                let is_known = |token: &TokenHash| self.tokens.contains_key(&token.0);
                let ended = tokens.iter().filter(|token| !is_known(token)).copied().collect();
                Reply::TokensChecked { tokens, outcome: up().map(|()| ended) }
            }
            Command::Append { room, first_seq, batch } => {
                self.applied += 1;
                let first_seq = first_seq.unwrap_or_else(|| self.next_seq(room.0));
                let forgets = self.canary == Some(Canary::StoreAppliesThenRefuses)
                    && self.applied.is_multiple_of(3);
                let swaps = self.canary == Some(Canary::StoreSwapsIds) && batch.len() > 1;
                let outcome = up().map(|()| {
                    let mut ids: Vec<i64> = Vec::with_capacity(batch.len());
                    for (index, message) in batch.into_iter().enumerate() {
                        self.next_id += 1;
                        ids.push(self.next_id);
                        let row = Row {
                            id: self.next_id,
                            user: message.user.0,
                            msg: message.msg.into(),
                            img: message.img,
                            time: message.time,
                        };
                        self.rows.insert((room.0, first_seq.0 + index as u64), row);
                    }
                    if swaps {
                        ids.swap(0, 1);
                    }
                    Appended { first_seq, ids }
                });
                let outcome = if forgets { Err(StoreDown) } else { outcome };
                Reply::Appended { room, outcome }
            }
            Command::CreateRoom { room } => {
                let outcome = up().map(|()| self.create(room.0).then(|| self.info(room)));
                Reply::RoomCreated { room, outcome }
            }
            Command::LoadRoom { room } => {
                let is_known = room.0 <= self.rooms || self.created.contains_key(&room.0);
                let outcome = up().map(|()| is_known.then(|| self.info(room)));
                Reply::RoomLoaded { room, outcome }
            }
            Command::Fetch { room, after, upto } => {
                let outcome = up().map(|()| self.fetch(room, after, upto));
                Reply::Fetched { room, outcome }
            }
            Command::Reads { user } => {
                let reads = self.reads.range((user.0, 0)..=(user.0, u32::MAX));
                let reads = reads.map(|((_, room), seq)| (RoomId(*room), Seq(*seq))).collect();
                Reply::Reads { user, outcome: up().map(|()| reads) }
            }
            Command::SaveRead { user, room, seq, is_reading } => {
                let outcome = up();
                if outcome.is_ok() {
                    self.read(user.0, room.0, seq.0);
                    if let Some(process) = self.processes.get(shard) {
                        let row = (process.clone(), user.0, room.0);
                        if is_reading {
                            self.reading.insert(row);
                        } else {
                            self.reading.remove(&row);
                        }
                    }
                }
                Reply::ReadSaved { user, room, seq, is_reading, outcome }
            }
            Command::SaveImage { session, .. } => {
                let url = "/storage/images/messages/aa/aa.png".into();
                let outcome = up().map(|()| url).map_err(|StoreDown| ImageFault::StoreDown);
                Reply::ImageSaved { session, outcome }
            }
        }
    }

    fn read(&mut self, user: u32, room: u32, seq: u64) {
        let mark = self.reads.entry((user, room)).or_default();
        *mark = seq.max(*mark);
    }

    /// Those who were reading on a process that is no more have read to the end.
    pub fn settle(&mut self, process: &str) {
        let rows: Vec<_> = self.reading.iter().filter(|row| row.0 == process).cloned().collect();
        for row in rows {
            let last = self.last_seq(row.2);
            self.read(row.1, row.2, last);
            self.reading.remove(&row);
        }
    }

    /// The rooms there are, as a process that starts finds them.
    pub fn infos(&self) -> Vec<RoomInfo> {
        let rooms = (1..=self.rooms).chain(self.created.keys().copied());
        rooms.map(|room| self.info(RoomId(room))).collect()
    }

    pub fn card(&self, user: UserId) -> Option<Arc<UserCard>> {
        self.users.get(user.0 as usize - 1).cloned()
    }

    /// The process of these shards is killed: its commands are carried out or not, without a reply.
    /// Returns the users whose marks were on their way (UNR-14).
    pub fn forget(&mut self, shards: &std::ops::Range<usize>) -> Vec<u32> {
        let lost = self.writes.iter().filter_map(|(shard, command)| match command {
            Command::SaveRead { user, .. } if shards.contains(shard) => Some(user.0),
            _ => None,
        });
        let lost = lost.collect();
        self.writes.retain(|(shard, _)| !shards.contains(shard));
        self.asked.retain(|(shard, _)| !shards.contains(shard));
        for queue in &mut self.done {
            queue.retain(|(shard, _)| !shards.contains(shard));
        }
        lost
    }

    fn next_seq(&self, room: u32) -> Seq {
        let last = self.last_seq(room);
        let forgets = self.canary == Some(Canary::NumberTwice) && last % 5 == 4;
        Seq(if forgets { last } else { last + 1 })
    }

    /// At most three rows, so that a long gap takes several fetches.
    fn fetch(&self, room: RoomId, after: Seq, upto: Seq) -> Vec<StoredMessage> {
        if self.canary == Some(Canary::FetchNothing) || after >= upto {
            return Vec::new();
        }
        let rows = self.rows.range((room.0, after.0 + 1)..=(room.0, upto.0));
        let stored = |((_, seq), row): (&(u32, u64), &Row)| StoredMessage {
            seq: Seq(*seq),
            id: row.id,
            author: self.users[row.user as usize - 1].clone(),
            msg: row.msg.as_str().into(),
            img: row.img.clone(),
            time: row.time.clone(),
        };
        rows.take(3).map(stored).collect()
    }

    fn info(&self, room: RoomId) -> RoomInfo {
        RoomInfo { id: room, name: "".into(), last_seq: Seq(self.last_seq(room.0)) }
    }

    fn create(&mut self, room: u32) -> bool {
        if room <= self.rooms || self.created.contains_key(&room) {
            return true;
        }
        if self.created.len() >= self.rooms_to_create as usize {
            return false;
        }
        self.created.insert(room, ());
        true
    }
}

pub fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token).into())
}
