//! Identity, `login`, `room`, `roomout`.

use std::time::Instant;

use serde_json::{Value, json};
use throng_codec::engine::Protocol;

use crate::defect::Defect;
use crate::packets::round_24;
use crate::rate::Allowance;
use crate::world::{Mode, ROOM_ID_MAX, Room, World};

pub const LOGIN_TEXT: &str = "Login to enter chat room";
const ROOMS_MAX: usize = 5_000;

/// Why an event was refused: code and text.
pub type Refusal = (&'static str, &'static str);
/// Acts on an event of a session: its id, its user, the argument, the ack id.
type Act = fn(&mut World, &str, u64, &Value, Option<u64>) -> Result<(), Refusal>;

/// The events of a client.
fn act(name: &str) -> Option<Act> {
    Some(match name {
        "login" => World::login,
        "room" => World::join,
        "roomout" => World::roomout,
        "message" => World::message,
        _ => return None,
    })
}

impl World {
    /// Binds the identity of a token; `false` if it is invalid.
    pub fn take_token(&mut self, sid: &str, token: &str) -> bool {
        let Some(&user) = self.tokens.get(token) else {
            return false;
        };
        let old = self.user_of(sid);
        if old.is_some_and(|old| old != user) || old.is_some() && self.has(Defect::SameUserLeaves) {
            self.leave_all(sid);
        }
        if let Some(session) = self.sessions.get_mut(sid) {
            session.user = Some(user);
            session.token = Some(token.to_owned());
        }
        true
    }

    /// Takes the event from the user's rate, if there is one (LIM-20, LIM-21).
    fn allow(&mut self, sid: &str, user: u64, name: &str) -> Result<(), Refusal> {
        let (name, rate) = match name {
            "message" => ("message", self.options.limits.messages),
            "room" => ("room", self.options.limits.joins),
            _ => return Ok(()),
        };
        let Some(rate) = rate else { return Ok(()) };
        let user = if self.has(Defect::RateOfServer) { 0 } else { user };
        let user = if self.has(Defect::RatePerSession) { self.session_number(sid) } else { user };
        let allowance = self.allowances.entry((user, name));
        let allowance = allowance.or_insert_with(|| Allowance::whole(rate));
        allowance.take(rate).map_err(|_| ("rate_limited", "Too many events"))
    }

    /// One event of a client, as a rule lets it pass.
    pub fn event(&mut self, sid: &str, name: &str, arg: Option<&Value>, id: Option<u64>) {
        let mut arg = arg.cloned();
        if self.waits(sid, name, &arg, id) {
            return;
        }
        let rule = self.options.rule.clone();
        let times = rule.map_or(1, |rule| rule.event(name, &mut arg));
        name.clone_into(&mut self.acting);
        for _ in 0..times {
            self.act(sid, name, arg.clone(), id);
        }
        if let Some((name, arg, id)) = self.after.take() {
            name.clone_into(&mut self.acting);
            self.act(sid, &name, arg, id);
        }
    }

    /// In the order of ERR-10 and ERR-11.
    fn act(&mut self, sid: &str, name: &str, arg: Option<Value>, id: Option<u64>) {
        if id.is_none() && self.has(Defect::AckWithoutId) {
            self.ack(sid, 0, json!({ "ok": true }));
        }
        let anonymous = self.user_of(sid).is_none();
        if self.has(Defect::IdentityBeforeEvent) && anonymous && act(name).is_none() {
            return self.refuse(sid, name, id, "unauthenticated", LOGIN_TEXT);
        }
        if self.has(Defect::LoginNeeded)
            && let Some(session) = self.sessions.get_mut(sid)
        {
            session.logged_in |= name == "login";
            if !session.logged_in {
                return self.refuse(sid, name, id, "unauthenticated", LOGIN_TEXT);
            }
        }
        let arg = match self.has(Defect::AnyArgument) {
            true => arg.filter(Value::is_object),
            false => arg,
        };
        let Some(act) = act(name) else {
            return self.refuse(sid, name, id, "unknown_event", "There is no such event");
        };
        let Some(data) = arg.or_else(|| Some(json!({}))).filter(Value::is_object) else {
            return self.refuse(sid, name, id, "invalid_argument", "One object is needed");
        };
        if self.has(Defect::ArgumentBeforeIdentity)
            && name != "login"
            && room_id(&data["roomid"]).is_err()
        {
            return self.refuse(sid, name, id, "invalid_argument", "roomid is not a room");
        }
        let Some(user) = self.identity(sid, &data["api_token"]) else {
            return match id {
                Some(_) => self.refuse(sid, name, id, "unauthenticated", LOGIN_TEXT),
                None => self.emit(sid, "login", &[Value::from(LOGIN_TEXT)]),
            };
        };
        let is_free = self.has(Defect::RefusedFree)
            && !self.is_member(sid, room_id(&data["roomid"]).unwrap_or(0));
        let allowed = if is_free { Ok(()) } else { self.allow(sid, user, name) };
        if let Err((code, message)) = allowed.and_then(|()| act(self, sid, user, &data, id)) {
            self.refuse(sid, name, id, code, message);
        }
    }

