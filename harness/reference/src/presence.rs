//! Membership, rosters and their broadcast.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::defect::Defect;
use crate::world::{Mode, World, event};

impl World {
    pub fn present(&self, room: u64) -> BTreeSet<u64> {
        let Some(room) = self.rooms.get(&room) else {
            return BTreeSet::new();
        };
        let forgets = self.has(Defect::ForgottenAfterRest);
        let members = room.members.keys().filter(|sid| !forgets || !self.is_at_rest(sid));
        members.filter_map(|sid| self.identity_of_member(sid)).collect()
    }

    /// For the defect that keeps members whose session ended: they count as the last identity.
    fn identity_of_member(&self, sid: &str) -> Option<u64> {
        match self.sessions.get(sid) {
            Some(session) => session.user,
            None => self.last_identity.as_ref().map(|(user, _)| *user),
        }
    }

    pub fn is_present(&self, user: u64, room: u64) -> bool {
        self.present(room).contains(&user)
    }

    pub fn online(&self, room: u64) -> usize {
        if self.has(Defect::SecondTabCounted) {
            return self.rooms.get(&room).map_or(0, |room| room.members.len());
        }
        if self.has(Defect::CountedPerNode) {
            return self.present_per_node(room);
        }
        self.present(room).len()
    }

    fn present_per_node(&self, room: u64) -> usize {
        let members = self.rooms.get(&room).into_iter().flat_map(|room| room.members.keys());
        let sessions = members.filter_map(|sid| self.sessions.get(sid));
        sessions.map(|session| (session.user, session.node)).collect::<BTreeSet<_>>().len()
    }

    pub fn meta(&self, room: u64) -> Value {
        let (seq, version) = self.rooms.get(&room).map_or((0, 0), |room| (room.seq, room.version));
        let version = if self.has(Defect::VersionFalls) { version % 3 } else { version };
        json!({ "room": room, "seq": seq, "online": self.online(room), "version": version })
    }

    fn entry(&self, user: u64) -> Value {
        let Some(user) = self.user(user) else {
            return Value::Null;
        };
        let has_new_avatar = user.avatar.starts_with("/storage/");
        let is_unknown = has_new_avatar && self.has(Defect::AvatarUnknown);
        let name = if is_unknown { "" } else { &user.name };
        let mut entry =
            json!({ "id": user.id, "name": name, "avatar": user.avatar, "src": user.avatar });
        if self.has(Defect::LeakedToken) {
            let token = self.tokens.iter().find(|(_, owner)| **owner == user.id);
            entry["api_token"] = json!(token.map(|(token, _)| token));
        }
        entry
    }

    pub fn roster(&self, room: u64) -> Value {
        let mut present = self.present(room);
        if self.has(Defect::RosterShortAbove100) && present.len() > 100 {
            present.pop_last();
        }
        while present.len() > self.options.few && self.has(Defect::FourthEntryLost) {
            present.pop_last();
        }
        if present.is_empty() && self.has(Defect::EmptyRosterArray) {
            return json!([]);
        }
        let entries = present.iter().map(|&user| (user.to_string(), self.entry(user)));
        let mut roster = entries.collect::<Map<_, _>>();
        if self.has(Defect::EntryPerSession) {
            for user in present {
                let members =
                    self.rooms.get(&room).into_iter().flat_map(|room| room.members.keys());
                let sessions = members.filter(|sid| self.user_of(sid) == Some(user)).count();
                if sessions > 1 {
                    roster.insert(format!("{user}-2"), self.entry(user));
                }
            }
        }
        Value::Object(roster)
    }

    pub fn enter(&mut self, sid: &str, room: u64, mode: Mode) {
        if let Some(session) = self.sessions.get_mut(sid)
            && !session.joined.contains(&room)
        {
            session.joined.push(room);
        }
        let user = self.user_of(sid);
        self.keep_before(room);
        let was_present = user.is_some_and(|user| self.is_present(user, room));
        if let Some(room) = self.rooms.get_mut(&room) {
            room.members.insert(sid.to_owned(), mode);
            if !was_present {
                room.version += 1;
                room.joins += 1;
            }
        }
    }

    pub fn answer_join(&mut self, sid: &str, room: u64, mode: Mode) {
        let meta = self.meta(room);
        match mode {
            Mode::Count => self.emit(sid, "presence", &[meta]),
            Mode::Full | Mode::Delta => {
                let roster = self.roster(room);
                self.emit(sid, "room", &[roster, meta]);
            }
        }
        if self.has(Defect::ReplayOnJoin) {
            let last = self.rooms.get(&room).and_then(|room| room.messages.last().cloned());
            if let Some(message) = last {
                self.deliver(sid, room, &message);
            }
        }
    }

