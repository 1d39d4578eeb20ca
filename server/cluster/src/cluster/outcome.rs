//! The outcome of an order.

use std::collections::BTreeSet;

use throng_chat::cluster::ClusterInput;
use throng_chat::{RoomId, Seq};
use throng_engine::Now;

use super::{Cluster, Purpose};
use crate::awaited_numbers::are_numbers_of;
use crate::entry::{decode_card, process_of};
use crate::event::{Effects, Note};
use crate::keys::parse_presence_field;
use crate::lease::Phase;
use crate::loading::LastChange;
use crate::order::{Failure, Fields, NumberFault, Order, OrderId, Outcome};
use crate::peers::{Grace, Registry};
use crate::sweep::RANK_MS;

impl Cluster {
    pub(super) fn outcome(
        &mut self,
        now: Now,
        order: OrderId,
        outcome: Result<Outcome, Failure>,
        effects: &mut Effects,
    ) {
        // An executor that answers twice, or after a restart, is tolerated by design: its outcomes
        // come from another thread and a slow network.
        let Some(purpose) = self.in_flight.remove(&order) else {
            self.counters.outcomes_unexpected += 1;
            return;
        };
        self.free(&purpose);
        let is_sql =
            matches!(purpose, Purpose::Tips | Purpose::Card(_) | Purpose::Sweep { is_sql: true });
        if !is_sql {
            self.note(now, &purpose, &outcome);
        }
        match outcome {
            Ok(outcome) => self.done(now, purpose, outcome, effects),
            Err(failure) => self.failed(now, purpose, &failure, effects),
        }
    }

