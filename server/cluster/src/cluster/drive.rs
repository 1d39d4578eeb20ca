//! The orders that are possible now, and the next deadline.

use throng_chat::cluster::ClusterInput;
use throng_engine::Now;

use super::{CARDS_AT_ONCE, Cluster, PEERS_AT_ONCE, Purpose};
use crate::entry::process_of;
use crate::event::{Effects, Note};
use crate::lease::Phase;
use crate::order::{Order, Write};
use crate::peers::Record;

impl Cluster {
    pub(super) fn drive(&mut self, now: Now, effects: &mut Effects) {
        self.update_health(now, effects);
        if self.lease.phase == Phase::Over {
            self.deadline = None;
            return;
        }
        if self.health.may_try(now) || !self.health.is_broken() {
            self.drive_lease(now, effects);
            self.drive_registry(now, effects);
        }
        if !self.health.is_broken() {
            self.drive_log_reads(effects);
            self.drive_mirror_writes(now, effects);
            self.drive_log_writes(now, effects);
            self.drive_loading(effects);
        }
        self.drive_sweep(now, effects);
        self.drive_sql(now, effects);
        self.deadline = self.earliest(now);
    }

    fn update_health(&mut self, now: Now, effects: &mut Effects) {
        let is_joined = self.lease.is_trusted(now) && self.log_reader.is_known();
        let since = self.health.since();
        match self.health.update(now, is_joined) {
            Some(true) => {
                effects.notes.push(Note::Up { after_ms: now.since(since) / 1_000_000 });
            }
            Some(false) => effects.notes.push(Note::Down { why: self.health.why() }),
            None => {}
        }
    }

    // ---- the lease ----------------------------------------------------------------------------

    fn drive_lease(&mut self, now: Now, effects: &mut Effects) {
        if self.is_stopping {
            return self.drive_stop(now, effects);
        }
        let is_broken = self.health.is_broken();
        if self.lease.is_held() && !self.busy.lease && (now >= self.lease.renew_at || is_broken) {
            let (key, value) = (self.keys.lease(self.lease.id), self.lease.incarnation.clone());
            let order = Order::Renew { key, value, ttl_ms: self.settings.lease_ms };
            self.lease_order(now, Purpose::Renew { sent: now }, order, effects);
        }
        match self.lease.phase {
            Phase::Ending => self.drive_ending(now, effects),
            Phase::ExpectClaim if !self.busy.lease && self.health.may_try(now) => {
                let (key, value) = (self.keys.lease(self.lease.id), self.lease.incarnation.clone());
                let order = Order::Claim { key, value, ttl_ms: self.settings.lease_ms };
                self.lease_order(now, Purpose::Claim { sent: now }, order, effects);
            }
            Phase::ExpectRecord => self.write_record(now, false, effects),
            Phase::ExpectAnnounced if self.presence.is_announced() && self.map.is_announced() => {
                self.lease.phase = Phase::ExpectReady;
                self.write_record(now, true, effects);
            }
            Phase::ExpectReady => self.write_record(now, true, effects),
            Phase::ExpectClaim
            | Phase::ExpectAnnounced
            | Phase::ExpectRegistry
            | Phase::Live
            | Phase::Over => {}
        }
    }

    /// Releases the lease once every command of the incarnation is answered, so that peers do not
    /// wait for its expiry.
    fn drive_ending(&mut self, now: Now, effects: &mut Effects) {
        if self.busy.write || self.busy.append || self.busy.lease {
            return;
        }
        let (key, value) = (self.keys.lease(self.lease.id), self.lease.incarnation.clone());
        self.lease_order(now, Purpose::Release, Order::Release { key, value }, effects);
    }

    fn drive_stop(&mut self, now: Now, effects: &mut Effects) {
        if self.lease.is_held() {
            self.sweeps.add_last(&self.lease.incarnation, now);
            self.log_writer.registry_changed();
            self.lease.phase = Phase::Ending;
        }
        let is_ending = self.lease.phase == Phase::Ending && !self.health.is_broken();
        if is_ending && !self.is_released {
            return self.drive_ending(now, effects);
        }
        let can_flush = self.log_writer.has_begun();
        let is_flushed = (!can_flush || self.log_writer.queued() == 0) && !self.busy.append;
        if !is_ending || (is_flushed && !self.sweeps.has(&self.lease.incarnation)) {
            self.lease.phase = Phase::Over;
        }
    }

    fn lease_order(&mut self, now: Now, purpose: Purpose, order: Order, effects: &mut Effects) {
        self.busy.lease = true;
        self.health.mark_tried(now);
        self.order(purpose, order, effects);
    }

