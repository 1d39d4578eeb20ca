//! The invariants of a node's own indexes.

use std::collections::BTreeSet;

use super::{CARDS_AT_ONCE, Cluster, HEIGHTS_MAX, PEERS_AT_ONCE, Purpose};
use crate::entry::process_of;
use crate::lease::Phase;

impl Cluster {
    /// Verifies after a step that the indexes of this node agree: every index points to what it
    /// indexes, every order in flight is accounted for once, bounds hold, and everything that waits
    /// is in flight or has a deadline. The cost is proportional to the state.
    ///
    /// # Errors
    /// The first broken invariant: a fault of this crate, whatever Redis or other nodes sent.
    pub fn check(&self) -> Result<(), String> {
        self.check_orders()?;
        self.check_mirrors()?;
        self.log_writer.check(&self.settings)?;
        self.peers.check(self.lease.process(), self.settings.peers_max)?;
        ensure!(self.heights.len() <= HEIGHTS_MAX, "{} heights", self.heights.len());
        // A failed order may put back its user above the bound.
        let cards_max = self.settings.controls_max + CARDS_AT_ONCE;
        ensure!(self.cards.len() <= cards_max, "{} cards must be read", self.cards.len());
        self.check_lease()?;
        self.check_deadline()
    }

    fn count(&self, is_counted: fn(&Purpose) -> bool) -> usize {
        self.in_flight.values().filter(|purpose| is_counted(purpose)).count()
    }

    /// The marks of busy kinds, and the owners of orders, agree with the orders in flight.
    fn check_orders(&self) -> Result<(), String> {
        let next = self.in_flight.last_key_value().map_or(0, |(id, _)| id.0 + 1);
        ensure!(next <= self.next_order, "an order of the future is in flight");
        let busy = &self.busy;
        let lease = self.count(|purpose| {
            matches!(purpose, Purpose::Claim { .. } | Purpose::Renew { .. } | Purpose::Release)
        });
        let writes = self.count(|purpose| {
            matches!(purpose, Purpose::Record | Purpose::Ready | Purpose::Write { .. })
        });
        let registry =
            self.count(|purpose| matches!(purpose, Purpose::Registry | Purpose::Leases(_)));
        let marks = [
            ("lease", busy.lease, lease),
            ("write", busy.write, writes),
            ("append", busy.append, self.count(|purpose| matches!(purpose, Purpose::Append(_)))),
            ("read", busy.read, self.count(|p| matches!(p, Purpose::Tails | Purpose::Read))),
            ("registry", busy.registry, registry),
            ("tips", busy.tips, self.count(|purpose| matches!(purpose, Purpose::Tips))),
        ];
        for (kind, is_busy, count) in marks {
            ensure!(count == usize::from(is_busy), "{count} {kind} orders, busy: {is_busy}");
        }
        let peers = self.count(|purpose| matches!(purpose, Purpose::PeerRooms { .. }));
        ensure!(peers == busy.peers && peers <= PEERS_AT_ONCE, "{peers} peers of {}", busy.peers);
        let cards = self.count(|purpose| matches!(purpose, Purpose::Card(_)));
        ensure!(cards == busy.cards && cards <= CARDS_AT_ONCE, "{cards} cards of {}", busy.cards);
        self.sweeps.check(self.count(|purpose| matches!(purpose, Purpose::Sweep { .. })))?;
        let mut rooms = BTreeSet::new();
        let mut publishes = BTreeSet::new();
        for purpose in self.in_flight.values() {
            if let Purpose::Load(room) = purpose {
                ensure!(rooms.insert(*room), "{room:?} is read twice at a time");
            }
            if let Purpose::Number { publish_id, .. } = purpose {
                ensure!(publishes.insert(*publish_id), "{publish_id:?} is numbered twice");
            }
        }
        self.loading.check(&rooms)?;
        self.awaited_numbers.check(&publishes, self.settings.numbering_max)
    }

