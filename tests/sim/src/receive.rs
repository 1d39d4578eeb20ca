//! What a session receives, checked against what it may receive. Most safety rules are here.

use serde_json::Value;
use throng_codec::engine::{self, Packet};
use throng_codec::socket;

use crate::facts::{Entry, Facts, Outcome, Roster};
use crate::scenario::Mode;
use crate::session::{Answer, Kind, Op, Phase, Rebind, Session, Standing};

impl Session {
    fn fail(&self, facts: &mut Facts, checker: &'static str, text: String) {
        facts.fail(checker, format!("session {} of tab {}: {text}", self.number, self.tab));
    }

    /// One Engine.IO packet.
    pub fn receive(&mut self, text: &str, now: u64, facts: &mut Facts) {
        facts.trace.note(text.as_bytes());
        let number = self.number;
        facts.trace.line(|| format!("  s{number} <- {}", shorten(text)));
        if self.phase == Phase::Closed {
            return self.fail(facts, "closed-session", format!("{text} after the end"));
        }
        let packet = match engine::decode_text(text) {
            Ok(packet) => packet,
            Err(why) => return self.fail(facts, "well-formed", format!("{text}: {why}")),
        };
        let engine::Data::Text(data) = packet.data else { return };
        match packet.kind {
            engine::Kind::Open => self.opened(&data, now, facts),
            engine::Kind::Ping if self.protocol == engine::Protocol::Eio4 => {
                if self.holds_pongs {
                    self.pings_held += 1;
                } else {
                    self.send(Packet::text(engine::Kind::Pong, ""));
                }
            }
            engine::Kind::Pong if self.protocol == engine::Protocol::Eio3 => {}
            engine::Kind::Message => match socket::decode(&data) {
                Ok(packet) => self.socket_packet(&packet, facts),
                Err(why) => self.fail(facts, "well-formed", format!("{data}: {why}")),
            },
            engine::Kind::Close => self.close(),
            engine::Kind::Noop => {}
            _ => self.fail(facts, "well-formed", format!("unexpected packet {text}")),
        }
    }

    fn opened(&mut self, data: &str, now: u64, facts: &mut Facts) {
        let open: Value = serde_json::from_str(data).unwrap_or_default();
        let Some(sid) = open["sid"].as_str().filter(|_| self.sid.is_none()) else {
            return self.fail(facts, "well-formed", format!("open packet {data}"));
        };
        self.sid = Some(sid.to_owned());
        self.phase = Phase::Open;
        if self.protocol == engine::Protocol::Eio3 {
            self.ping_at = now + open["pingInterval"].as_u64().unwrap_or(0) * 1_000_000;
        }
    }

    fn socket_packet(&mut self, packet: &socket::Packet, facts: &mut Facts) {
        match packet.kind {
            socket::Kind::Connect => {
                self.is_connected = true;
                let count = self.connects.pop_front().unwrap_or(0);
                // What still waits for an answer may take effect after this.
                let is_settled = self.ops[..count]
                    .iter()
                    .all(|op| op.ack.is_none() || op.answer != Answer::Pending);
                for op in self.ops[..count].iter_mut().filter(|op| op.kind == Kind::Disconnect) {
                    if is_settled {
                        op.answer = Answer::Ok;
                    }
                }
            }
            _ if !self.is_connected && !self.ops.iter().any(|op| op.kind == Kind::Disconnect) => {
                self.fail(facts, "connect-first", format!("{packet:?} before CONNECT"));
            }
            socket::Kind::Event => {
                let Some((name, args)) = packet.as_event() else { return };
                self.event(name, args, facts);
            }
            socket::Kind::Ack => {
                let (Some(id), Some(body)) =
                    (packet.id, packet.data.as_ref().and_then(|d| d.get(0)))
                else {
                    return self.fail(facts, "well-formed", format!("{packet:?}"));
                };
                self.acked(id, body, facts);
            }
            _ => self.fail(facts, "well-formed", format!("unexpected {packet:?}")),
        }
    }

    // ---- acks ---------------------------------------------------------------------------------