    fn write_record(&mut self, now: Now, ready: bool, effects: &mut Effects) {
        if self.busy.write || !self.lease.is_trusted(now) || !self.health.may_try(now) {
            return;
        }
        let writes = vec![self.record(ready)];
        self.busy.write = true;
        let purpose = if ready { Purpose::Ready } else { Purpose::Record };
        self.order(purpose, Order::Write { writes }, effects);
    }

    fn record(&self, ready: bool) -> Write {
        let record = Record {
            id: self.lease.id,
            ready,
            addr: self.settings.node_name.clone(),
            started: self.seed.started_unix_ms,
        };
        let json = serde_json::to_string(&record).expect("a record is numbers and a string");
        let pairs = vec![(self.lease.incarnation.clone(), json)];
        Write::HashSet { key: self.keys.registry.clone(), pairs }
    }

    // ---- reads --------------------------------------------------------------------------------

    fn drive_registry(&mut self, now: Now, effects: &mut Effects) {
        let is_wanted = !self.health.is_broken() || self.lease.phase == Phase::ExpectRegistry;
        if self.busy.registry || self.is_stopping || !is_wanted || now < self.registry_due_at {
            return;
        }
        self.busy.registry = true;
        self.registry_read_at = now;
        self.registry_due_at = now.plus_ms(self.beat_ms());
        self.health.mark_tried(now);
        let order = Order::Fields { key: self.keys.registry.clone() };
        self.order(Purpose::Registry, order, effects);
    }

    fn registry_due(&self) -> Option<Now> {
        let is_broken = self.health.is_broken();
        let is_wanted = !is_broken || self.lease.phase == Phase::ExpectRegistry;
        let not_before = if is_broken { self.health.retry_at } else { Now::default() };
        (is_wanted && !self.busy.registry).then_some(self.registry_due_at.max(not_before))
    }

    /// A peer says that the registry has changed.
    pub(super) fn hasten_registry_read(&mut self) {
        self.registry_due_at =
            self.registry_due_at.min(self.registry_read_at.plus_ms(super::REGISTRY_READ_GAP_MS));
    }

    fn drive_log_reads(&mut self, effects: &mut Effects) {
        let is_full = effects.for_shards() >= self.settings.inputs_max;
        if self.busy.read || self.is_stopping || is_full {
            return;
        }
        self.busy.read = true;
        let order = self.log_reader.order(&self.keys, &self.settings);
        let purpose = if self.log_reader.is_known() { Purpose::Read } else { Purpose::Tails };
        self.order(purpose, order, effects);
    }

    fn drive_loading(&mut self, effects: &mut Effects) {
        if self.is_stopping || effects.for_shards() >= self.settings.inputs_max {
            return;
        }
        while self.busy.peers < PEERS_AT_ONCE {
            let Some(process) = self.peers.unread.pop_first() else { break };
            let peer = self.peers.known.get(&process).expect("an unread peer is known");
            self.busy.peers += 1;
            let incarnation = peer.incarnation.clone();
            let order = Order::Members { key: self.keys.owned_rooms(&incarnation) };
            self.order(Purpose::PeerRooms { process, incarnation }, order, effects);
        }
        while let Some(room) = self.loading.next(self.peers.adoptions) {
            let order = Order::Fields { key: self.keys.presence(room) };
            self.order(Purpose::Load(room), order, effects);
        }
    }

    // ---- writes -------------------------------------------------------------------------------

    fn drive_mirror_writes(&mut self, now: Now, effects: &mut Effects) {
        let is_possible = self.lease.is_trusted(now) && self.lease.is_recorded();
        if self.busy.write || !is_possible || !self.health.may_try(now) {
            return;
        }
        let name = &self.lease.incarnation;
        // One mirror may use the part of the other's half that it does not need.
        let writes_max = self.settings.writes_max;
        let half = writes_max.div_ceil(2);
        let for_map = half.max(writes_max - self.presence.due().min(writes_max));
        let (mut writes, map) = self.map.writes(for_map, &self.keys, self.lease.id, name);
        let for_presence = writes_max.max(map.len() + 1) - map.len();
        let (more, presence) = self.presence.writes(for_presence, &self.keys, name);
        writes.extend(more);
        if writes.is_empty() {
            return self.drive_lease(now, effects);
        }
        // The record is repeated: if Redis was emptied, and this node dies before it notices,
        // others must find what this order leaves behind.
        writes.insert(0, self.record(self.lease.is_announced()));
        self.busy.write = true;
        self.order(Purpose::Write { presence, map }, Order::Write { writes }, effects);
    }

    pub(super) fn may_append(&self, now: Now) -> bool {
        self.lease.is_recorded()
            && self.lease.is_trusted(now)
            && !self.health.is_broken()
            && !self.health.is_refused()
    }

