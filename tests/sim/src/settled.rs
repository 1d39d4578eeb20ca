//! The liveness phase: end all faults, add no work, and check the rules that hold once everything has
//! settled.

use std::collections::{BTreeMap, BTreeSet};

use throng_chat::{RoomId, Seq, UserId};
use throng_engine::PipeEnd;

use crate::facts::Outcome;
use crate::scenario::Mode;
use crate::session::{Answer, Kind, Phase, Rebind, Standing};
use crate::world::{HttpInput, World};

type Part = fn(&mut World);

/// Attempts of a client whose requests are refused for the moment.
const TRIES_MAX: usize = 60;

impl World {
    pub fn heal_and_check(&mut self) {
        self.facts.trace.line(|| "---- healing".to_owned());
        self.heal();
        let phases: [(&str, Part); 7] = [
            ("reconnect", World::reconnect),
            ("revoked", World::check_revoked),
            ("resync", World::resync),
            ("settled", World::check_settled),
            ("probe", World::probe),
            ("settled again", World::check_settled),
            ("all leave", World::all_leave),
        ];
        for (name, phase) in phases {
            if self.has_failed() {
                return;
            }
            self.facts.trace.line(|| format!("---- {name}"));
            phase(self);
        }
    }

    fn heal(&mut self) {
        for node in &mut self.nodes {
            node.stalled = 0;
        }
        self.store.data.is_down = false;
        self.store.is_slow = false;
        self.heal_backplane();
        for index in 0..self.sessions.len() {
            if self.sessions[index].is_live() {
                self.release_pongs(index);
                self.set_not_receiving(index, false);
            }
        }
        self.advance(self.scenario.settle_ms());
        for session in &mut self.sessions {
            if session.is_half_open {
                session.close();
            }
        }
    }

    fn live(&self) -> Vec<usize> {
        let current = self.tabs.iter().filter_map(|tab| tab.session);
        current.filter(|index| self.sessions[*index].is_live()).collect()
    }

    fn reconnect(&mut self) {
        let open = self.live().len() as u64;
        let names = [
            "sessions_ws_eio3",
            "sessions_ws_eio4",
            "sessions_polling_eio3",
            "sessions_polling_eio4",
        ];
        let gauge: u64 = names.iter().map(|name| self.counter(name)).sum();
        if gauge != open {
            let text = format!("{open} sessions are open and the gauges say {gauge}");
            return self.facts.fail("gauges", text);
        }
        for tab in 0..self.tabs.len() {
            let is_live = self.tabs[tab].session.is_some_and(|s| self.sessions[s].is_live());
            if !is_live && tab % 2 == 0 {
                self.connect(tab);
            }
        }
        self.advance(3_000);
    }

    /// A session that has only shown tokens revoked by now has no identity (CHAT-11).
    fn check_revoked(&mut self) {
        let mut asked = Vec::new();
        for index in self.live() {
            let session = &mut self.sessions[index];
            let is_anonymous = !session.tokens.is_empty()
                && session.tokens.iter().all(|token| self.revoked.contains(token));
            if is_anonymous && session.can_speak() && session.pending() == 0 {
                asked.push((index, session.ops.len()));
                session.ask(Kind::Login, 0, None, false, &mut self.facts);
            }
        }
        self.advance(1_000);
        for (index, op) in asked {
            self.facts.mark("revoked_checked");
            if self.sessions[index].ops[op].answer == Answer::Ok {
                let text = format!("session {index} acts for a token that was revoked");
                self.facts.fail("revoked", text);
            }
        }
    }

    /// Every client makes sure of who and where it is.
    fn resync(&mut self) {
        for _ in 0..TRIES_MAX {
            self.advance(250);
            if self.has_failed() || !self.resync_once() {
                break;
            }
        }
        // Time for delayed rosters, read marks and counts.
        self.advance(20_000);
        for index in self.live() {
            let session = &self.sessions[index];
            if session.pending() > 0 {
                let text = format!("session {index} still waits for {:?}", session.acks.values());
                return self.facts.fail("ack-once", text);
            }
            if !session.can_speak() || session.user.flatten().is_none() {
                let text = format!("session {index} could not make sure of its identity");
                return self.facts.fail("liveness", text);
            }
        }
    }