    fn acked(&mut self, id: u64, body: &Value, facts: &mut Facts) {
        let Some(index) = self.acks.remove(&id).or_else(|| self.void_acks.remove(&id)) else {
            return self.fail(facts, "ack-once", format!("ack {id} is not awaited: {body}"));
        };
        let Some(is_ok) = body["ok"].as_bool() else {
            return self.fail(facts, "well-formed", format!("ack {body}"));
        };
        if !is_ok {
            return self.refused(index, body, facts);
        }
        let kind = self.ops[index].kind.clone();
        let room = self.ops[index].room;
        let before = self.standing(room, index);
        self.ops[index].answer = Answer::Ok;
        if let Rebind::To(user) = self.ops[index].rebind {
            // Acks may come in another order than the events took effect, and what was refused for
            // another reason than its token has changed whose session it is.
            let is_later = |op: &&Op| op.rebind != Rebind::No && !op.is_void();
            match self.ops[index + 1..].iter().rfind(is_later).map(|op| &op.answer) {
                None => self.user = Some(Some(user)),
                Some(Answer::Ok) => {}
                Some(Answer::Pending | Answer::Refused(_)) => self.user = None,
            }
            self.counts.clear();
        }
        let is_plain = self.ops[index].rebind == Rebind::No;
        // An identity acted, and only one can have.
        let is_revoked = self.ops.iter().any(|op| op.kind == Kind::Revoked);
        if self.user.is_none() && self.shown.len() == 1 && !is_revoked {
            self.user = Some(self.shown.first().copied());
        }
        let seq = body["seq"].as_u64();
        facts.tip(room, seq.unwrap_or(0));
        match kind {
            Kind::Login => {
                let user = body["user"]["id"].as_u64();
                if let Some(Some(known)) = self.user
                    && user != Some(u64::from(known))
                {
                    self.fail(facts, "identity", format!("login as {known} says {body}"));
                }
                self.counted(&body["count"]);
                facts.mark("login_acked");
            }
            Kind::Join(mode) => {
                facts.mark("join_acked");
                let is_strict = is_plain && !self.may_end_after(room, index);
                let before = if is_strict { before } else { Standing::Maybe };
                self.joined(room, mode, seq, before, facts);
            }
            Kind::Leave => {
                facts.mark("leave_acked");
                let may_end = self.may_end_after(room, index);
                // It has read the room, unless it is not known to have been a member.
                match before {
                    Standing::In => {
                        self.counts.entry(room).and_modify(|count| *count = 0);
                    }
                    Standing::Maybe => {
                        self.counts.remove(&room);
                    }
                    Standing::Out => {}
                }
                let view = self.view(room);
                let last = view.last;
                let is_strict = before == Standing::In && is_plain && !view.is_loose && !may_end;
                view.roster = None;
                view.mode = None;
                if is_strict && last != seq {
                    let text =
                        format!("left room {room} at {seq:?} having received up to {last:?}");
                    self.fail(facts, "gapless", text);
                }
            }
            Kind::Publish(tag) | Kind::Repeat(tag) => {
                let (Some(seq), Some(id)) = (seq, body["id"].as_i64()) else {
                    return self.fail(facts, "well-formed", format!("ack {body}"));
                };
                let is_repeat = matches!(self.ops[index].kind, Kind::Repeat(_));
                facts.mark(if is_repeat { "repeat_acked" } else { "publish_acked" });
                facts.publishes[tag].outcome = Outcome::Accepted { seq, id };
                facts.numbered(room, seq, Entry { id, tag });
                if before == Standing::Out && is_plain {
                    self.fail(facts, "membership", format!("#{tag} accepted from outside {room}"));
                }
            }
            Kind::Disconnect | Kind::Revoked => {}
            Kind::Invalid(_) => self.fail(facts, "acks", format!("nonsense accepted: {body}")),
        }
    }

    /// Something asked later may have ended the membership at the edge before this answer came.
    fn may_end_after(&self, room: u32, index: usize) -> bool {
        self.ops[index + 1..].iter().any(|op| match op.kind {
            Kind::Join(_) => (self.is_exclusive && op.room != room) || op.rebind != Rebind::No,
            Kind::Disconnect | Kind::Revoked => true,
            _ => op.rebind != Rebind::No,
        })
    }

    fn refused(&mut self, index: usize, body: &Value, facts: &mut Facts) {
        let Some(code) = body["code"].as_str() else {
            return self.fail(facts, "well-formed", format!("ack {body}"));
        };
        self.ops[index].answer = Answer::Refused(code.to_owned());
        let is_doubtful = code == "unknown_outcome"
            || facts.is_unavailable_doubtful && code == "storage_unavailable";
        if let Kind::Publish(tag) = self.ops[index].kind
            && !(is_doubtful || facts.publishes[tag].is_repeated)
        {
            facts.publishes[tag].outcome = Outcome::Refused;
            if let Some(place) = facts.places.get(&tag).copied() {
                self.fail(
                    facts,
                    "refused-unheard",
                    format!("#{tag} refused ({code}) is {place:?}"),
                );
            }
        }
    }

