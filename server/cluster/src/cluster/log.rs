//! What the logs say.

use throng_core::Now;
use throng_core::cluster::ClusterInput;

use super::Cluster;
use crate::entry::{Body, Entry, decode, process_of};
use crate::event::{Effects, Note};
use crate::order::{Fields, StreamEntries};
use crate::reading::Step;

impl Cluster {
    pub(super) fn read(&mut self, now: Now, streams: Vec<StreamEntries>, effects: &mut Effects) {
        for StreamEntries { stream, entries } in streams {
            let Some(partition) = self.keys.partition_of(&stream).map(usize::from) else {
                continue;
            };
            for (id, fields) in entries {
                self.reading.advance(partition, id);
                self.counters.entries_read += 1;
                self.lag_ms = self.unix_ms(now).saturating_sub(id.ms);
                self.read_entry(partition, &fields, effects);
            }
        }
    }

    fn read_entry(&mut self, partition: usize, fields: &Fields, effects: &mut Effects) {
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let partitions = usize::from(self.settings.log_streams.max(1));
        if bytes > self.settings.entry_bytes_max {
            self.counters.entries_skipped += 1;
            return;
        }
        match decode(fields, partitions) {
            Ok(entry) if self.is_own(&entry.incarnation) => self.own_entry(entry, effects),
            Ok(entry) => self.entry(partition, entry, effects),
            Err(_) => self.counters.entries_skipped += 1,
        }
    }

    /// What this process has told comes back. Of messages that Redis numbered the shard learns where
    /// they stand among those of others, and such as were refused for want of an answer are news.
    fn own_entry(&mut self, entry: Entry, effects: &mut Effects) {
        let (Some(ticket), Body::Messages { room, messages }) = (entry.ticket, entry.body) else {
            return;
        };
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return };
        self.numbering.seen(ticket, first.seq);
        self.rise(room, last.seq);
        effects.inputs.push(ClusterInput::Messages { room, messages });
    }

    fn entry(&mut self, partition: usize, entry: Entry, effects: &mut Effects) {
        let step = self.step_of(partition, &entry);
        match step {
            Step::Gap => self.gap(&entry.incarnation, effects),
            Step::Late => self.counters.entries_late += 1,
            Step::Next => {}
        }
        match entry.body {
            Body::Messages { room, messages } => {
                let Some(last) = messages.last() else { return };
                self.rise(room, last.seq);
                effects.inputs.push(ClusterInput::Messages { room, messages });
            }
            Body::Tips(tips) => {
                for (room, seq) in tips {
                    self.tip(room, seq, effects);
                }
            }
            Body::Present { room, joined, left } => {
                match self.peers.named(&entry.incarnation) {
                    Some(peer) if step != Step::Late => {
                        let node = peer.ix;
                        if !joined.is_empty() {
                            peer.rooms.insert(room);
                        }
                        self.loading.note(room, node, &joined, &left);
                        effects.inputs.push(ClusterInput::Present { room, node, joined, left });
                    }
                    // Who is there is read from the hash; what has been read stays read.
                    _ if left.is_empty() => {}
                    _ => effects.inputs.push(ClusterInput::Read { room, marks: left }),
                }
            }
            Body::Changed(users) => {
                for user in users {
                    if self.cards.len() < self.settings.controls_max {
                        self.cards.insert(user);
                    } else {
                        self.counters.controls_full += 1;
                    }
                }
            }
            Body::Revoked(tokens) => effects.revoked.extend(tokens),
            Body::Freed(users) => users.into_iter().for_each(|user| self.map.bind_again(user)),
            Body::Settled(processes) => {
                if processes.iter().any(|process| process == self.lease.process()) {
                    self.taken_for_dead(effects);
                }
            }
            Body::Registry => self.poke_registry(),
            Body::Beat(written) => {
                let peer = self.peers.named(&entry.incarnation);
                if peer.is_some_and(|peer| peer.sequence.beat(written) == Step::Gap) {
                    self.gap(&entry.incarnation, effects);
                }
            }
        }
    }

    fn step_of(&mut self, partition: usize, entry: &Entry) -> Step {
        match (self.peers.named(&entry.incarnation), entry.q) {
            (Some(peer), Some(q)) => peer.sequence.step(partition, q),
            (Some(_), None) => Step::Next,
            (None, _) => {
                if !self.registry.records.contains_key(&entry.incarnation) {
                    self.poke_registry();
                }
                Step::Next
            }
        }
    }

    /// This process slept or was cut off, and goes on. Its readers count as gone in the database, and
    /// have read further there than is known here.
    fn taken_for_dead(&mut self, effects: &mut Effects) {
        if self.lease.is_recorded() {
            effects.inputs.push(ClusterInput::Announce);
            self.resync("others took this node for dead", effects);
        } else {
            // The next name announces everything.
            self.is_resync_due = true;
        }
    }

    /// Entries of this node are missing: its presence is read again, the tips of all rooms, and how
    /// far users have read.
    fn gap(&mut self, incarnation: &str, effects: &mut Effects) {
        self.counters.resyncs += 1;
        self.peers.unread.insert(process_of(incarnation).to_owned());
        self.are_tips_due = true;
        self.map.bind_all_again();
        effects.inputs.push(ClusterInput::Resync);
        effects.notes.push(Note::Resync { why: "entries are missing" });
    }
}
