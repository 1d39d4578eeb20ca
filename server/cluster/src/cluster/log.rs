//! Handles the entries read from the logs.

use std::collections::BTreeMap;

use throng_chat::cluster::ClusterInput;
use throng_chat::{Choice, RoomId, UserId};
use throng_engine::Now;

use super::Cluster;
use crate::entry::{Body, Entry, decode, process_of};
use crate::event::{Effects, Note, PublishId};
use crate::order::{Fields, StreamEntries};
use crate::sequence::Step;

impl Cluster {
    pub(super) fn read(&mut self, now: Now, streams: Vec<StreamEntries>, effects: &mut Effects) {
        for StreamEntries { stream, entries } in streams {
            // The name comes from Redis: a stream that was not requested is skipped.
            let Some(partition) = self.keys.partition_of(&stream).map(usize::from) else {
                self.counters.entries_skipped += entries.len() as u64;
                continue;
            };
            for (id, fields) in entries {
                self.log_reader.advance(partition, id);
                self.counters.entries_read += 1;
                self.lag_ms = self.unix_ms(now).max(id.ms) - id.ms;
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

    /// An entry of this process came back. Only messages that Redis numbered matter: the shard
    /// learns their place among those of other nodes, and messages that were refused because no
    /// answer came are new to it.
    fn own_entry(&mut self, entry: Entry, effects: &mut Effects) {
        // By design: everything else in our own entries is known here.
        let (Some(publish_id), Body::Messages { room, messages }) = (entry.publish_id, entry.body)
        else {
            return;
        };
        // An entry is data of Redis: it may be empty.
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            self.counters.entries_skipped += 1;
            return;
        };
        self.awaited_numbers.seen(PublishId(publish_id), first.seq, messages.len());
        self.raise_height(room, last.seq);
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
                // A peer's entry may be empty.
                let Some(last) = messages.last() else {
                    self.counters.entries_skipped += 1;
                    return;
                };
                self.raise_height(room, last.seq);
                effects.inputs.push(ClusterInput::Messages { room, messages });
            }
            Body::Tips(tips) => {
                for (room, seq) in tips {
                    self.learn_tip(room, seq, effects);
                }
            }
            Body::Present { room, joined, left } => {
                match self.peers.named(&entry.incarnation) {
                    Some(peer) if step != Step::Late => {
                        let node = peer.ix;
                        if !joined.is_empty() {
                            peer.rooms.insert(room);
                        }
                        self.loading.record(room, node, &joined, &left);
                        effects.inputs.push(ClusterInput::Present { room, node, joined, left });
                    }
                    // A late entry or an unknown node: the hash says who is present, but read marks
                    // never decrease, so they count.
                    _ if left.is_empty() => {}
                    _ => effects.inputs.push(ClusterInput::Read { room, marks: left }),
                }
            }
            Body::Chosen(all) => {
                let mut rooms: BTreeMap<RoomId, Vec<(UserId, Choice)>> = BTreeMap::new();
                for (room, user, choice) in all {
                    rooms.entry(room).or_default().push((user, choice));
                }
                let inputs = rooms.into_iter();
                effects
                    .inputs
                    .extend(inputs.map(|(room, choices)| ClusterInput::Chosen { room, choices }));
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
            Body::MarksRaised(processes) => {
                if processes.iter().any(|process| process == self.lease.process()) {
                    self.declared_dead(effects);
                }
            }
            Body::Registry => self.hasten_registry_read(),
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
                    self.hasten_registry_read();
                }
                Step::Next
            }
        }
    }

    /// Other nodes declared this process dead while it was suspended or cut off. In the database
    /// its users no longer count as reading, and their read marks there are newer than those known
    /// here.
    fn declared_dead(&mut self, effects: &mut Effects) {
        if self.lease.is_recorded() {
            effects.inputs.push(ClusterInput::Announce);
            self.resync("other nodes declared this node dead", effects);
        } else {
            // The next incarnation announces everything.
            self.is_resync_due = true;
        }
    }

    /// Entries of a peer are missing: its presence, the tips of all rooms and the read marks are
    /// read again.
    fn gap(&mut self, incarnation: &str, effects: &mut Effects) {
        self.counters.resyncs += 1;
        self.peers.read_again(process_of(incarnation));
        self.are_tips_due = true;
        self.map.bind_all_again();
        effects.inputs.push(ClusterInput::Resync);
        effects.notes.push(Note::Resync { why: "entries are missing" });
    }
}