    /// True while a session is not sure.
    fn resync_once(&mut self) -> bool {
        let mut is_unsure = false;
        for index in self.live() {
            let tab = self.sessions[index].tab;
            let user = self.tabs[tab].profile.user;
            let token = self.tabs[tab].token.clone();
            let session = &mut self.sessions[index];
            if !session.is_connected || session.pending() > 0 {
                is_unsure = true;
                continue;
            }
            if session.user.flatten().is_none() {
                is_unsure = true;
                session.ask(Kind::Login, 0, Some((user, &token)), false, &mut self.facts);
                continue;
            }
            // What clients know of their unread numbers begins here.
            if !session
                .ops
                .iter()
                .rev()
                .take(40)
                .any(|op| op.kind == Kind::Login && op.answer == Answer::Ok)
            {
                is_unsure = true;
                session.ask(Kind::Login, 0, None, false, &mut self.facts);
                continue;
            }
            for room in 1..=self.scenario.rooms_named {
                let is_maybe = session.standing(room, session.ops.len()) == Standing::Maybe;
                let is_loose = session.views.get(&room).is_some_and(|view| view.is_loose);
                if is_maybe || (is_loose && session.is_in(room)) {
                    is_unsure = true;
                    session.ask(Kind::Leave, room, None, false, &mut self.facts);
                    break;
                }
            }
        }
        is_unsure
    }

    /// Users with a live member, per room.
    fn present(&self) -> BTreeMap<u32, BTreeSet<u32>> {
        let mut present: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for index in self.live() {
            let session = &self.sessions[index];
            for room in 1..=self.scenario.rooms_named {
                if session.is_in(room)
                    && let Some(Some(user)) = session.user
                {
                    present.entry(room).or_default().insert(user);
                }
            }
        }
        present
    }

    fn check_settled(&mut self) {
        self.check_lanes();
        let present = self.present();
        let none = BTreeSet::new();
        let mut members = 0;
        for index in self.live() {
            for room in 1..=self.scenario.rooms_named {
                if !self.sessions[index].is_in(room) {
                    continue;
                }
                members += 1;
                self.check_view(index, room, present.get(&room).unwrap_or(&none));
            }
            self.check_counts(index, &present);
        }
        let gauge = self.counter("members");
        if gauge != members {
            let text = format!("{members} memberships are live and homes know {gauge}");
            self.facts.fail("ghosts", text);
        }
        self.check_store();
        self.check_mirror();
        self.check_order();
        self.check_refusals();
    }

    fn check_lanes(&mut self) {
        let held = self.lanes.held();
        if held > 0 {
            return self
                .facts
                .fail("liveness", format!("lanes hold {held} items after everything has settled"));
        }
        let unanswered: u32 = self.nodes.iter().map(|node| node.unanswered).sum();
        if unanswered > 0 || !self.store.is_idle() {
            self.facts.fail("liveness", format!("{unanswered} commands have no answer"));
        }
        let stray = self.polls.iter().find(|(_, (session, kind))| {
            *kind == crate::world::PollKind::Post && self.sessions[*session].is_live()
        });
        if let Some((poll, (session, _))) = stray {
            let text = format!("POST {poll:?} of session {session} has no answer");
            self.facts.fail("answer-once", text);
        }
    }

    fn check_view(&mut self, index: usize, room: u32, present: &BTreeSet<u32>) {
        let last = self.facts.last_seq(room);
        let session = &mut self.sessions[index];
        let view = session.view(room).clone();
        if view.last != Some(last) {
            let text = format!(
                "session {index} received room {room} up to {:?}, its last is {last}",
                view.last
            );
            self.facts.fail("complete", text);
        }
        let users: Option<BTreeSet<u32>> = view.roster.map(|roster| roster.into_keys().collect());
        let is_right = match view.mode {
            Some(Mode::Count) => view.online == present.len() as u64,
            Some(Mode::Full | Mode::Delta) => users.as_ref() == Some(present),
            None => true,
        };
        if !is_right {
            let text = format!(
                "session {index} in mode {:?} sees {users:?} ({} online) in room {room}, there are {present:?}",
                view.mode, view.online
            );
            self.facts.fail("roster", text);
        }
    }