    fn drive_log_writes(&mut self, now: Now, effects: &mut Effects) {
        let is_possible = self.lease.is_recorded() && self.lease.is_trusted(now);
        // A node that stops before it was ever registered has no numbers for entries. What it would have announced others
        // find out as they do when a node is killed.
        let is_final_flush = self.is_stopping && self.is_released && self.log_writer.has_begun();
        if self.busy.append || !(is_possible || is_final_flush) || !self.health.may_try(now) {
            return;
        }
        if self.lease.is_announced() && now >= self.beat_at {
            self.beat_at = now.plus_ms(self.beat_ms());
            self.log_writer.request_beat();
        }
        for user in self.map.take_freed() {
            self.log_writer.fd_freed(user, &self.settings, &mut self.counters);
        }
        let name = &self.lease.incarnation;
        let (entries, batch) =
            self.log_writer.next_batch(&mut self.presence, &self.keys, name, &self.settings);
        if entries.is_empty() {
            return;
        }
        self.busy.append = true;
        let maxlen = self.settings.log_maxlen;
        self.order(Purpose::Append(batch), Order::Append { maxlen, entries }, effects);
    }

    fn may_sweep_redis(&self, now: Now) -> bool {
        let is_live = self.lease.is_announced() && self.lease.is_trusted(now);
        // Each user who loses an fd is announced; a large sweep waits for these entries.
        let has_space = self.log_writer.freed_queued() < self.settings.controls_max / 2;
        (is_live || self.is_released) && has_space && !self.health.is_broken()
    }

    fn drive_sweep(&mut self, now: Now, effects: &mut Effects) {
        let can_sweep_redis = self.may_sweep_redis(now) && self.health.may_try(now);
        let verified_at = self.lease.verified_at;
        let own = self.lease.process();
        let is_live = |process: &str| process == own || self.registry.is_process_live(process);
        if let Some(order) =
            self.sweeps.order(now, verified_at, can_sweep_redis, &self.keys, is_live)
        {
            self.order(Purpose::Sweep { is_sql: order.is_sql() }, order, effects);
        }
        self.report_departed(now, effects);
    }

    pub(super) fn report_departed(&mut self, now: Now, effects: &mut Effects) {
        let gone = self.sweeps.departed(now).into_iter();
        effects.inputs.extend(gone.map(|node| ClusterInput::NodeGone { node }));
    }

    // ---- SQL ----------------------------------------------------------------------------------

    /// When the tips are read from SQL next: often while Redis cannot be used, since they replace
    /// the logs; otherwise rarely, for messages that reached no log.
    fn tips_at(&self) -> Option<Now> {
        if self.settings.ephemeral || self.is_stopping || self.busy.tips {
            return None;
        }
        let is_urgent = self.are_tips_due || !self.health.is_up();
        let (outage_ms, idle_ms) = (self.settings.outage_poll_ms, self.settings.idle_poll_ms);
        Some(self.tips_asked_at.plus_ms(if is_urgent { outage_ms } else { idle_ms }))
    }

    fn drive_sql(&mut self, now: Now, effects: &mut Effects) {
        if self.tips_at().is_some_and(|at| at <= now) {
            self.busy.tips = true;
            self.are_tips_due = false;
            self.tips_asked_at = now;
            self.order(Purpose::Tips, Order::Tips, effects);
        }
        while self.busy.cards < CARDS_AT_ONCE && !self.is_stopping {
            let Some(user) = self.cards.pop_first() else { break };
            self.busy.cards += 1;
            self.order(Purpose::Card(user), Order::Card { user }, effects);
        }
    }

    // ---- time ---------------------------------------------------------------------------------

    /// The earliest time at which something is due without any event.
    fn earliest(&self, now: Now) -> Option<Now> {
        let (is_broken, is_refused) = (self.health.is_broken(), self.health.is_refused());
        let is_held = self.lease.is_held() && !is_broken;
        let is_sending = self.lease.is_announced() && self.lease.is_trusted(now) && !is_refused;
        let times = [
            (is_broken || is_refused).then_some(self.health.retry_at).filter(|at| *at > now),
            (is_held && !self.busy.lease).then_some(self.lease.renew_at),
            is_held.then_some(self.lease.held_until).filter(|at| *at > now),
            self.registry_due(),
            (is_sending && !self.busy.append && !is_broken).then_some(self.beat_at),
            self.tips_at(),
            self.sweeps.depart_at().filter(|at| *at > now),
            self.sweeps.next_at(self.lease.verified_at, self.may_sweep_redis(now) && !is_refused),
        ];
        times.into_iter().flatten().min()
    }

    /// The number of live nodes whose names sort before this one's.
    pub(super) fn rank(&self) -> u64 {
        let own = self.lease.incarnation.as_str();
        let before = self.registry.live().filter(|(name, _)| *name < own);
        before.count() as u64
    }

    pub(super) fn is_own(&self, incarnation: &str) -> bool {
        process_of(incarnation) == self.lease.process()
    }
}
