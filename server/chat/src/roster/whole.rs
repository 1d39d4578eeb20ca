//! Whole rosters: sent again to members that had one, and sent to those that wait for their first.

use super::Roster;
use super::budgets::cost;
use super::turn::{Group, Turn};
use super::updates::Waiting;
use crate::ids::SessionId;
use crate::lane::PresenceMode;

impl Roster {
    pub(super) fn send_again(&mut self, turn: &mut Turn<'_>) {
        let receivers = u64::from(self.presence_mode[PresenceMode::Full as usize]);
        if receivers == 0 {
            self.updates.unsent.full = false;
            self.updates.unsent.joined_any = false;
            self.updates.again.clear();
            return;
        }
        if self.updates.again.is_empty() && self.updates.unsent.full {
            if !turn.can_pay(&self.updates.budgets.again) {
                return;
            }
            self.updates.unsent.full = false;
            self.updates.again_joined_any = std::mem::take(&mut self.updates.unsent.joined_any);
            self.take_block();
            let frame = self.block_frame(self.again_name(), turn.seq);
            let price = cost(receivers, frame.len());
            if price <= turn.rates.at_once {
                self.updates.sent_version = self.version;
                self.updates.budgets.again.spend(turn.now, price, turn.rates.again);
                self.broadcast(PresenceMode::Full, &frame, false, turn);
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
            turn.counters.roster_broadcasts += 1;
        }
        self.go_on_again(turn);
        if self.updates.again.is_empty() && self.updates.unsent.full {
            turn.come_back(turn.now.plus_ms(1));
        }
    }

    fn again_name(&self) -> &'static str {
        let joined_any = self.updates.again_joined_any || self.updates.unsent.joined_any;
        if joined_any { "room" } else { "roomout" }
    }

    fn go_on_again(&mut self, turn: &mut Turn<'_>) {
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
            if !turn.can_pay(&self.updates.budgets.again) {
                break;
            }
            let will_do = block.is_some_and(|block| {
                block.version >= self.updates.sent_version
                    && !block.is_worn(self.version)
                    && !has_it
            });
            if !will_do {
                turn.give(&mut group);
                self.take_block();
            }
            self.updates.again.pop_front();
            let len = self.add_to(&mut group, session, self.again_name(), turn);
            self.updates.budgets.again.spend(turn.now, cost(1, len), turn.rates.again);
            turn.count(1, len, false);
        }
        turn.give(&mut group);
    }

    pub(super) fn send_first(&mut self, turn: &mut Turn<'_>) {
        let mut group = Group::default();
        while let Some(Waiting { session, serial, version }) = self.updates.waiting.front() {
            let (session, version) = (*session, *version);
            let is_latest = self.updates.serials.get(&session) == Some(serial);
            let member = self.members.get(&session).filter(|member| member.is_waiting && is_latest);
            let Some(presence_mode) = member.map(|member| member.presence_mode) else {
                self.updates.waiting.pop_front();
                continue;
            };
            if !turn.can_pay(&self.updates.budgets.first) {
                break;
            }
            let least = version.max(self.updates.sent_version);
            if self.updates.block.as_ref().is_none_or(|block| block.version < least) {
                turn.give(&mut group);
                self.take_block();
            }
            self.updates.waiting.pop_front();
            self.stop_waiting(session, presence_mode);
            self.updates.receivers += u32::from(presence_mode == PresenceMode::Delta);
            let len = self.add_to(&mut group, session, "room", turn);
            self.updates.budgets.first.spend(turn.now, len as u64, turn.rates.first);
            turn.count(1, len, true);
        }
        turn.give(&mut group);
    }

    /// Adds a member to those who are given the block; returns the bytes of it.
    fn add_to(
        &mut self,
        group: &mut Group,
        session: SessionId,
        name: &'static str,
        turn: &mut Turn<'_>,
    ) -> usize {
        if group.sessions.is_empty() {
            group.frame = self.block_frame(name, turn.seq);
        }
        group.add(session);
        let block = self.updates.block.as_mut().expect("the caller took a block");
        block.uses += 1;
        self.updates.serials.insert(session, block.serial);
        group.frame.len()
    }
}