    fn check_mirrors(&self) -> Result<(), String> {
        let (mut presence, mut map, mut changes) = (&[][..], &[][..], &[][..]);
        for purpose in self.in_flight.values() {
            if let Purpose::Write { presence: states, map: pairs } = purpose {
                (presence, map) = (states, pairs);
            }
            if let Purpose::Append(batch) = purpose {
                changes = batch.changes();
            }
        }
        self.presence.check(presence, changes)?;
        self.map.check(map)
    }

    fn check_lease(&self) -> Result<(), String> {
        let lease = &self.lease;
        let process = process_of(&lease.incarnation);
        ensure!(process == lease.process(), "{} is not of {process}", lease.incarnation);
        ensure!(lease.id < 1024 && self.first_id < 1024, "{} is no node id", lease.id);
        ensure!(self.is_stopping || !self.is_released, "released without a stop");
        ensure!(self.is_stopping || lease.phase != Phase::Over, "over without a stop");
        let is_own = self.sweeps.has(&lease.incarnation);
        ensure!(!(is_own && lease.is_held()), "the held incarnation is swept");
        Ok(())
    }

    /// What waits is in flight or has a deadline.
    fn check_deadline(&self) -> Result<(), String> {
        if self.lease.phase == Phase::Over {
            return Ok(());
        }
        let is_idle = self.in_flight.is_empty();
        ensure!(!is_idle || self.deadline.is_some(), "nothing is in flight, and no deadline");
        if let Some(at) = self.sweeps.depart_at() {
            ensure!(self.deadline <= Some(at), "a departed peer is reported too late");
            ensure!(self.deadline.is_some(), "a departed peer is never reported");
        }
        if self.lease.is_held() && !self.busy.lease {
            ensure!(self.deadline.is_some(), "the lease is never renewed");
        }
        if self.lease.is_recorded() {
            // Without the lease, or without Redis, the outcome of the lease order decides what follows.
            let is_retried = self.deadline.is_some() || self.busy.lease;
            let due = self.presence.due() + self.map.due();
            ensure!(due == 0 || self.busy.write || is_retried, "{due} states are never written");
            let queued = self.presence.unlogged() + self.log_writer.queued();
            let is_handled = self.busy.append || self.busy.write || is_retried;
            ensure!(queued == 0 || is_handled, "{queued} entries are never appended");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use throng_chat::RoomId;

    use super::{Cluster, Phase, Purpose};
    use crate::order::OrderId;
    use crate::tests::world::World;

    #[track_caller]
    fn check_corruption(corrupt: fn(&mut Cluster), expected: &str) {
        let mut world = World::with_nodes(1, 2);
        world.enter(0, 1, &[1]);
        let cluster = &mut world.node(0).cluster;
        assert_eq!(cluster.check(), Ok(()));
        corrupt(cluster);
        let fault = cluster.check().expect_err("the corruption is noticed");
        assert!(fault.contains(expected), "{fault}");
    }

    #[test]
    fn each_corruption_is_noticed() {
        check_corruption(|cluster| cluster.busy.write ^= true, "write orders");
        check_corruption(|cluster| cluster.in_flight.clear(), "busy: true");
        check_corruption(|cluster| cluster.busy.cards = 1, "0 cards of 1");
        check_corruption(
            |cluster| {
                cluster.in_flight.insert(OrderId(u64::MAX - 1), Purpose::Load(RoomId(1)));
            },
            "an order of the future",
        );
        check_corruption(
            |cluster| {
                cluster.in_flight.insert(OrderId(0), Purpose::Load(RoomId(1)));
            },
            "rooms being read",
        );
        check_corruption(
            |cluster| {
                cluster.peers.unread.insert("unknown".into());
            },
            "is not known",
        );
        check_corruption(|cluster| cluster.lease.phase = Phase::Over, "over without a stop");
        check_corruption(|cluster| cluster.deadline = None, "the lease is never renewed");
    }
}
