//! What one call of a roster spends and hands out.

use bytes::Bytes;
use smallvec::SmallVec;
use throng_engine::{Bucket, Now, Rate};

use super::rates::Rates;
use crate::Lanes;
use crate::counters::Counters;
use crate::ids::{RoomId, Seq, SessionId, ShardId};
use crate::lane::Delivery;
use crate::throttle::RosterThrottle;

/// One call of [`super::Roster::send_updates`].
pub(super) struct Sending<'a> {
    pub(super) now: Now,
    pub(super) seq: Seq,
    pub(super) room: RoomId,
    pub(super) rates: Rates,
    pub(super) throttle: &'a mut RosterThrottle,
    pub(super) lanes: &'a mut Lanes,
    pub(super) counters: &'a mut Counters,
    /// When to come back.
    pub(super) again: Option<Now>,
    pub(super) is_put_off: bool,
}

impl Sending<'_> {
    pub(super) fn come_back(&mut self, at: Now) {
        self.again = Some(self.again.map_or(at, |old| old.min(at)));
    }

    /// Whether the room and the shard can pay; if not, comes back when they can.
    pub(super) fn can_pay(&mut self, budget: Bucket, rate: Rate) -> bool {
        let open_at = budget.open_at(&rate);
        if open_at > self.now {
            self.come_back(open_at);
            return false;
        }
        self.shard_can_pay()
    }

    pub(super) fn shard_can_pay(&mut self) -> bool {
        if !self.throttle.is_open(self.now) {
            self.come_back(self.throttle.open_at());
            self.is_put_off = true;
            return false;
        }
        true
    }

    pub(super) fn count(&mut self, events: u64, bytes: usize, is_owed_once: bool) {
        let bytes = events * bytes as u64;
        self.throttle.spend(self.now, bytes, events);
        self.counters.roster_bytes += bytes;
        if is_owed_once {
            self.counters.roster_news_bytes += bytes;
        }
    }

    pub(super) fn give(&mut self, group: &mut Group) {
        for (shard, sessions) in group.sessions.drain(..) {
            let frame = group.frame.clone();
            self.lanes.deliver(shard, Delivery::MemberRoster { room: self.room, sessions, frame });
        }
    }
}

/// Members who are given the same frame.
#[derive(Default)]
pub(super) struct Group {
    pub(super) frame: Bytes,
    pub(super) sessions: SmallVec<[(ShardId, SmallVec<[SessionId; 2]>); 2]>,
}

impl Group {
    pub(super) fn add(&mut self, session: SessionId) {
        match self.sessions.iter_mut().find(|(shard, _)| *shard == session.shard()) {
            Some((_, sessions)) => sessions.push(session),
            None => self.sessions.push((session.shard(), SmallVec::from_slice(&[session]))),
        }
    }
}
