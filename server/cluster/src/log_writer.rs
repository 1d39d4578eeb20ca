//! The entries that this node must append to the logs.
//!
//! Only committed messages are queued, and the queue is bounded: messages that do not fit, or that
//! cannot be appended, become a tip (the last seq of the room), and other nodes read them from SQL.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use throng_chat::cluster::StoredMessage;
use throng_chat::{Choice, RoomId, Seq, TokenHash, UserId};

use crate::entry::{Body, encode};
use crate::keys::Keys;
use crate::order::Append;
use crate::presence::{LoggedChange, Presence};
use crate::settings::Settings;
use crate::status::Counters;

/// Ids in one entry.
const IDS_MAX: usize = 512;
/// Messages in one entry.
const MESSAGES_MAX: usize = 256;

/// What must be appended. Presence changes are kept by [`Presence`].
#[derive(Default)]
pub struct LogWriter {
    /// Committed messages, oldest first. Never empty slices.
    backlog: VecDeque<(RoomId, Arc<[StoredMessage]>)>,
    backlog_bytes: usize,
    tips: BTreeMap<RoomId, Seq>,
    /// Whether users follow rooms.
    choices: BTreeMap<(RoomId, UserId), Choice>,
    /// Users who changed name or avatar.
    changed: BTreeSet<UserId>,
    /// Hashes of revoked tokens.
    revoked: BTreeSet<[u8; 32]>,
    /// Users whose fd was removed from the map.
    freed: BTreeSet<UserId>,
    /// Dead processes whose users' read marks are raised.
    marks_raised: BTreeSet<String>,
    is_registry_due: bool,
    is_beat_due: bool,
    /// Entries of the incarnation so far, per stream.
    q: Vec<u64>,
}

/// The content of an `Append` in flight, which is queued again if it fails.
#[derive(Default)]
pub struct AppendBatch {
    tips: Vec<(RoomId, Seq)>,
    choices: Vec<(RoomId, UserId, Choice)>,
    changes: Vec<LoggedChange>,
    changed: Vec<UserId>,
    revoked: Vec<TokenHash>,
    freed: Vec<UserId>,
    marks_raised: Vec<String>,
    is_registry: bool,
    is_beat: bool,
    messages: u64,
    entries: u64,
}

impl AppendBatch {
    /// The presence changes in it.
    pub fn changes(&self) -> &[LoggedChange] {
        &self.changes
    }
}

impl LogWriter {
    /// A new incarnation: its entries are numbered from 1.
    pub fn begin(&mut self, partitions: usize) {
        self.q = vec![0; partitions];
    }

    /// Whether this node has had an incarnation.
    pub fn has_begun(&self) -> bool {
        !self.q.is_empty()
    }