    /// Sends the members of a room, all but `except`, the users who joined or left by an action of
    /// `actor`.
    pub fn broadcast_change(
        &mut self,
        room: u64,
        actor: Option<&str>,
        except: Option<&str>,
        joined: &[u64],
        left: &[u64],
        repeated: bool,
    ) {
        let name = if joined.is_empty() { "roomout" } else { "room" };
        let joins = self.rooms.get(&room).map_or(0, |room| room.joins);
        if self.has(Defect::LostRosterUpdate) && !joined.is_empty() && joins.is_multiple_of(2) {
            return;
        }
        let meta = self.meta(room);
        let roster = self.roster(room);
        let mut delta = meta.clone();
        delta["joined"] = joined.iter().map(|&user| self.entry(user)).collect();
        delta["left"] = if self.has(Defect::DeltaWithoutLeft) { json!([]) } else { json!(left) };
        if self.has(Defect::LeftAndJoined) {
            delta["left"] = joined.iter().chain(left).copied().collect();
        }
        let full = event(name, &[roster, meta.clone()]);
        let delta = event("presence", &[delta]);
        let count = event("presence", &[meta]);
        let Some(members) = self.rooms.get(&room).map(|room| room.members.clone()) else {
            return;
        };
        if self.has(Defect::RosterToAll) {
            let others: Vec<String> =
                self.sessions.keys().filter(|sid| !members.contains_key(*sid)).cloned().collect();
            others.iter().for_each(|sid| self.send_encoded(sid, &full));
        }
        for (sid, mode) in members {
            let few = self.options.few as u64;
            if mode == Mode::Delta && self.has(Defect::FourthDeltaLost) {
                let Some(session) = self.sessions.get_mut(&sid) else { continue };
                session.deltas += 1;
                if session.deltas > few {
                    continue;
                }
            }
            if mode == Mode::Delta && self.has(Defect::DeltaGetsRosters) {
                self.send_encoded(&sid, &full);
            }
            let is_remote = actor.is_some_and(|actor| self.are_apart(actor, &sid));
            let is_lost = is_remote && !left.is_empty() && self.has(Defect::RemoteLeaveLost);
            if except == Some(sid.as_str()) || is_lost {
                continue;
            }
            match mode {
                Mode::Full => self.send_as(Some(&format!("broadcast:{name}")), &sid, &full),
                Mode::Delta if repeated => {}
                Mode::Delta => self.send_as(Some("broadcast:presence_delta"), &sid, &delta),
                Mode::Count => self.send_as(Some("broadcast:presence_count"), &sid, &count),
            }
        }
    }

    /// Keeps the roster before a change, for the defect that sends it later.
    fn keep_before(&mut self, room: u64) {
        if !self.has(Defect::RevertsAfterRest) {
            return;
        }
        let before = self.roster(room);
        if let Some(state) = self.rooms.get_mut(&room) {
            state.before = Some((before, Instant::now()));
        }
    }

    /// Sends rosters as they were before the last change, after a rest.
    pub fn revert_rosters(&mut self, now: Instant, after: Duration) {
        let mut due = Vec::new();
        for (id, room) in &mut self.rooms {
            if let Some((before, _)) = room.before.take_if(|(_, at)| now - *at > after) {
                due.push((*id, before, room.members.keys().cloned().collect::<Vec<_>>()));
            }
        }
        for (room, before, members) in due {
            let meta = self.meta(room);
            for sid in members {
                self.emit(&sid, "roomout", &[before.clone(), meta.clone()]);
            }
        }
    }

    /// Ends one membership; `answered` when the client requested it.
    pub fn leave(&mut self, sid: &str, room: u64, answered: bool) {
        let user = self.user_of(sid);
        let tabs_leave_too = self.has(Defect::TabCloseRemovesUser);
        let in_burst = self.has(Defect::LeaveLostInBurst);
        let sessions_of_user: Vec<String> = self
            .sessions
            .values()
            .filter(|session| session.user == user)
            .map(|session| session.sid.clone())
            .collect();
        let now = Instant::now();
        self.keep_before(room);
        let Some(state) = self.rooms.get_mut(&room) else {
            return;
        };
        state.members.remove(sid);
        if tabs_leave_too {
            state.members.retain(|member, _| !sessions_of_user.contains(member));
        }
        let burst = state.left_at.is_some_and(|at| now - at < Duration::from_millis(1));
        state.left_at = Some(now);
        let Some(user) = user else {
            return;
        };
        let still_present = self.is_present(user, room);
        if !still_present && let Some(state) = self.rooms.get_mut(&room) {
            state.version += 1;
        }
        self.left(user, room, still_present);
        if answered {
            let (roster, meta) = (self.roster(room), self.meta(room));
            self.emit(sid, "roomout", &[roster, meta]);
            self.deliver_late(sid, room);
        }
        if let Some(session) = self.sessions.get_mut(sid) {
            session.left_before.insert(room);
        }
        let lost = in_burst && burst;
        if !still_present && !lost {
            self.broadcast_change(room, Some(sid), None, &[], &[user], false);
        }
    }
}