    fn free(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Claim { .. } | Purpose::Renew { .. } | Purpose::Release => {
                self.busy.lease = false;
            }
            Purpose::Record | Purpose::Ready | Purpose::Write { .. } => self.busy.write = false,
            Purpose::Registry | Purpose::Leases(_) => self.busy.registry = false,
            Purpose::Append(_) => self.busy.append = false,
            Purpose::Tails | Purpose::Read => self.busy.read = false,
            Purpose::PeerRooms { .. } => self.busy.peers -= 1,
            Purpose::Tips => self.busy.tips = false,
            Purpose::Card(_) => self.busy.cards -= 1,
            Purpose::Load(_) | Purpose::Number { .. } | Purpose::Sweep { .. } => {}
        }
    }

    /// Updates the health of Redis from one outcome.
    fn note(&mut self, now: Now, purpose: &Purpose, outcome: &Result<Outcome, Failure>) {
        match outcome {
            Ok(_) => {
                self.counters.orders_done += 1;
                self.health.mark_answered(now);
                // Reads need neither memory nor write permission, so they prove nothing about writes.
                let writes = matches!(
                    purpose,
                    Purpose::Claim { .. }
                        | Purpose::Record
                        | Purpose::Ready
                        | Purpose::Append(_)
                        | Purpose::Write { .. }
                );
                if writes {
                    self.health.mark_accepted();
                }
            }
            Err(Failure::Broken { why }) => {
                self.counters.orders_broken += 1;
                self.health.mark_broken(now, why);
                self.lease.is_doubtful |= self.lease.is_held();
                self.log_reader.doubt();
                self.log_writer.collapse_to_tips();
                self.is_resync_due = true;
            }
            Err(Failure::Refused { why }) => {
                self.counters.orders_refused += 1;
                self.health.mark_answered(now);
                self.health.mark_refused(now, why);
                self.log_writer.collapse_to_tips();
            }
        }
    }

    fn done(&mut self, now: Now, purpose: Purpose, outcome: Outcome, effects: &mut Effects) {
        match (purpose, outcome) {
            (Purpose::Claim { sent }, Outcome::Held(is_held)) => self.claimed(now, sent, is_held),
            (Purpose::Renew { sent }, Outcome::Held(is_held)) => {
                self.renewed(now, sent, is_held, effects);
            }
            (Purpose::Release, _) => self.released(now),
            (Purpose::Record, _) => self.recorded(effects),
            (Purpose::Ready, _) if self.lease.phase == Phase::ExpectReady => {
                self.lease.phase = Phase::Live;
                self.beat_at = now;
                self.log_writer.registry_changed();
                let took_ms = now.since(self.lease.started_at) / 1_000_000;
                let incarnation = self.lease.incarnation.clone();
                effects.notes.push(Note::Announced { incarnation, took_ms });
            }
            (Purpose::Ready, _) => {}
            (Purpose::Registry, Outcome::Fields(fields)) => {
                self.registry_read(now, &fields, effects)
            }
            (Purpose::Leases(mut registry), Outcome::Values(holders)) => {
                registry.set_live(&holders);
                self.registry_known(now, registry, effects);
            }
            (Purpose::Write { presence, map }, _) => {
                self.presence.written(presence, true);
                self.map.written(map, true);
            }
            (Purpose::Append(batch), _) => {
                self.log_writer.appended(batch, true, &mut self.presence, &mut self.counters);
            }
            (Purpose::Tails, Outcome::Tails(tails)) => {
                self.log_reader.tails(&tails);
                // Messages between the shards' start from SQL and this position are in no log that
                // this node reads.
                self.are_tips_due = true;
                if std::mem::take(&mut self.is_resync_due) {
                    self.resync("redis was unreachable", effects);
                }
            }
            (Purpose::Read, Outcome::Entries(streams)) => self.read(now, streams, effects),
            (Purpose::PeerRooms { process, incarnation }, Outcome::Members(rooms)) => {
                self.peer_rooms(&process, &incarnation, &rooms);
            }
            (Purpose::Load(room), Outcome::Fields(fields)) => self.loaded(room, &fields, effects),
            (Purpose::Sweep { is_sql: true }, _) => {
                let current = self.sweeps.current().map(process_of).unwrap_or_default();
                let process = current.to_owned();
                self.log_writer.marks_raised(process, &self.settings, &mut self.counters);
                self.swept(now, vec![], effects);
                self.report_departed(now, effects);
                // The database has raised the read marks of its users.
                effects.inputs.push(ClusterInput::Resync);
            }
            (Purpose::Sweep { .. }, outcome) => {
                // By design: only samples answer with members.
                let members =
                    if let Outcome::Members(members) = outcome { members } else { vec![] };
                self.swept(now, members, effects);
            }
            (Purpose::Tips, Outcome::Tips(tips)) => {
                self.counters.tips_polled += 1;
                for (room, seq) in tips {
                    self.learn_tip(room, seq, effects);
                }
            }
            (Purpose::Card(_), Outcome::Card(card)) => effects.changed.extend(card),
            // Other numbers are none of Redis's: handled as a failure, below.
            (Purpose::Number { publish_id, room, count }, Outcome::Numbered(numbers))
                if are_numbers_of(&numbers, room, count) =>
            {
                let new = count - numbers.repeats.len() as u64;
                self.raise_height(room, Seq(numbers.first.0 + new - 1));
                effects.numbered.push(self.awaited_numbers.done(publish_id, Ok(numbers)));
            }
            // The outcome does not fit the order: an executor error, handled like a failure.
            (
                purpose @ (Purpose::Claim { .. }
                | Purpose::Renew { .. }
                | Purpose::Registry
                | Purpose::Leases(_)
                | Purpose::Tails
                | Purpose::Read
                | Purpose::PeerRooms { .. }
                | Purpose::Load(_)
                | Purpose::Tips
                | Purpose::Card(_)
                | Purpose::Number { .. }),
                _,
            ) => {
                self.counters.outcomes_unexpected += 1;
                self.failed(now, purpose, &Failure::Broken { why: "answer" }, effects);
            }
        }
    }

    fn failed(&mut self, now: Now, purpose: Purpose, failure: &Failure, effects: &mut Effects) {
        match purpose {
            Purpose::Write { presence, map } => {
                self.presence.written(presence, false);
                self.map.written(map, false);
            }
            Purpose::Append(batch) => {
                self.log_writer.appended(batch, false, &mut self.presence, &mut self.counters);
            }
            // Without an answer the lease expires by itself.
            Purpose::Release => self.released(now),
            Purpose::PeerRooms { process, .. } => self.peers.read_again(&process),
            Purpose::Load(room) => {
                self.loading.done(room, false);
            }
            Purpose::Sweep { .. } => self.sweeps.failed(now.plus_ms(self.beat_ms())),
            Purpose::Tips => self.are_tips_due = true,
            Purpose::Card(user) => {
                self.cards.insert(user);
            }
            Purpose::Number { publish_id, .. } => {
                let fault = match failure {
                    Failure::Refused { .. } => NumberFault::Refused,
                    Failure::Broken { .. } => NumberFault::Unknown,
                };
                effects.numbered.push(self.awaited_numbers.done(publish_id, Err(fault)));
            }
            Purpose::Claim { .. }
            | Purpose::Renew { .. }
            | Purpose::Record
            | Purpose::Ready
            | Purpose::Registry
            | Purpose::Leases(_)
            | Purpose::Tails
            | Purpose::Read => {}
        }
    }

    // ---- the lease ----------------------------------------------------------------------------

    fn claimed(&mut self, now: Now, sent: Now, is_held: bool) {
        if self.lease.phase != Phase::ExpectClaim {
            return;
        }
        if is_held {
            self.lease.held_until = sent.plus_ms(self.settings.lease_ms);
            self.lease.renew_at = sent.plus_ms(self.beat_ms());
            self.lease.verified_at = sent;
            self.lease.phase = Phase::ExpectRecord;
        } else {
            self.first_id = (self.lease.id + 1) % 1024;
            self.rejoin(now);
        }
    }

    fn renewed(&mut self, now: Now, sent: Now, is_held: bool, effects: &mut Effects) {
        if !is_held {
            self.lapse(now, "the lease was lost", effects);
        } else if self.lease.is_doubtful {
            self.lapse(now, "the connection broke", effects);
        } else {
            self.lease.held_until = sent.plus_ms(self.settings.lease_ms);
            self.lease.renew_at = sent.plus_ms(self.beat_ms());
            self.lease.verified_at = sent;
        }
    }

    fn released(&mut self, now: Now) {
        if self.is_stopping {
            self.is_released = true;
        } else {
            self.rejoin(now);
        }
    }

    fn rejoin(&mut self, now: Now) {
        self.lease.phase = Phase::ExpectRegistry;
        self.registry_due_at = now;
    }

    fn recorded(&mut self, effects: &mut Effects) {
        if self.lease.phase != Phase::ExpectRecord {
            return;
        }
        self.lease.phase = Phase::ExpectAnnounced;
        self.presence.begin();
        self.map.begin();
        self.log_writer.begin(usize::from(self.settings.log_streams.max(1)));
        effects.inputs.push(ClusterInput::Announce);
        let incarnation = self.lease.incarnation.clone();
        effects.notes.push(Note::Joined { node: self.lease.id, incarnation });
        // If the position in the logs is doubtful, the tails are read first, and that resyncs.
        if self.log_reader.is_known() && std::mem::take(&mut self.is_resync_due) {
            self.resync("the lease was lost", effects);
        }
    }

    // ---- the registry -------------------------------------------------------------------------

    fn registry_read(&mut self, now: Now, fields: &Fields, effects: &mut Effects) {
        let registry = Registry::parse(fields);
        if registry.records.is_empty() {
            return self.registry_known(now, registry, effects);
        }
        self.busy.registry = true;
        let keys = registry.records.values().map(|record| self.keys.lease(record.id)).collect();
        self.order(Purpose::Leases(registry), Order::Values { keys }, effects);
    }

    fn registry_known(&mut self, now: Now, registry: Registry, effects: &mut Effects) {
        self.registry = registry;
        let records = &self.registry.records;
        match self.lease.phase {
            Phase::ExpectRegistry => {
                // Redis may have lost ids that this node remembers.
                let taken = |id: u16| {
                    records.values().any(|record| record.id == id)
                        || self.peers.known.values().any(|peer| peer.id == id)
                        || self.sweeps.has_id(id)
                };
                self.lease.begin(now, self.first_id, &taken);
            }
            Phase::ExpectAnnounced | Phase::ExpectReady | Phase::Live => {
                let is_mine = |name: &str| name == self.lease.incarnation;
                let mut others = records.iter().filter(|(name, _)| !is_mine(name));
                if others.any(|(_, record)| record.id == self.lease.id) {
                    self.lapse(now, "another node has the same id", effects);
                }
            }
            Phase::Ending | Phase::ExpectClaim | Phase::ExpectRecord | Phase::Over => {}
        }
        // Presence must be loaded after the position in the logs was taken.
        if self.log_reader.is_known() {
            self.observe(now, effects);
        }
    }

    fn observe(&mut self, now: Now, effects: &mut Effects) {
        let lease_ms = self.settings.lease_ms;
        let is_fresh = self.health.last_broken_at.is_some_and(|at| now < at.plus_ms(lease_ms));
        let unrecorded_ms = lease_ms / 2;
        let recorded_ms = if is_fresh { unrecorded_ms } else { 0 };
        let grace = Grace { recorded_ms, unrecorded_ms, verified_at: self.lease.verified_at };
        let own = self.lease.process();
        let max = self.settings.peers_max;
        let change = self.peers.observe(&self.registry, own, now, grace, max);
        self.counters.peers_full += change.refused;
        if self.peers.has_absent() {
            self.lease.renew_at = now;
            self.hasten_registry_read();
        }
        let sweep_at = now.plus_ms(self.rank() * RANK_MS);
        if !(change.joined.is_empty() && change.replaced.is_empty()) {
            // Read marks from before its lease, or from the end of its old incarnation, are lost.
            effects.inputs.push(ClusterInput::Resync);
        }
        for (incarnation, id) in change.replaced {
            self.sweeps.add(&incarnation, id, now, sweep_at);
        }
        for incarnation in change.joined {
            effects.notes.push(Note::PeerJoined { incarnation });
        }
        for (node, incarnation, id) in change.departed {
            self.sweeps.add(&incarnation, id, now, sweep_at);
            // Its last committed messages may be in no log.
            self.are_tips_due = true;
            self.sweeps.depart(node, &incarnation);
            effects.notes.push(Note::PeerGone { incarnation });
        }
        let dead: BTreeSet<&str> = self
            .registry
            .records
            .keys()
            .map(String::as_str)
            .filter(|name| *name != self.lease.incarnation && !self.registry.is_live(name))
            .filter(|name| {
                let process = process_of(name);
                // A live process sweeps its old incarnation itself once its new one is ready; a
                // process that may come back gets a grace period.
                self.registry.ready(process).is_some()
                    || (!self.registry.is_process_live(process)
                        && !self.peers.known.contains_key(process))
            })
            .collect();
        let sweep_at = sweep_at.plus_ms(recorded_ms);
        self.sweeps.observe(&dead, now, sweep_at);
    }

    // ---- presence of other nodes --------------------------------------------------------------

    fn peer_rooms(&mut self, process: &str, incarnation: &str, rooms: &[String]) {
        // Late by design: the peer left, or changed its incarnation, since the order was issued.
        let peer = self.peers.known.get(process);
        let Some(peer) = peer.filter(|peer| peer.incarnation == incarnation) else { return };
        for room in rooms.iter().filter_map(|room| room.parse().ok()) {
            self.loading.add(RoomId(room));
        }
        for room in &peer.rooms {
            self.loading.add(*room);
        }
    }

    fn loaded(&mut self, room: RoomId, fields: &Fields, effects: &mut Effects) {
        let loaded = self.loading.done(room, true);
        self.counters.loads_repeated += u64::from(loaded.has_overflowed);
        let mut users = std::collections::BTreeMap::<&str, Vec<_>>::new();
        for (field, value) in fields {
            let Some((incarnation, user)) = parse_presence_field(field) else {
                self.counters.entries_skipped += 1;
                continue;
            };
            match decode_card(user, value) {
                Ok(card) => users.entry(incarnation).or_default().push(std::sync::Arc::new(card)),
                Err(_) => self.counters.entries_skipped += 1,
            }
        }
        for peer in self.peers.known.values_mut().filter(|peer| peer.adoption <= loaded.adoptions) {
            let users = users.remove(peer.incarnation.as_str()).unwrap_or_default();
            let was_there =
                if users.is_empty() { peer.rooms.remove(&room) } else { !peer.rooms.insert(room) };
            if was_there || !users.is_empty() {
                let node = peer.ix;
                effects.inputs.push(ClusterInput::NodePresence { room, node, users });
            }
        }
        for ((node, user), fate) in loaded.changes {
            // Late by design: the peer left while the room was read.
            let Some(peer) = self.peers.known.values_mut().find(|peer| peer.ix == node) else {
                continue;
            };
            let (joined, left) = match fate {
                LastChange::Joined(card) => {
                    peer.rooms.insert(room);
                    (vec![card], vec![])
                }
                LastChange::Left(seq) => (vec![], vec![(user, seq)]),
            };
            effects.inputs.push(ClusterInput::Present { room, node, joined, left });
        }
    }

    // ---- sweeping -----------------------------------------------------------------------------

    fn swept(&mut self, now: Now, members: Vec<String>, effects: &mut Effects) {
        let incarnation = self.sweeps.current().unwrap_or_default().to_owned();
        let found = self.sweeps.done(members, now);
        self.counters.swept_items += found.items;
        for user in found.users {
            self.map.bind_again(user);
            self.log_writer.fd_freed(user, &self.settings, &mut self.counters);
        }
        if found.is_over {
            self.counters.swept_incarnations += 1;
            effects.notes.push(Note::Swept { incarnation });
        }
    }
}