    /// Messages of a room were stored. `is_possible`: entries can be appended now.
    pub fn messages_committed(
        &mut self,
        room: RoomId,
        messages: Arc<[StoredMessage]>,
        is_possible: bool,
        settings: &Settings,
        counters: &mut Counters,
    ) {
        // By design: an empty batch has nothing to say.
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

    /// A user has chosen. What does not fit, other nodes read from SQL when they resync.
    pub fn chosen(
        &mut self,
        room: RoomId,
        user: UserId,
        choice: Choice,
        settings: &Settings,
        counters: &mut Counters,
    ) {
        let key = (room, user);
        if self.choices.len() < settings.controls_max || self.choices.contains_key(&key) {
            let known = self.choices.entry(key).or_default();
            *known = choice.max(*known);
        } else {
            counters.controls_full += 1;
        }
    }

    /// Entries cannot be appended any more: other nodes read the queued messages from SQL.
    pub fn collapse_to_tips(&mut self) {
        for (room, messages) in std::mem::take(&mut self.backlog) {
            self.tip(room, last_seq(&messages));
        }
        self.backlog_bytes = 0;
    }

    pub fn user_changed(&mut self, user: UserId, settings: &Settings, counters: &mut Counters) {
        bounded(&mut self.changed, user, settings, counters);
    }

    pub fn token_revoked(
        &mut self,
        token: TokenHash,
        settings: &Settings,
        counters: &mut Counters,
    ) {
        bounded(&mut self.revoked, token.0, settings, counters);
    }

    pub fn fd_freed(&mut self, user: UserId, settings: &Settings, counters: &mut Counters) {
        bounded(&mut self.freed, user, settings, counters);
    }

    pub fn marks_raised(&mut self, process: String, settings: &Settings, counters: &mut Counters) {
        bounded(&mut self.marks_raised, process, settings, counters);
    }

    pub fn registry_changed(&mut self) {
        self.is_registry_due = true;
    }

    pub fn request_beat(&mut self) {
        self.is_beat_due = true;
    }

    /// Freed users that wait. A sweep pauses while there are many.
    pub fn freed_queued(&self) -> usize {
        self.freed.len()
    }

    pub fn queued(&self) -> usize {
        self.backlog.len()
            + self.tips.len()
            + self.choices.len()
            + self.changed.len()
            + self.revoked.len()
            + self.freed.len()
            + self.marks_raised.len()
    }

    pub fn backlog_bytes(&self) -> usize {
        self.backlog_bytes
    }

    /// The entries of the next `Append`, possibly none. The bounds of the settings are approximate.
    pub fn next_batch(
        &mut self,
        presence: &mut Presence,
        keys: &Keys,
        incarnation: &str,
        settings: &Settings,
    ) -> (Vec<Append>, AppendBatch) {
        let mut batch = AppendBatch::default();
        let mut bodies = Vec::new();
        let mut bytes = 0;
        while bytes < settings.append_bytes_max && bodies.len() < settings.append_max {
            let Some((room, messages)) = self.backlog.pop_front() else { break };
            self.backlog_bytes -= bytes_of(&messages);
            bytes += bytes_of(&messages);
            batch.messages += messages.len() as u64;
            batch.tips.push((room, last_seq(&messages)));
            for messages in messages.chunks(MESSAGES_MAX) {
                let body = Body::Messages { room, messages: messages.to_vec() };
                bodies.push((keys.partition(room), body));
            }
        }
        self.tips(keys, &mut bodies, &mut batch);
        self.choices(keys, &mut bodies, &mut batch);
        let (logged, changes) = presence.next_changes(settings.append_max);
        batch.changes = changes;
        bodies.extend(logged.into_iter().map(|(room, body)| (keys.partition(room), body)));
        batch.changed = take(&mut self.changed);
        batch.freed = take(&mut self.freed);
        batch.marks_raised = take(&mut self.marks_raised);
        batch.revoked = take(&mut self.revoked).into_iter().map(TokenHash).collect();
        batch.is_registry = std::mem::take(&mut self.is_registry_due);
        if !batch.revoked.is_empty() {
            bodies.push((0, Body::Revoked(batch.revoked.clone())));
        }
        if !batch.changed.is_empty() {
            bodies.push((0, Body::Changed(batch.changed.clone())));
        }
        if !batch.freed.is_empty() {
            bodies.push((0, Body::Freed(batch.freed.clone())));
        }
        if !batch.marks_raised.is_empty() {
            bodies.push((0, Body::MarksRaised(batch.marks_raised.clone())));
        }
        if batch.is_registry {
            bodies.push((0, Body::Registry));
        }
        batch.is_beat = std::mem::take(&mut self.is_beat_due);
        let mut entries: Vec<Append> = bodies
            .into_iter()
            .map(|(partition, body)| self.entry(keys, incarnation, partition, &body))
            .collect();
        if batch.is_beat {
            // The heartbeat counts itself: a node that reads it has read stream 0 up to here.
            let mut q = self.q.clone();
            q[0] += 1;
            entries.push(self.entry(keys, incarnation, 0, &Body::Beat(q)));
        }
        batch.entries = entries.len() as u64;
        (entries, batch)
    }

    fn entry(&mut self, keys: &Keys, incarnation: &str, partition: u16, body: &Body) -> Append {
        let q = &mut self.q[usize::from(partition)];
        *q += 1;
        Append { stream: keys.log(partition), fields: encode(incarnation, *q, body) }
    }

    fn tips(&mut self, keys: &Keys, bodies: &mut Vec<(u16, Body)>, batch: &mut AppendBatch) {
        let mut streams: BTreeMap<u16, Vec<(RoomId, Seq)>> = BTreeMap::new();
        for _ in 0..IDS_MAX {
            let Some((room, seq)) = self.tips.pop_first() else { break };
            streams.entry(keys.partition(room)).or_default().push((room, seq));
            batch.tips.push((room, seq));
        }
        bodies.extend(streams.into_iter().map(|(stream, tips)| (stream, Body::Tips(tips))));
    }

    fn choices(&mut self, keys: &Keys, bodies: &mut Vec<(u16, Body)>, batch: &mut AppendBatch) {
        let mut streams: BTreeMap<u16, Vec<(RoomId, UserId, Choice)>> = BTreeMap::new();
        for _ in 0..IDS_MAX {
            let Some(((room, user), choice)) = self.choices.pop_first() else { break };
            streams.entry(keys.partition(room)).or_default().push((room, user, choice));
            batch.choices.push((room, user, choice));
        }
        bodies.extend(streams.into_iter().map(|(stream, all)| (stream, Body::Chosen(all))));
    }

    /// The outcome of an `Append`. After a failure its content is queued again, messages as tips.
    pub fn appended(
        &mut self,
        batch: AppendBatch,
        is_done: bool,
        presence: &mut Presence,
        counters: &mut Counters,
    ) {
        presence.logged(batch.changes, is_done);
        if is_done {
            counters.entries_appended += batch.entries;
            counters.messages_appended += batch.messages;
            return;
        }
        for (room, seq) in batch.tips {
            self.tip(room, seq);
        }
        for (room, user, choice) in batch.choices {
            let newer = self.choices.entry((room, user)).or_default();
            *newer = choice.max(*newer);
        }
        self.changed.extend(batch.changed);
        self.freed.extend(batch.freed);
        self.marks_raised.extend(batch.marks_raised);
        self.revoked.extend(batch.revoked.into_iter().map(|token| token.0));
        self.is_registry_due |= batch.is_registry;
        self.is_beat_due |= batch.is_beat;
    }
}

impl LogWriter {
    /// # Errors
    /// The first broken invariant.
    pub fn check(&self, settings: &Settings) -> Result<(), String> {
        let bytes: usize = self.backlog.iter().map(|(_, messages)| bytes_of(messages)).sum();
        ensure!(
            bytes == self.backlog_bytes,
            "{} bytes accounted, {bytes} held",
            self.backlog_bytes
        );
        ensure!(bytes <= settings.backlog_bytes_max, "the backlog holds {bytes} bytes");
        ensure!(
            self.backlog.iter().all(|(_, messages)| !messages.is_empty()),
            "an empty batch is queued"
        );
        // A failed append may put back one batch above the bound.
        let max = settings.controls_max + IDS_MAX;
        let sets = [
            self.choices.len(),
            self.changed.len(),
            self.revoked.len(),
            self.freed.len(),
            self.marks_raised.len(),
        ];
        ensure!(sets.iter().all(|len| *len <= max), "controls {sets:?} exceed {max}");
        let partitions = usize::from(settings.log_streams.max(1));
        ensure!(self.q.is_empty() || self.q.len() == partitions, "{} counters", self.q.len());
        Ok(())
    }
}

fn last_seq(messages: &[StoredMessage]) -> Seq {
    messages.last().expect("an empty batch is never queued").seq
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use throng_chat::cluster::StoredMessage;
    use throng_chat::{RoomId, Seq};

    use super::LogWriter;
    use crate::settings::Settings;
    use crate::status::Counters;
    use crate::tests::cards::card;

    #[test]
    fn bytes_that_are_accounted_and_not_held_are_noticed() {
        let settings = Settings::default();
        let mut writer = LogWriter::default();
        let message = StoredMessage {
            seq: Seq(1),
            id: 1,
            author: card(1),
            msg: "x".into(),
            img: Box::default(),
            time: Box::default(),
        };
        let messages: Arc<[StoredMessage]> = Arc::new([message]);
        let mut counters = Counters::default();
        writer.messages_committed(RoomId(1), messages, true, &settings, &mut counters);
        assert_eq!(writer.check(&settings), Ok(()));
        writer.backlog.clear();
        assert!(writer.check(&settings).is_err());
    }
}