    fn joined(
        &mut self,
        room: u32,
        mode: Mode,
        seq: Option<u64>,
        before: Standing,
        facts: &mut Facts,
    ) {
        let Some(seq) = seq else {
            return self.fail(facts, "well-formed", "a join's ack without seq".into());
        };
        let was_in = before == Standing::In;
        let has_quiet = self.has_quiet_join(room);
        let view = self.view(room);
        // Once in doubt, only a roster ends the doubt.
        let was_unsure = was_in && view.is_unsure && view.roster.is_none();
        view.is_unsure = before == Standing::Maybe || was_unsure;
        let last = view.last;
        let is_wrong = if was_in && !view.is_loose && !has_quiet {
            last != Some(seq)
        } else {
            last > Some(seq)
        };
        view.last = Some(seq);
        view.is_loose = false;
        if view.mode != Some(mode) || !was_in {
            view.roster = None;
        }
        view.mode = Some(mode);
        view.snapshots_owed += 1;
        // A member reads its room (UNR-4), and gets no unread number for it.
        if let Some(count) = self.counts.get_mut(&room) {
            *count = 0;
        }
        let view = self.view(room);
        if has_quiet {
            view.is_loose = true;
            view.is_unsure = true;
            view.mode = None;
        }
        if is_wrong {
            let text = format!("room {room} joined at {seq} after presence_mode {last:?}");
            self.fail(facts, "gapless", text);
        }
    }

    // ---- events -------------------------------------------------------------------------------

    fn event(&mut self, name: &str, args: &[Value], facts: &mut Facts) {
        match (name, args) {
            ("message", [body]) => self.message(body, facts),
            ("room" | "roomout", [roster, meta]) => self.roster(name, roster, meta, facts),
            ("presence", [body]) => self.presence(body, facts),
            ("count", [body]) => self.counted(body),
            ("login", [Value::String(_)]) => self.logged_out(),
            ("chat_error", [_]) => facts.mark("chat_error"),
            _ => self.fail(facts, "well-formed", format!("unexpected event {name} {args:?}")),
        }
    }

    /// The server says that the session has no identity (any more). Where among the requests that
    /// took effect is known only if none of them may have given it one again.
    fn logged_out(&mut self) {
        let is_pending = |op: &&Op| op.answer == Answer::Pending;
        let mut pending = self.ops.iter().filter(is_pending);
        let is_revoked = self.ops.iter().any(|op| op.kind == Kind::Revoked);
        if is_revoked && !pending.any(|op| op.shows_token) {
            self.push(Kind::Revoked, Answer::Ok);
            self.user = Some(None);
        }
        self.counts.clear();
    }

    fn message(&mut self, body: &Value, facts: &mut Facts) {
        facts.received += 1;
        self.received += 1;
        let room = body["roomid"].as_u64().unwrap_or(0) as u32;
        let tag = body["msg"]
            .as_str()
            .and_then(|text| text.strip_prefix('#')?.split(' ').next()?.parse().ok());
        let (Some(seq), Some(id), Some(tag)) = (body["seq"].as_u64(), body["id"].as_i64(), tag)
        else {
            return self.fail(facts, "well-formed", format!("message {body}"));
        };
        facts.numbered(room, seq, Entry { id, tag });
        if facts.publishes.get(tag).is_some_and(|publish| publish.outcome == Outcome::Refused) {
            return self.fail(facts, "refused-unheard", format!("#{tag} was refused: {body}"));
        }
        if self.standing(room, self.ops.len()) == Standing::Out {
            return self.fail(facts, "membership", format!("outside of the room: {body}"));
        }
        if let Some(Some(user)) = self.user {
            let mail = body["userid"].as_str().filter(|name| name.contains('@'));
            if mail.is_some_and(|mail| mail != format!("user{user}@example.com"))
                && !self.ops.iter().any(|op| op.rebind != Rebind::No)
            {
                return self.fail(facts, "no-mail", format!("another user's e-mail: {body}"));
            }
        }
        let view = self.view(room);
        let last = view.last;
        view.last = Some(seq);
        let is_next = match last {
            Some(last) if view.is_loose => seq > last,
            Some(last) => seq == last + 1,
            None => view.is_loose,
        };
        if !is_next {
            let text = format!("message {seq} of room {room} after {last:?}");
            self.fail(facts, "gapless", text);
        }
    }

