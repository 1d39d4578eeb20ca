//! What this node has to tell the others through the logs.
//!
//! Only committed messages are a queue, and a bounded one: what does not fit, or could not be
//! appended, becomes a tip (the room has come so far), and the others read it from SQL.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use throng_core::cluster::StoredMessage;
use throng_core::{RoomId, Seq, TokenHash, UserId};

use crate::entry::{Body, encode};
use crate::keys::Keys;
use crate::order::Append;
use crate::presence::{News, Presence};
use crate::settings::Settings;
use crate::status::Counters;

/// Ids in one entry, and messages in one.
const IDS_MAX: usize = 512;
const MESSAGES_MAX: usize = 256;

#[derive(Default)]
pub struct Telling {
    backlog: VecDeque<(RoomId, Arc<[StoredMessage]>)>,
    backlog_bytes: usize,
    tips: BTreeMap<RoomId, Seq>,
    changed: BTreeSet<UserId>,
    revoked: BTreeSet<[u8; 32]>,
    freed: BTreeSet<UserId>,
    settled: BTreeSet<String>,
    is_registry_due: bool,
    is_beat_due: bool,
    /// Entries of the incarnation so far, per stream.
    q: Vec<u64>,
}

/// What an `Append` under way tells, for the case that it fails.
#[derive(Default)]
pub struct Told {
    tips: Vec<(RoomId, Seq)>,
    news: Vec<News>,
    changed: Vec<UserId>,
    revoked: Vec<TokenHash>,
    freed: Vec<UserId>,
    settled: Vec<String>,
    is_registry: bool,
    is_beat: bool,
    messages: u64,
    entries: u64,
}

impl Telling {
    pub fn begin(&mut self, partitions: usize) {
        self.q = vec![0; partitions];
    }

    /// `is_possible`: appending works at present.
    pub fn committed(
        &mut self,
        room: RoomId,
        messages: Arc<[StoredMessage]>,
        is_possible: bool,
        settings: &Settings,
        counters: &mut Counters,
    ) {
        let Some(last) = messages.last() else { return };
        let bytes = bytes_of(&messages);
        let is_full = self.backlog_bytes + bytes > settings.backlog_bytes_max;
        if is_possible && !is_full {
            self.backlog_bytes += bytes;
            self.backlog.push_back((room, messages));
        } else {
            counters.backlog_full += u64::from(is_possible);
            self.tip(room, last.seq);
        }
    }

    fn tip(&mut self, room: RoomId, seq: Seq) {
        let tip = self.tips.entry(room).or_default();
        *tip = (*tip).max(seq);
    }

    /// Appending has become impossible: what waits is read from SQL by those who want it.
    pub fn collapse(&mut self) {
        for (room, messages) in std::mem::take(&mut self.backlog) {
            if let Some(last) = messages.last() {
                self.tip(room, last.seq);
            }
        }
        self.backlog_bytes = 0;
    }

    pub fn changed(&mut self, user: UserId, settings: &Settings, counters: &mut Counters) {
        bounded(&mut self.changed, user, settings, counters);
    }

    pub fn revoked(&mut self, token: TokenHash, settings: &Settings, counters: &mut Counters) {
        bounded(&mut self.revoked, token.0, settings, counters);
    }

    pub fn freed(&mut self, user: UserId, settings: &Settings, counters: &mut Counters) {
        bounded(&mut self.freed, user, settings, counters);
    }

    pub fn settled(&mut self, process: String, settings: &Settings, counters: &mut Counters) {
        bounded(&mut self.settled, process, settings, counters);
    }

    pub fn registry_changed(&mut self) {
        self.is_registry_due = true;
    }

    pub fn beat(&mut self) {
        self.is_beat_due = true;
    }

    /// Ids that wait; whoever makes many waits for them to go.
    pub fn freed_waiting(&self) -> usize {
        self.freed.len()
    }

    pub fn waiting(&self) -> usize {
        self.backlog.len()
            + self.tips.len()
            + self.changed.len()
            + self.revoked.len()
            + self.freed.len()
            + self.settled.len()
    }

    pub fn backlog_bytes(&self) -> usize {
        self.backlog_bytes
    }