    fn identity(&mut self, sid: &str, token: &Value) -> Option<u64> {
        let current = self.sessions.get(sid)?.user;
        let first = (!self.users.is_empty()).then_some(1);
        if current.is_none()
            && self.has(Defect::AnonymousActs)
            && let Some(session) = self.sessions.get_mut(sid)
        {
            session.user = first;
        }
        let current = self.sessions.get(sid)?.user;
        match token {
            Value::Null | Value::Bool(false) if self.has(Defect::TokenlessRefused) => None,
            Value::Null | Value::Bool(false) => current,
            Value::String(token) if token.is_empty() => current,
            Value::String(token) => {
                if self.has(Defect::OldIdentityWins) && current.is_some() {
                    return self.tokens.contains_key(token).then_some(current?);
                }
                if self.take_token(sid, token) {
                    self.sessions.get(sid)?.user
                } else if self.has(Defect::InvalidTokenActs) {
                    current
                } else {
                    None
                }
            }
            Value::Number(_) if self.has(Defect::NonStringToken) => Some(1),
            _ => None,
        }
    }

    fn login(
        &mut self,
        sid: &str,
        user: u64,
        _data: &Value,
        id: Option<u64>,
    ) -> Result<(), Refusal> {
        let mut count = self.count_of_all(user);
        if self.has(Defect::RoomsPerNode)
            && let Value::Object(rooms) = &mut count
        {
            let node = self.sessions.get(sid).map_or(0, |session| session.node);
            let others = self.room_nodes.iter().filter(|(_, made_at)| **made_at != node);
            for (room, _) in others {
                rooms.shift_remove(&format!("room{room}"));
            }
        }
        self.emit(sid, "count", std::slice::from_ref(&count));
        if let (Some(id), Some(user)) = (id, self.user(user)) {
            let user = json!({ "id": user.id, "name": user.name, "avatar": user.avatar });
            self.ack(sid, id, json!({ "ok": true, "user": user, "count": count }));
        }
        Ok(())
    }

    fn join(&mut self, sid: &str, user: u64, data: &Value, id: Option<u64>) -> Result<(), Refusal> {
        let room = self.room_of(data)?;
        let mode = match &data["presence"] {
            _ if self.has(Defect::PresenceUnchecked) && !data["presence"].is_string() => Mode::Full,
            Value::String(text)
                if self.has(Defect::PresenceUnchecked)
                    && !matches!(text.as_str(), "delta" | "count") =>
            {
                Mode::Full
            }
            Value::Null => Mode::Full,
            Value::String(text) if text == "full" => Mode::Full,
            Value::String(text) if text == "delta" => Mode::Delta,
            Value::String(text) if text == "count" => Mode::Count,
            _ => return Err(("invalid_argument", "presence is full, delta or count")),
        };
        if !self.rooms.contains_key(&room) {
            if self.rooms.len() >= ROOMS_MAX || !self.options.limits.creates_rooms {
                return Err(("unknown_room", "There is no such room"));
            }
            self.rooms.insert(room, Room::default());
            let node = self.sessions.get(sid).map_or(0, |session| session.node);
            self.room_nodes.insert(room, node);
        }
        let is_member = self.is_member(sid, room);
        let joined = self.rooms.values().filter(|room| room.members.contains_key(sid)).count();
        if !is_member && joined >= self.options.rooms_per_session_max {
            return Err(("room_limit", "No more rooms for this session"));
        }
        let legacy = self.sessions.get(sid).is_some_and(|s| s.protocol == Protocol::Eio3);
        let leaves_others = legacy && !self.has(Defect::LegacyKeepsOldRoom);
        let goes_on = self.has(Defect::OldRoomGoesOn);
        let mut left = Vec::new();
        if leaves_others || self.has(Defect::JoinLeavesOthers) {
            let others: Vec<u64> = self.rooms_of(sid).into_iter().filter(|&r| r != room).collect();
            for other in others {
                self.leave(sid, other, false);
                left.push(other);
            }
        }
        let was_present = self.is_present(user, room);
        let kept = self.rooms.get(&room).and_then(|room| room.members.get(sid)).copied();
        let mode = kept.filter(|_| self.has(Defect::ModeKept)).unwrap_or(mode);
        self.enter(sid, room, mode);
        self.answer_join(sid, room, mode);
        for other in left.into_iter().filter(|_| goes_on) {
            let (roster, meta) = (self.roster(other), self.meta(other));
            self.emit(sid, "roomout", &[roster, meta]);
        }
        if self.has(Defect::JoinIsNoMembership)
            && let Some(state) = self.rooms.get_mut(&room)
        {
            state.members.remove(sid);
        }
        let is_broadcast = !was_present || self.has(Defect::RepeatedJoinBroadcast);
        if is_broadcast {
            let except = (!self.has(Defect::ActorHearsBroadcast)).then_some(sid);
            self.broadcast_change(room, Some(sid), except, &[user], &[], was_present);
        }
        self.ack_standing(sid, room, id);
        self.entered(user, room, was_present);
        Ok(())
    }