    fn roster(&mut self, name: &str, roster: &Value, meta: &Value, facts: &mut Facts) {
        let (Some(entries), Some(room)) = (roster.as_object(), meta["room"].as_u64()) else {
            return self.fail(facts, "well-formed", format!("{name} {roster} {meta}"));
        };
        let room = room as u32;
        let roster: Roster = entries
            .iter()
            .filter_map(|(user, entry)| Some((user.parse().ok()?, entry.to_string())))
            .collect();
        let is_leaving = self.has_pending(room, |kind| *kind == Kind::Leave);
        let is_last_roster = is_leaving && name == "roomout" && roster.is_empty();
        if !self.meta(room, meta, facts) {
            return;
        }
        if is_last_roster {
            return;
        }
        let version = meta["version"].as_u64().unwrap_or(0);
        if roster.len() as u64 != meta["online"].as_u64().unwrap_or(u64::MAX) {
            let text = format!("room {room}: {} in the roster of {meta}", roster.len());
            return self.fail(facts, "online", text);
        }
        facts.roster(room, self.place << 40 | version, &roster);
        let is_moving = is_leaving || self.has_pending(room, |k| matches!(k, Kind::Join(_)));
        let view = self.view(room);
        let is_asked = view.snapshots_owed > 0 || is_leaving || is_moving;
        let is_fit = match view.mode {
            Some(Mode::Delta) => view.roster.is_none() || is_asked,
            Some(Mode::Count) => is_asked,
            Some(Mode::Full) | None => true,
        };
        view.snapshots_owed = view.snapshots_owed.saturating_sub(1);
        view.roster = Some(roster);
        let mode = view.mode;
        if !is_fit {
            let text = format!("room {room}: a whole roster in mode {mode:?}: {meta}");
            self.fail(facts, "mode", text);
        }
    }

    /// Checks what accompanies every roster event; false if it is not for this session.
    fn meta(&mut self, room: u32, meta: &Value, facts: &mut Facts) -> bool {
        let standing = self.standing(room, self.ops.len());
        let is_leaving = self.has_pending(room, |kind| *kind == Kind::Leave);
        if standing == Standing::Out && !is_leaving {
            self.fail(facts, "membership", format!("a roster from outside: {meta}"));
            return false;
        }
        let (Some(seq), Some(version), Some(online)) =
            (meta["seq"].as_u64(), meta["version"].as_u64(), meta["online"].as_u64())
        else {
            self.fail(facts, "well-formed", format!("meta {meta}"));
            return false;
        };
        facts.tip(room, seq);
        let view = self.view(room);
        let (last, known) = (view.last, view.version);
        let is_strict = standing == Standing::In && !view.is_loose;
        view.version = version;
        view.online = online;
        if version < known {
            self.fail(facts, "version", format!("room {room} falls from {known}: {meta}"));
        }
        if is_strict && last != Some(seq) {
            let text = format!("roster at {seq} of room {room} having received {last:?}");
            self.fail(facts, "gapless", text);
        }
        true
    }

    fn presence(&mut self, body: &Value, facts: &mut Facts) {
        let Some(room) = body["room"].as_u64() else {
            return self.fail(facts, "well-formed", format!("presence {body}"));
        };
        let room = room as u32;
        if !self.meta(room, body, facts) {
            return;
        }
        let is_moving = self.has_pending(room, |kind| matches!(kind, Kind::Join(_) | Kind::Leave));
        let version = body["version"].as_u64().unwrap_or(0);
        let online = body["online"].as_u64().unwrap_or(0);
        let view = self.view(room);
        let mode = if body.get("joined").is_some() { Mode::Delta } else { Mode::Count };
        if mode == Mode::Count {
            view.snapshots_owed = view.snapshots_owed.saturating_sub(1);
        }
        if view.mode.is_some_and(|asked| asked != mode) && !is_moving {
            let mode = view.mode;
            return self.fail(facts, "mode", format!("{body} in mode {mode:?}"));
        }
        if mode == Mode::Count || view.mode.is_none() {
            return;
        }
        let is_unsure = view.is_unsure;
        let Some(roster) = &mut view.roster else {
            if is_unsure {
                return;
            }
            return self.fail(facts, "delta", format!("a change before the snapshot: {body}"));
        };
        for user in body["left"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
            roster.remove(&(user as u32));
        }
        for entry in body["joined"].as_array().into_iter().flatten() {
            roster.insert(entry["id"].as_u64().unwrap_or(0) as u32, entry.to_string());
        }
        let roster = roster.clone();
        if roster.len() as u64 != online {
            let text = format!("room {room}: changes give {:?}, not {body}", roster.keys());
            return self.fail(facts, "delta", text);
        }
        facts.mark("delta_applied");
        facts.roster(room, self.place << 40 | version, &roster);
    }

    fn counted(&mut self, body: &Value) {
        for (name, count) in body.as_object().into_iter().flatten() {
            if let (Some(room), Some(count)) =
                (name.strip_prefix("room").and_then(|id| id.parse().ok()), count.as_u64())
            {
                self.counts.insert(room, count);
            }
        }
    }
}

fn shorten(text: &str) -> String {
    if text.len() <= 300 { text.to_owned() } else { text.chars().take(300).collect() }
}
