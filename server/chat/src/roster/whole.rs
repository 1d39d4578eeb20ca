//! Whole rosters: sent again to members that had one, and sent to those that wait for their first.

use super::Roster;
use super::rates::cost;
use super::sending::{Group, Sending};
use super::updates::WaitingMember;
use crate::ids::SessionId;
use crate::lane::PresenceMode;
use throng_engine::LANE_RETRY_MS;

impl Roster {
    pub(super) fn send_again(&mut self, sending: &mut Sending<'_>) {
        let receivers = u64::from(self.presence_mode[PresenceMode::Full as usize]);
        if receivers == 0 {
            self.updates.unsent.full = false;
            self.updates.unsent.joined_any = false;
            self.updates.again.clear();
            return;
        }
        if self.updates.again.is_empty() && self.updates.unsent.full {
            if !sending.can_pay(self.updates.budgets.again, sending.rates.again) {
                return;
            }
            self.updates.unsent.full = false;
            self.updates.again_joined_any = std::mem::take(&mut self.updates.unsent.joined_any);
            self.take_block();
            let frame = self.block_frame(self.again_name(), sending.seq);
            let price = cost(receivers, frame.len());
            if price <= sending.rates.at_once {
                self.updates.sent_version = self.version;
                self.updates.budgets.again.charge(&sending.rates.again, sending.now, price);
                self.broadcast(PresenceMode::Full, &frame, false, sending);
                // It is the first roster of all members that still wait for one.
                let waiting: Vec<SessionId> =
                    self.updates.waiting.iter().map(|w| w.session).collect();
                for session in waiting {
                    self.stop_waiting(session, PresenceMode::Full);
                }
                return;
            }
            self.updates.again = self.members_who(|member| {
                member.presence_mode == PresenceMode::Full && !member.is_waiting
            });
            sending.counters.roster_broadcasts += 1;
        }
        self.go_on_again(sending);
        if self.updates.again.is_empty() && self.updates.unsent.full {
            sending.come_back(sending.now.plus_ms(LANE_RETRY_MS));
        }
    }

    fn again_name(&self) -> &'static str {
        let joined_any = self.updates.again_joined_any || self.updates.unsent.joined_any;
        if joined_any { "room" } else { "roomout" }
    }

    fn go_on_again(&mut self, sending: &mut Sending<'_>) {
        let mut group = Group::default();
        while let Some(session) = self.updates.again.front().copied() {
            let is_receiver = self.members.get(&session).is_some_and(|member| {
                member.presence_mode == PresenceMode::Full && !member.is_waiting
            });
            let block = self.updates.block.as_ref();
            let has_it = block.is_some_and(|block| {
                self.updates.serials.get(&session).is_some_and(|given| *given == block.serial)
            });
            let is_newest = block.is_some_and(|block| block.version == self.version);
            if !is_receiver || has_it && is_newest {
                self.updates.again.pop_front();
                continue;
            }
            if !sending.can_pay(self.updates.budgets.again, sending.rates.again) {
                break;
            }
            let will_do = block.is_some_and(|block| {
                block.version >= self.updates.sent_version
                    && !block.is_worn(self.version)
                    && !has_it
            });
            if !will_do {
                sending.give(&mut group);
                self.take_block();
            }
            self.updates.again.pop_front();
            let len = self.add_to(&mut group, session, self.again_name(), sending);
            self.updates.budgets.again.charge(&sending.rates.again, sending.now, cost(1, len));
            sending.count(1, len, false);
        }
        sending.give(&mut group);
    }

    pub(super) fn send_first(&mut self, sending: &mut Sending<'_>) {
        let mut group = Group::default();
        while let Some(WaitingMember { session, serial, version }) = self.updates.waiting.front() {
            let (session, version) = (*session, *version);
            let is_latest = self.updates.serials.get(&session) == Some(serial);
            let member = self.members.get(&session).filter(|member| member.is_waiting && is_latest);
            // It has left, or asked again and has a later place in the queue.
            let Some(presence_mode) = member.map(|member| member.presence_mode) else {
                self.updates.waiting.pop_front();
                continue;
            };
            if !sending.can_pay(self.updates.budgets.first, sending.rates.first) {
                break;
            }
            let least = version.max(self.updates.sent_version);
            if self.updates.block.as_ref().is_none_or(|block| block.version < least) {
                sending.give(&mut group);
                self.take_block();
            }
            self.updates.waiting.pop_front();
            self.stop_waiting(session, presence_mode);
            self.updates.receivers += u32::from(presence_mode == PresenceMode::Delta);
            let len = self.add_to(&mut group, session, "room", sending);
            self.updates.budgets.first.charge(&sending.rates.first, sending.now, len as u64);
            sending.count(1, len, true);
        }
        sending.give(&mut group);
    }

    /// Adds a member to those who are given the block; returns the bytes of it.
    fn add_to(
        &mut self,
        group: &mut Group,
        session: SessionId,
        name: &'static str,
        sending: &mut Sending<'_>,
    ) -> usize {
        if group.sessions.is_empty() {
            group.frame = self.block_frame(name, sending.seq);
        }
        group.add(session);
        let block = self.updates.block.as_mut().expect("the caller took a block");
        block.uses += 1;
        self.updates.serials.insert(session, block.serial);
        group.frame.len()
    }
}