    /// The next entries, or none. The bounds are of the settings, and about.
    pub fn entries(
        &mut self,
        presence: &mut Presence,
        keys: &Keys,
        incarnation: &str,
        settings: &Settings,
    ) -> (Vec<Append>, Told) {
        let mut told = Told::default();
        let mut bodies = Vec::new();
        let mut bytes = 0;
        while bytes < settings.append_bytes_max && bodies.len() < settings.append_max {
            let Some((room, messages)) = self.backlog.pop_front() else { break };
            self.backlog_bytes -= bytes_of(&messages);
            bytes += bytes_of(&messages);
            told.messages += messages.len() as u64;
            told.tips.extend(messages.last().map(|last| (room, last.seq)));
            for messages in messages.chunks(MESSAGES_MAX) {
                let body = Body::Messages { room, messages: messages.to_vec() };
                bodies.push((keys.partition(room), body));
            }
        }
        self.tips(keys, &mut bodies, &mut told);
        let (news, keys_of_news) = presence.news(settings.append_max);
        told.news = keys_of_news;
        bodies.extend(news.into_iter().map(|(room, body)| (keys.partition(room), body)));
        told.changed = take(&mut self.changed);
        told.freed = take(&mut self.freed);
        told.settled = take(&mut self.settled);
        told.revoked = take(&mut self.revoked).into_iter().map(TokenHash).collect();
        told.is_registry = std::mem::take(&mut self.is_registry_due);
        if !told.revoked.is_empty() {
            bodies.push((0, Body::Revoked(told.revoked.clone())));
        }
        if !told.changed.is_empty() {
            bodies.push((0, Body::Changed(told.changed.clone())));
        }
        if !told.freed.is_empty() {
            bodies.push((0, Body::Freed(told.freed.clone())));
        }
        if !told.settled.is_empty() {
            bodies.push((0, Body::Settled(told.settled.clone())));
        }
        if told.is_registry {
            bodies.push((0, Body::Registry));
        }
        told.is_beat = std::mem::take(&mut self.is_beat_due);
        let mut entries: Vec<Append> = bodies
            .into_iter()
            .map(|(partition, body)| self.entry(keys, incarnation, partition, &body))
            .collect();
        if told.is_beat {
            // It counts itself: whoever reads it has read stream 0 so far.
            let mut q = self.q.clone();
            q[0] += 1;
            entries.push(self.entry(keys, incarnation, 0, &Body::Beat(q)));
        }
        told.entries = entries.len() as u64;
        (entries, told)
    }

    fn entry(&mut self, keys: &Keys, incarnation: &str, partition: u16, body: &Body) -> Append {
        let q = &mut self.q[usize::from(partition)];
        *q += 1;
        Append { stream: keys.log(partition), fields: encode(incarnation, *q, body) }
    }

    fn tips(&mut self, keys: &Keys, bodies: &mut Vec<(u16, Body)>, told: &mut Told) {
        let mut streams: BTreeMap<u16, Vec<(RoomId, Seq)>> = BTreeMap::new();
        for _ in 0..IDS_MAX {
            let Some((room, seq)) = self.tips.pop_first() else { break };
            streams.entry(keys.partition(room)).or_default().push((room, seq));
            told.tips.push((room, seq));
        }
        bodies.extend(streams.into_iter().map(|(stream, tips)| (stream, Body::Tips(tips))));
    }

    pub fn told(
        &mut self,
        told: Told,
        is_done: bool,
        presence: &mut Presence,
        counters: &mut Counters,
    ) {
        presence.told(told.news, is_done);
        if is_done {
            counters.entries_appended += told.entries;
            counters.messages_appended += told.messages;
            return;
        }
        for (room, seq) in told.tips {
            self.tip(room, seq);
        }
        self.changed.extend(told.changed);
        self.freed.extend(told.freed);
        self.settled.extend(told.settled);
        self.revoked.extend(told.revoked.into_iter().map(|token| token.0));
        self.is_registry_due |= told.is_registry;
        self.is_beat_due |= told.is_beat;
    }
}

fn bounded<T: Ord>(set: &mut BTreeSet<T>, item: T, settings: &Settings, counters: &mut Counters) {
    if set.len() < settings.controls_max || set.contains(&item) {
        set.insert(item);
    } else {
        counters.controls_full += 1;
    }
}

fn take<T: Ord>(set: &mut BTreeSet<T>) -> Vec<T> {
    let mut taken = Vec::new();
    while taken.len() < IDS_MAX {
        let Some(item) = set.pop_first() else { break };
        taken.push(item);
    }
    taken
}

fn bytes_of(messages: &[StoredMessage]) -> usize {
    let of = |message: &StoredMessage| {
        message.msg.len() + message.img.len() + message.author.name.len() + 128
    };
    messages.iter().map(of).sum()
}
