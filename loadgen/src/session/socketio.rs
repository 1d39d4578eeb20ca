//! Socket.IO's packets: acks, and the events of Throng or of a server whose names a file gives.

use std::sync::atomic::Ordering;

use memchr::memmem;

use super::membership::Membership;
use super::text::{code_of, leading_number, number_after_last, text_after};
use super::turn::Turn;
use super::{Session, State};
use crate::dialect::{Dialect, Rooms, name_of};
use crate::ended::Ended;
use crate::shared::Shared;
use crate::stamp::MAGIC;

/// One in so many messages of each client is compared with the whole of `heard`, the first one among them.
const HEARD_EVERY: u32 = 16;

impl Session {
    #[cold]
    pub(super) fn packet(&mut self, turn: &mut Turn<'_>, payload: &[u8]) -> Result<(), Ended> {
        match payload {
            [b'4', b'2', rest @ ..] => match &turn.shared.dialect {
                Dialect::Rooms(rooms) => self.named_event(turn, rooms, rest),
                _ => self.event(turn, rest),
            },
            [b'4', b'3', rest @ ..] => return self.ack(turn, rest),
            [b'2', ..] => self.send_text(b"3"),
            b"3probe" if self.state == State::ExpectProbe => self.probed(turn),
            [b'3', ..] => {}
            [b'0', rest @ ..] if self.state == State::ExpectOpen => self.opened(turn, rest),
            [b'4', b'0', rest @ ..] if self.state <= State::ExpectConnect => {
                let member = text_after(rest, b"\"sid\":\"");
                if !member.is_empty() {
                    self.member = member;
                }
                self.connected(turn);
            }
            [b'4', b'4', rest @ ..] => {
                let reason = String::from_utf8_lossy(&rest[..rest.len().min(80)]).into_owned();
                return Err(Ended::Refused(format!("connect {reason}")));
            }
            [b'4', b'1', ..] | [b'1', ..] => return Err(Ended::EngineClose),
            [b'6', ..] => {}
            _ => turn.local.stats.error("unexpected packet"),
        }
        Ok(())
    }

    fn ack(&mut self, turn: &mut Turn<'_>, payload: &[u8]) -> Result<(), Ended> {
        let (id, answer) = leading_number(payload);
        let Some(pending) = id.and_then(|id| self.requests.take(id)) else {
            turn.local.stats.error("unexpected ack");
            return Ok(());
        };
        let is_refused = match &turn.shared.dialect {
            Dialect::Rooms(rooms) => rooms.is_refusal(answer),
            _ => memmem::find(answer, b"\"ok\":false").is_some(),
        };
        self.answered(turn, &pending, is_refused.then(|| code_of(answer)))
    }

    fn event(&mut self, turn: &mut Turn<'_>, payload: &[u8]) {
        let starts = |name: &[u8]| payload.starts_with(name);
        if starts(b"[\"room\"") || starts(b"[\"roomout\"") || starts(b"[\"presence\"") {
            let counters = &mut turn.local.stats.counters;
            counters.rosters += 1;
            counters.roster_bytes_max = counters.roster_bytes_max.max(payload.len() as u64);
            self.roster(turn.now_ns, turn.shared, payload);
        } else if starts(b"[\"chat_error\"") {
            let code = code_of(payload);
            turn.local.stats.error(&format!("chat_error {code}"));
        } else if starts(b"[\"login\"") {
            turn.local.stats.error("login demanded");
        } else if memmem::find(payload, MAGIC).is_some() {
            // A message under another event name, or with white space: still a delivery.
            self.delivery(turn, payload);
        }
    }

    /// An event of a server whose names a file gives. Now and then a message is compared with the whole template:
    /// of the others, which may be very many, only the name.
    fn named_event(&mut self, turn: &mut Turn<'_>, rooms: &Rooms, event: &[u8]) {
        if memmem::find(event, MAGIC).is_some() {
            let name = name_of(event).unwrap_or_default();
            let is_due = self.heard_count.is_multiple_of(HEARD_EVERY);
            self.heard_count = self.heard_count.wrapping_add(1);
            if is_due || name.as_bytes() != self.heard {
                let Some((_, stamp)) = turn.local.locator.find(event) else {
                    turn.local.count_illegible(event);
                    return;
                };
                if stamp.run != turn.shared.run {
                    turn.local.stats.counters.foreign += 1;
                    return;
                }
                let rooms_of_run = turn.shared.room_numbers.len();
                let room = Some(stamp.room).filter(|room| usize::from(*room) < rooms_of_run);
                let room = room.map(|room| turn.shared.room_name(room)).unwrap_or_default();
                let mark = std::str::from_utf8(MAGIC).unwrap_or_default();
                if !rooms.is_heard(event, &room, mark) {
                    turn.local.stats.error("an event with a text of ours does not fit `heard`");
                    return;
                }
                self.heard = name.as_bytes().to_vec();
            }
            self.delivery(turn, event);
        } else if name_of(event).is_some_and(|name| rooms.is_roster(name)) {
            let counters = &mut turn.local.stats.counters;
            counters.rosters += 1;
            counters.roster_bytes_max = counters.roster_bytes_max.max(event.len() as u64);
            turn.shared.has_rosters.store(true, Ordering::Relaxed);
            match self.memberships.as_mut_slice() {
                [only] => only.keep_roster(event, turn.now_ns),
                all => {
                    for membership in all {
                        let room = turn.shared.room_name(membership.room);
                        if let Some(members) = rooms.members(event, &room) {
                            membership.roster(members, turn.now_ns, turn.shared);
                        }
                    }
                }
            }
        }
    }

    /// Reads the rosters that were kept.
    pub(super) fn read_rosters(&mut self, shared: &Shared) {
        let Dialect::Rooms(rooms) = &shared.dialect else { return };
        for membership in &mut self.memberships {
            let Some((event, came_ns)) = membership.take_roster() else { continue };
            if let Some(members) = rooms.members(&event, &shared.room_name(membership.room)) {
                membership.roster(members, came_ns, shared);
            }
        }
    }

    /// Only the numbers of the second argument are read: a roster of thousands is not parsed.
    fn roster(&mut self, now_ns: u64, shared: &Shared, payload: &[u8]) {
        let Some(online) = number_after_last(payload, b"\"online\":") else { return };
        let Some(room) = number_after_last(payload, b"\"room\":") else { return };
        let is_it = |m: &&mut Membership| m.room_number(shared) == room;
        if let Some(membership) = self.memberships.iter_mut().find(is_it) {
            membership.roster(online, now_ns, shared);
        }
    }
}
