//! The database as a model: one writer that keeps the order it was given, readers that do not
//! wait for it, answers that may come late and, between kinds of command, in another order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use throng_chat::lane::Mark;
use throng_chat::{AppendFault, Command, Reply, RoomId, Seq, TokenHash, UserCard, UserId};
use throng_world::Store as _;
use throng_world::chat::{self, hash};

use crate::canary::Canary;
use crate::entropy::Draw;

pub struct Store {
    pub data: chat::Store,
    issued: u32,
    /// Who is reading, by the process that says so.
    reading: BTreeSet<(String, UserId, RoomId)>,
    /// The process of each shard.
    pub processes: Vec<String>,
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
        let mut data = chat::Store::new(users, rooms);
        data.rooms_max = (rooms + rooms_to_create) as usize;
        data.forgets = canary == Some(Canary::FetchNothing);
        data.repeats = canary == Some(Canary::ForgetCids);
        Store {
            data,
            issued: 0,
            reading: BTreeSet::new(),
            processes: Vec::new(),
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
        self.data.tokens.insert(hash(&token), UserId(user));
        token
    }

    pub fn revoke(&mut self, token: &str) -> TokenHash {
        let hash = hash(token);
        self.data.tokens.remove(&hash);
        hash
    }

    /// Changes the user's name; every shard is to be notified.
    pub fn rename(&mut self, user: u32) -> Arc<UserCard> {
        let entry = &mut self.data.users[user as usize - 1];
        let mut card = UserCard::clone(entry);
        card.name = format!("{}'", card.name).into();
        *entry = Arc::new(card);
        entry.clone()
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

    fn execute(&mut self, shard: usize, mut command: Command) {
        self.failures += u64::from(self.data.is_down);
        // One append in three that fails was kept, and the store does not know.
        let is_unsure = self.data.is_down
            && self.failures.is_multiple_of(3)
            && matches!(command, Command::Append { .. });
        if let Command::Append { room, first_seq, .. } = &mut command {
            let next = Seq(self.data.last_seq(*room).0 + 1);
            match first_seq {
                None => *first_seq = self.number_twice(*room),
                // What was kept has taken the number.
                Some(seq) if *seq != next => *first_seq = None,
                Some(_) => {}
            }
        }
        (self.data.is_down, self.data.loses_answers) = (self.data.is_down && !is_unsure, is_unsure);
        let mut reply = self.data.serve(command);
        self.data.is_down |= is_unsure;
        let kind = match &mut reply {
            Reply::Authenticated { .. } | Reply::TokensChecked { .. } => 0,
            Reply::Appended { outcome, .. } => {
                self.applied += 1;
                match (self.canary, &mut *outcome) {
                    (Some(Canary::StoreSwapsIds), Ok(appended)) if appended.ids.len() > 1 => {
                        appended.ids.swap(0, 1);
                    }
                    (Some(Canary::StoreAppliesThenRefuses), _)
                        if self.applied.is_multiple_of(3) =>
                    {
                        *outcome = Err(AppendFault::StoreDown);
                    }
                    _ => {}
                }
                1
            }
            Reply::RoomCreated { .. } => 2,
            Reply::Reads { .. } | Reply::RoomLoaded { .. } | Reply::Fetched { .. } => 3,
            Reply::ReadSaved { user, mark: Mark { room, is_reading, .. }, outcome } => {
                if let (Ok(()), Some(process)) = (outcome, self.processes.get(shard)) {
                    let row = (process.clone(), *user, *room);
                    if *is_reading {
                        self.reading.insert(row);
                    } else {
                        self.reading.remove(&row);
                    }
                }
                4
            }
            Reply::ImageSaved { .. } => 5,
        };
        self.done[kind].push_back((shard, reply));
    }

    /// A number that is given already: only with [`Canary::NumberTwice`].
    fn number_twice(&self, room: RoomId) -> Option<Seq> {
        let last = self.data.last_seq(room);
        (self.canary == Some(Canary::NumberTwice) && last.0 % 5 == 4).then_some(last)
    }

    /// Those who were reading on a process that is no more have read to the end.
    pub fn raise_marks(&mut self, process: &str) {
        let rows: Vec<_> = self.reading.iter().filter(|row| row.0 == process).cloned().collect();
        for row in rows {
            let last = self.data.last_seq(row.2);
            self.data.read(row.1, row.2, last);
            self.reading.remove(&row);
        }
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
}
