//! Changes, for members in mode delta: to all at once, or in a round from one to the next.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Roster;
use super::rates::cost;
use super::sending::{Group, Sending};
use crate::frames::{self, Meta};
use crate::ids::{Seq, SessionId};
use crate::lane::PresenceMode;
use throng_engine::LANE_RETRY_MS;

/// A change on its way to one member after the other.
pub(super) struct Round {
    /// Its content; `meta` is of the moment it was taken, but for its `seq`.
    meta: Meta,
    joined: String,
    left: String,
    frame: Bytes,
    serial: u64,
    queue: VecDeque<SessionId>,
}

impl Round {
    /// For members that have received the messages up to `seq`.
    fn frame(&mut self, seq: Seq) -> Bytes {
        if self.frame.is_empty() || self.meta.seq != seq {
            self.meta.seq = seq;
            self.frame = frames::presence_delta(self.meta, &self.joined, &self.left);
        }
        self.frame.clone()
    }
}

impl Roster {
    pub(super) fn send_changes(&mut self, sending: &mut Sending<'_>) {
        if self.presence_mode[PresenceMode::Delta as usize] == 0 {
            self.updates.unsent.forget_changes();
            self.updates.changes = None;
            return;
        }
        if self.updates.receivers == 0 {
            // Members that wait for a first roster need no changes, if that roster is not older.
            self.updates.unsent.forget_changes();
            self.updates.sent_version = self.version;
        }
        if self.updates.changes.is_none() && self.updates.unsent.is_changed() {
            if !(sending.can_pay(self.updates.budgets.events, sending.rates.events)
                && sending.can_pay(self.updates.budgets.changes, sending.rates.changes))
            {
                return;
            }
            self.begin_changes(sending);
        }
        self.go_on_with_changes(sending);
        if self.updates.changes.is_none() && self.updates.unsent.is_changed() {
            // What changed during a round is sent in the next one.
            sending.come_back(sending.now.plus_ms(LANE_RETRY_MS));
        }
    }

    fn begin_changes(&mut self, sending: &mut Sending<'_>) {
        let joined = std::mem::take(&mut self.updates.unsent.joined);
        let left = std::mem::take(&mut self.updates.unsent.left);
        let cards = joined.iter().filter_map(|user| self.users.get(user));
        let entries: Vec<String> = cards.map(|present| frames::entry(&present.card)).collect();
        let ids: Vec<String> = left.iter().map(|user| user.0.to_string()).collect();
        let mut round = Round {
            meta: self.meta(sending.seq),
            joined: entries.join(","),
            left: ids.join(","),
            frame: Bytes::new(),
            serial: self.updates.next_serial(),
            queue: VecDeque::new(),
        };
        let frame = round.frame(sending.seq);
        let receivers = u64::from(self.updates.receivers);
        self.updates.sent_version = self.version;
        self.updates.budgets.events.charge(&sending.rates.events, sending.now, cost(receivers, 0));
        let bytes = receivers * frame.len() as u64;
        if bytes <= sending.rates.at_once {
            self.updates.budgets.changes.charge(&sending.rates.changes, sending.now, bytes);
            self.broadcast(PresenceMode::Delta, &frame, true, sending);
            return;
        }
        round.queue = self.members_who(|member| {
            member.presence_mode == PresenceMode::Delta && !member.is_waiting
        });
        self.updates.changes = Some(round);
        sending.counters.roster_broadcasts += 1;
    }

    fn go_on_with_changes(&mut self, sending: &mut Sending<'_>) {
        let Some(mut round) = self.updates.changes.take() else { return }; // There is no round.
        let mut group = Group { frame: round.frame(sending.seq), ..Group::default() };
        let len = group.frame.len();
        while let Some(session) = round.queue.front().copied() {
            let is_receiver = self.members.get(&session).is_some_and(|member| {
                // A member that got a whole roster since has this change.
                let serial = self.updates.serials.get(&session).copied().unwrap_or(0);
                member.presence_mode == PresenceMode::Delta
                    && !member.is_waiting
                    && serial < round.serial
            });
            if is_receiver {
                if !sending.can_pay(self.updates.budgets.changes, sending.rates.changes) {
                    break;
                }
                self.updates.budgets.changes.charge(
                    &sending.rates.changes,
                    sending.now,
                    len as u64,
                );
                sending.count(1, len, true);
                group.add(session);
            }
            round.queue.pop_front();
        }
        sending.give(&mut group);
        self.updates.changes = (!round.queue.is_empty()).then_some(round);
    }
}