    /// UNR-2 for every number that the client has received.
    fn check_counts(&mut self, index: usize, present: &BTreeMap<u32, BTreeSet<u32>>) {
        if self.scenario.settings.ephemeral {
            return;
        }
        let session = &self.sessions[index];
        let Some(Some(user)) = session.user else { return };
        for room in 1..=self.scenario.rooms_named {
            let Some(known) = session.counts.get(&room).copied() else { continue };
            if session.is_in(room) {
                continue;
            }
            if self.users_in_doubt.contains(&user) {
                continue;
            }
            let is_reading = present.get(&room).is_some_and(|users| users.contains(&user));
            let store = &self.store.data;
            let mark = store.reads.get(&(UserId(user), RoomId(room))).copied().unwrap_or_default();
            let truth = if is_reading { 0 } else { store.last_seq(RoomId(room)).0 - mark.0 };
            if known != truth {
                let text = format!(
                    "session {index} of user {user} knows {known} unread in room {room}, it is {truth}"
                );
                return self.facts.fail("unread", text);
            }
        }
    }

    /// The store has what clients received, and nothing else.
    fn check_store(&mut self) {
        if self.scenario.settings.ephemeral {
            return;
        }
        for ((room, seq), entry) in &self.facts.log {
            let row = self.store.data.rows.get(&(RoomId(*room), Seq(*seq)));
            let is_same = row.is_some_and(|row| {
                row.id == entry.id && row.msg.split(' ').next() == Some(&format!("#{}", entry.tag))
            });
            if !is_same {
                let text = format!("message {seq} of room {room} is {entry:?}, stored {row:?}");
                return self.facts.fail("durable", text);
            }
        }
        let refused: BTreeSet<String> = self
            .facts
            .publishes
            .iter()
            .enumerate()
            .filter(|(_, publish)| publish.outcome == Outcome::Refused)
            .map(|(tag, _)| format!("#{tag}"))
            .collect();
        let mut stored = BTreeSet::new();
        for (place, row) in &self.store.data.rows {
            if !stored.insert(row.msg.split(' ').next()) {
                let text = format!("{} is stored at {place:?} as well", row.msg);
                return self.facts.fail("exactly-once", text);
            }
            if row.msg.split(' ').next().is_some_and(|tag| refused.contains(tag)) {
                let text = format!("{} was refused and is stored at {place:?}", row.msg);
                return self.facts.fail("durable", text);
            }
        }
    }

    /// Messages of one session to one room keep the order they were sent in (CHAT-62).
    fn check_order(&mut self) {
        let mut newest: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        let mut broken = None;
        for ((room, seq), entry) in &self.facts.log {
            let publish = &self.facts.publishes[entry.tag];
            // The place is that of whichever was stored first.
            if publish.is_repeated {
                continue;
            }
            // What was refused may have waited in Redis, and come after what was sent later (NODE-35).
            if self.facts.is_unavailable_doubtful && publish.outcome == Outcome::Unknown {
                continue;
            }
            let newest = newest.entry((publish.session, *room)).or_default();
            if entry.tag < *newest {
                broken = Some(format!("#{} at {seq} of room {room} after #{newest}", entry.tag));
            }
            *newest = entry.tag;
        }
        if let Some(text) = broken {
            self.facts.fail("sender-order", text);
        }
    }