    fn roomout(
        &mut self,
        sid: &str,
        _user: u64,
        data: &Value,
        id: Option<u64>,
    ) -> Result<(), Refusal> {
        let room = self.room_of(data)?;
        if !self.rooms.contains_key(&room) {
            return Err(("unknown_room", "There is no such room"));
        }
        if self.has(Defect::RoomoutKeepsMember) {
            let (roster, meta) = (self.roster(room), self.meta(room));
            self.emit(sid, "roomout", &[roster, meta]);
        } else if self.is_member(sid, room) {
            self.leave(sid, room, true);
        } else if id.is_none() {
            let meta = self.meta(room);
            self.emit(sid, "roomout", &[json!({}), meta]);
        }
        self.ack_standing(sid, room, id);
        Ok(())
    }

    fn ack_standing(&mut self, sid: &str, room: u64, id: Option<u64>) {
        if let Some(id) = id {
            let (online, seq) = (self.online(room), self.seq(room));
            self.ack(sid, id, json!({ "ok": true, "room": room, "online": online, "seq": seq }));
        }
    }

    pub fn rooms_of(&self, sid: &str) -> Vec<u64> {
        let is_in = |room: &Room| room.members.contains_key(sid);
        self.rooms.iter().filter(|(_, room)| is_in(room)).map(|(id, _)| *id).collect()
    }

    /// The room that an event names.
    pub fn room_of(&self, data: &Value) -> Result<u64, Refusal> {
        let value = &data["roomid"];
        if value.is_string() && self.has(Defect::TextRoomRefused) {
            return Err(("invalid_argument", "roomid is a number"));
        }
        let number = value.as_u64().filter(|id| *id > ROOM_ID_MAX);
        if let Some(id) = number.filter(|_| self.has(Defect::LongRoomIds)) {
            return Ok(id);
        }
        match room_id(value) {
            Ok(id) if self.has(Defect::RoomIdRounded) => Ok(round_24(id)),
            Err(_) if self.has(Defect::BadRoomIsOne) => Ok(1),
            answer => answer,
        }
    }

    /// Whether a defect keeps the event until the session's next one, which is handled first then.
    fn waits(&mut self, sid: &str, name: &str, arg: &Option<Value>, id: Option<u64>) -> bool {
        let delays_message = self.has(Defect::MessageWaits) && name == "message" && id.is_none();
        let delays_leave = self.has(Defect::RoomoutWaits) && name == "roomout";
        let Some(session) = self.sessions.get_mut(sid) else { return false };
        session.acted_at = Instant::now();
        if let Some(waited) = session.waiting.take() {
            self.after = Some(waited);
            return false;
        }
        session.events += 1;
        let is_turn = delays_leave || delays_message && session.events.is_multiple_of(7);
        if is_turn {
            session.waiting = Some((name.to_owned(), arg.clone(), id));
        }
        is_turn
    }

    /// A number of the session, for the defect that gives each a rate.
    fn session_number(&self, sid: &str) -> u64 {
        sid.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
    }

    /// Leaves every room because the session ended.
    pub fn leave_all_by_end(&mut self, sid: &str) {
        let user = self.user_of(sid);
        let marks: Vec<((u64, u64), Option<u64>)> = self
            .rooms_of(sid)
            .into_iter()
            .filter_map(|room| Some((user?, room)))
            .map(|key| (key, self.reads.get(&key).copied()))
            .collect();
        if self.has(Defect::QuietDisconnect) {
            for room in self.rooms_of(sid) {
                if let Some(state) = self.rooms.get_mut(&room) {
                    state.members.remove(sid);
                }
            }
            return;
        }
        self.leave_all(sid);
        if self.has(Defect::DisconnectReadsNothing) {
            for (key, mark) in marks {
                self.reads.insert(key, mark.unwrap_or(0));
            }
        }
    }

    /// Leaves every room, as `roomout` does but for the answer.
    pub fn leave_all(&mut self, sid: &str) {
        for room in self.rooms_of(sid) {
            self.leave(sid, room, false);
        }
    }
}

pub fn room_id(value: &Value) -> Result<u64, Refusal> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().ok()
        }
        _ => None,
    };
    match number {
        Some(id) if (1..=ROOM_ID_MAX).contains(&id) => Ok(id),
        _ => Err(("invalid_argument", "roomid is a positive integer of at most 9 digits")),
    }
}