    /// A member may not be refused as a stranger (CHAT-63).
    fn check_refusals(&mut self) {
        let mut broken = None;
        for session in &self.sessions {
            // Where a logout fell among the requests is not known.
            if session.ops.iter().any(|op| op.kind == Kind::Revoked) {
                continue;
            }
            for (index, op) in session.ops.iter().enumerate() {
                let Answer::Refused(code) = &op.answer else { continue };
                // A DISCONNECT behind it leaves at once, whatever waits (SIO-60).
                if session.ops[index..].iter().any(|op| op.kind == Kind::Disconnect) {
                    continue;
                }
                let is_stranger = matches!(&**code, "not_member" | "unknown_room");
                if is_stranger
                    && matches!(op.kind, Kind::Publish(_) | Kind::Repeat(_))
                    && session.standing(op.room, index) == Standing::In
                {
                    let number = session.number;
                    broken = Some(format!("member s{number} of room {}: {code}, {op:?}", op.room));
                }
            }
        }
        if let Some(text) = broken {
            self.facts.fail("events-in-order", text);
        }
    }

    /// One message in every room reaches exactly its members, and the books balance.
    fn probe(&mut self) {
        let delivered = self.counter("deliveries");
        let received = self.facts.received;
        for room in 1..=self.scenario.rooms_named {
            let Some(index) = self.live().into_iter().find(|s| self.sessions[*s].is_in(room))
            else {
                continue;
            };
            let tag = self.facts.publishes.len();
            for _ in 0..TRIES_MAX {
                self.sessions[index].publish(room, false, false, 0, &mut self.facts);
                self.advance(400);
                if self.has_failed() || self.is_accepted_since(tag) {
                    break;
                }
            }
            if !self.has_failed() && !self.is_accepted_since(tag) {
                let text = format!(
                    "session {index} cannot publish to room {room} after everything has settled"
                );
                self.facts.fail("liveness", text);
            }
        }
        self.advance(3_000);
        let delivered = self.counter("deliveries") - delivered;
        let received = self.facts.received - received;
        if delivered != received {
            let text = format!("{delivered} deliveries were counted and {received} received");
            self.facts.fail("books", text);
        }
    }

    fn is_accepted_since(&self, tag: usize) -> bool {
        let mut newer = self.facts.publishes[tag..].iter();
        newer.any(|publish| matches!(publish.outcome, Outcome::Accepted { .. }))
    }

    /// Everybody leaves, each in another way; nothing may remain.
    fn all_leave(&mut self) {
        // In some worlds the server stops under them.
        let is_stop = self.facts.publishes.len().is_multiple_of(4);
        if is_stop {
            for node in &mut self.nodes {
                node.http_inputs.push_back(HttpInput::Stop);
            }
        }
        let leavers = if is_stop { Vec::new() } else { self.live() };
        for (turn, index) in leavers.into_iter().enumerate() {
            match turn % 3 {
                0 => self.hang_up(index, PipeEnd::Eof),
                1 => self.hang_up(index, PipeEnd::Failed),
                _ => self.vanish(index),
            }
        }
        self.advance(self.scenario.settle_ms());
        if is_stop && let Some(index) = self.live().first() {
            let text = format!("the server has stopped and session {index} is open");
            return self.facts.fail("liveness", text);
        }
        for index in 0..self.sessions.len() {
            self.sessions[index].close();
        }
        let names = [
            "sessions_ws_eio3",
            "sessions_ws_eio4",
            "sessions_polling_eio3",
            "sessions_polling_eio4",
            "members",
            "users_on_shards",
        ];
        for name in names {
            let gauge = self.counter(name);
            if gauge != 0 {
                self.facts.fail("gauges", format!("all have left and {name} is {gauge}"));
            }
        }
        let marks = self.counter("joins") as i64 - self.counter("leaves") as i64;
        if marks != 0 {
            self.facts.fail("books", format!("{marks} more joins than leaves when all have left"));
        }
        self.check_lanes();
        self.check_mirror();
        for node in &mut self.nodes {
            node.http_inputs.push_back(HttpInput::Stop);
        }
        self.advance(100);
        for node in &mut self.nodes {
            let _ = node.shard.next_deadline();
        }
        let open = self.sessions.iter().filter(|session| session.phase != Phase::Closed).count();
        assert_eq!(open, 0);
        let unsure = self.sessions.iter().flat_map(|s| &s.ops).filter(|op| op.rebind != Rebind::No);
        if unsure.count() > 0 {
            self.facts.mark("identity_changed");
        }
    }
}
