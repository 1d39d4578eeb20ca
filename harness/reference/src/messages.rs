//! `message`: checks, numbering, delivery.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use throng_codec::engine::{Data, Packet};

use crate::chat::{Refusal, room_id};
use crate::defect::Defect;
use crate::files::{self, Folder};
use crate::packets::round_24;
use crate::world::{self, CidKey, Message, World};

const TIME_CHARS_MAX: usize = 64;
const CID_CHARS_MAX: usize = 64;
/// More sessions than the cases open that abuse nothing.
const CROWD: usize = 30;

/// A message that is not numbered yet: text, image and time, and the name to show if it is not the user's.
struct Draft {
    texts: [String; 3],
    cid: Option<String>,
    shown: Option<String>,
}

impl World {
    pub fn message(
        &mut self,
        sid: &str,
        user: u64,
        data: &Value,
        id: Option<u64>,
    ) -> Result<(), Refusal> {
        let member_first = self.has(Defect::MemberBeforeArgument)
            && room_id(&data["roomid"]).is_ok_and(|room| !self.is_member(sid, room));
        if member_first {
            return Err(("not_member", "Enter the room first"));
        }
        let room = self.room_of(data)?;
        let msg = self.text(&data["msg"])?;
        let img = self.text(&data["img"])?;
        let msg = if self.has(Defect::TrimsText) { msg.trim().to_owned() } else { msg };
        if id.is_none() && self.has(Defect::EqualUnackedLost) && self.repeats_text(sid, &msg) {
            return Ok(());
        }
        let cid = self.cid(data)?;
        let key = cid.as_ref().map(|cid| self.cid_key(sid, user, room, cid));
        let dropped = self.has(Defect::ZeroDropped) && msg == "0";
        if self.has(Defect::RepeatUnchecked)
            && let Some(first) = key.as_ref().and_then(|key| self.firsts.get(key)).cloned()
        {
            self.repeat(sid, room, &first, id);
            return Ok(());
        }
        let dropped = dropped || self.has(Defect::BlankIsEmpty) && msg.trim().is_empty();
        let is_let = self.has(Defect::EmptySent);
        if (msg.is_empty() || dropped) && img.is_empty() && !is_let {
            return Err(("invalid_argument", "msg and img are both empty"));
        }
        let Some(state) = self.rooms.get(&room) else {
            return Err(("unknown_room", "There is no such room"));
        };
        if !state.members.contains_key(sid) && !self.has(Defect::NoMembershipCheck) {
            if self.has(Defect::RefusalTakesSeq)
                && let Some(state) = self.rooms.get_mut(&room)
            {
                state.seq += 1;
            }
            if self.has(Defect::RefusalUsesCid)
                && let Some(key) = key
                && let Some(last) = self.rooms.get(&room).and_then(|room| room.messages.last())
            {
                self.firsts.insert(key, last.clone());
            }
            return Err(("not_member", "Enter the room first"));
        }
        if msg.chars().count() > self.options.message_chars_max {
            return Err(("too_large", "The text is too long"));
        }
        let img = self.image(img)?;
        let time = match &data["time"] {
            Value::String(time) if is_iso_date(time) || self.has(Defect::AnyTimeKept) => {
                time.clone()
            }
            _ => now_iso(),
        };
        let msg = if self.has(Defect::EscapesText) { msg.replace('<', "&lt;") } else { msg };
        let first = key.as_ref().and_then(|key| self.firsts.get(key)).cloned();
        if let Some(first) = first.filter(|_| !self.has(Defect::RepeatStoredAgain)) {
            self.repeat(sid, room, &first, id);
            return Ok(());
        }
        let shown = data["username"].as_str().or(data["name"].as_str());
        let shown = shown.filter(|_| self.has(Defect::ClientNameShown)).map(str::to_owned);
        let message = Draft { texts: [msg, img, time], cid, shown };
        let Some(message) = self.publish(sid, user, room, message, id) else {
            return Ok(());
        };
        if let Some(key) = key {
            self.firsts.insert(key, message);
        }
        Ok(())
    }

    fn cid(&self, data: &Value) -> Result<Option<String>, Refusal> {
        match data.get("cid") {
            None => Ok(None),
            Some(any) if self.has(Defect::CidUnchecked) => Ok(Some(any.to_string())),
            Some(Value::String(cid)) if cid.len() == 64 && self.has(Defect::LongCidRefused) => {
                Err(("invalid_argument", "cid is too long"))
            }
            Some(Value::String(cid)) if is_cid(cid) => Ok(Some(cid.clone())),
            Some(_) => Err(("invalid_argument", "cid is 1 to 64 printable ASCII characters")),
        }
    }

    fn cid_key(&self, sid: &str, user: u64, room: u64, cid: &str) -> CidKey {
        let node = self.sessions.get(sid).map(|session| session.node);
        CidKey {
            room: (!self.has(Defect::CidOfAnyRoom)).then_some(room),
            user: (!self.has(Defect::CidOfAnyUser)).then_some(user),
            session: self.has(Defect::CidPerSession).then(|| sid.to_owned()),
            node: node.filter(|_| self.has(Defect::CidPerNode)),
            cid: cid.to_owned(),
        }
    }

    fn repeat(&mut self, sid: &str, room: u64, first: &Message, id: Option<u64>) {
        if self.has(Defect::RepeatSentAgain) {
            let members = self.rooms.get(&room).map(|state| state.members.keys().cloned());
            for member in members.into_iter().flatten().collect::<Vec<_>>() {
                self.deliver(&member, room, first);
            }
        }
        if let Some(id) = id {
            self.ack(sid, id, json!({ "ok": true, "id": first.id, "seq": first.seq }));
        }
    }

    fn image(&mut self, img: String) -> Result<String, Refusal> {
        if self.has(Defect::AnyImageSent)
            || self.has(Defect::DataUrlSent) && img.starts_with("data:")
        {
            return Ok(img);
        }
        let is_plain = img.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"'&`\\".contains(&b));
        let is_loose = img.starts_with("/storage/")
            && !img.contains("..")
            && (self.has(Defect::MarkupInImages)
                || is_plain && self.has(Defect::EncodedImagePaths));
        if img.is_empty() || files::is_path(&img) || is_loose && img.chars().count() <= 512 {
            return Ok(img);
        }
        let bytes = files::decode_data_url(&img).ok_or(("image_invalid", "This is no image"))?;
        if bytes.len() > self.options.image_bytes_max {
            return Err(("too_large", "The image is too large"));
        }
        let stored = self.store_file(Folder::Messages, &bytes);
        stored.ok_or(("image_invalid", "This is no image"))
    }

    fn publish(
        &mut self,
        sid: &str,
        user: u64,
        room: u64,
        Draft { texts: [msg, img, time], cid, shown }: Draft,
        id: Option<u64>,
    ) -> Option<Message> {
        let (username, src) =
            self.user(user).map(|user| (user.name.clone(), user.avatar.clone()))?;
        let username = shown.unwrap_or(username);
        self.messages_made += 1;
        let to_all = self.has(Defect::DeliveredToAll);
        let (skips, wraps) = (self.has(Defect::SeqSkips), self.has(Defect::SeqWrapsAt64));
        let (is_seq, repeats) = (self.has(Defect::IdIsSeq), self.has(Defect::EqualSeqTwice));
        let made = self.messages_made;
        let is_rounded = self.has(Defect::MessageIdRounded);
        let state = self.rooms.get_mut(&room)?;
        let is_equal = state.messages.last().is_some_and(|last| last.msg == msg && !msg.is_empty());
        state.seq += u64::from(!(repeats && is_equal));
        state.seq += u64::from(skips && state.seq.is_multiple_of(5));
        state.seq = if wraps && state.seq > 64 { 1 } else { state.seq };
        let seq = state.seq;
        let message_id = match () {
            () if is_seq => seq,
            () if is_rounded => round_24(made),
            () => made,
        };
        let message = Message { id: message_id, seq, user, username, src, msg, img, time, cid };
        state.messages.push(message.clone());
        state.last_text_is_equal = is_equal;
        state.stored_at.push(Instant::now());
        let mut members: Vec<String> = state.members.keys().cloned().collect();
        if to_all {
            members = self.sessions.keys().cloned().collect();
        }
        for member in members {
            let is_remote = self.are_apart(sid, &member);
            self.deliver_with_defects(&member, room, &message, is_remote);
        }
        self.deliver_again(room, &message);
        if let Some(id) = id {
            let is_truncated = self.has(Defect::AckedIdTruncated);
            let message_id = if is_truncated { message.id & 0x7fff_ffff } else { message.id };
            self.ack(sid, id, json!({ "ok": true, "id": message_id, "seq": message.seq }));
        }
        self.published(sid, user, room);
        Some(message)
    }

    pub fn deliver(&mut self, sid: &str, room: u64, message: &Message) {
        let reader = self.user_of(sid);
        let event = self.message_json(room, message, reader);
        self.emit(sid, "message", &[event]);
    }

    fn deliver_with_defects(&mut self, sid: &str, room: u64, message: &Message, is_remote: bool) {
        if self.is_deaf(sid, room, message) {
            return;
        }
        let hit = |every: u64, deliveries: u64| deliveries.is_multiple_of(every);
        let Some(state) = self.rooms.get_mut(&room) else {
            return;
        };
        state.deliveries += 1;
        let deliveries = state.deliveries;
        let held_back = state.held_back.clone();
        if self.has(Defect::InvisibleAfterRejoin)
            && self.sessions.get(sid).is_some_and(|s| s.left_before.contains(&room))
        {
            return;
        }
        if self.has(Defect::DroppedForOne) && hit(13, deliveries) {
            return;
        }
        let is_crowded = self.sessions.len() > CROWD;
        if self.has(Defect::CrowdLosesMessages) && is_crowded && hit(5, deliveries) {
            return;
        }
        if self.has(Defect::RemoteMessageLost) && is_remote && hit(7, message.seq) {
            return;
        }
        let swaps = if self.has(Defect::RemoteOrderSwapped) {
            held_back.is_none() && is_remote && hit(3, message.seq)
        } else {
            hit(13, deliveries)
        };
        if self.has(Defect::SwappedForOne) || self.has(Defect::RemoteOrderSwapped) {
            let reader = self.user_of(sid);
            if let Some((owner, earlier)) = held_back
                && owner == sid
            {
                self.deliver(sid, room, message);
                self.emit(sid, "message", &earlier);
                if let Some(state) = self.rooms.get_mut(&room) {
                    state.held_back = None;
                }
                return;
            }
            if swaps {
                let event = self.message_json(room, message, reader);
                if let Some(state) = self.rooms.get_mut(&room) {
                    state.held_back = Some((sid.to_owned(), vec![event]));
                }
                return;
            }
        }
        self.deliver(sid, room, message);
        if self.has(Defect::DoubledForOne) && hit(13, deliveries) {
            self.deliver(sid, room, message);
        }
    }

    /// Whether a defect keeps a message from a member.
    fn is_deaf(&self, sid: &str, room: u64, message: &Message) -> bool {
        let Some(state) = self.rooms.get(&room) else { return false };
        let Some(session) = self.sessions.get(sid) else { return false };
        let of_user = |member: &&String| self.user_of(member) == session.user;
        let tab = state.members.keys().filter(of_user).position(|member| member == sid);
        let place = state.members.keys().position(|member| member == sid);
        let visit = session.joined.iter().position(|joined| *joined == room);
        let at = |place: Option<usize>, from: usize| place.is_some_and(|place| place >= from);
        let is_equal = state.last_text_is_equal;
        let text = format!("\"msg\":{}", Value::from(message.msg.as_str()));
        let waits = |packet: &Packet| match &packet.data {
            Data::Text(waiting) => waiting.contains(&text),
            Data::Binary(_) => false,
        };
        self.has(Defect::SecondTabDeaf) && at(tab, 1)
            || self.has(Defect::FourthTabDeaf) && at(tab, self.options.few)
            || self.has(Defect::FourthMemberDeaf) && at(place, self.options.few)
            || self.has(Defect::FourthRoomDeaf) && at(visit, self.options.few)
            || self.has(Defect::EqualTextLost) && is_equal && session.user != Some(message.user)
            || self.has(Defect::EqualQueuedLost) && session.pipe.lock().queue.iter().any(waits)
            || self.has(Defect::DeafAfterRest) && self.is_at_rest(sid)
    }

    /// Whether the session's last text was the same.
    fn repeats_text(&mut self, sid: &str, msg: &str) -> bool {
        let Some(session) = self.sessions.get_mut(sid) else { return false };
        let is_equal = session.last_text == msg;
        msg.clone_into(&mut session.last_text);
        is_equal
    }

    fn text(&self, value: &Value) -> Result<String, Refusal> {
        match value {
            Value::Null if self.has(Defect::NullRefused) => {
                Err(("invalid_argument", "msg and img are strings"))
            }
            Value::Number(number) if self.has(Defect::AnyTextShown) => Ok(number.to_string()),
            other => text(other),
        }
    }

    /// The defects that send a message once more, long after.
    fn deliver_again(&mut self, room: u64, message: &Message) {
        const LONG: Duration = Duration::from_millis(1_500);
        let Some(members) = self.rooms.get(&room).map(|state| &state.members) else { return };
        let sessions = self.sessions.iter().filter(|(sid, session)| {
            let is_member = members.contains_key(*sid);
            self.has(Defect::LateCopy) && is_member
                || self.has(Defect::LateLeak) && !is_member
                || self.has(Defect::LateForLeavers)
                    && !is_member
                    && session.left_before.contains(&room)
        });
        let readers: Vec<(String, Option<u64>)> =
            sessions.map(|(sid, session)| (sid.clone(), session.user)).collect();
        for (sid, reader) in readers {
            let event = self.message_json(room, message, reader);
            self.late.push((Instant::now() + LONG, sid, world::event("message", &[event])));
        }
    }

    /// The defect that sends a message of a room after the leave.
    pub fn deliver_late(&mut self, sid: &str, room: u64) {
        if !self.has(Defect::DeliveryAfterLeave) {
            return;
        }
        let last = self.rooms.get(&room).and_then(|room| room.messages.last().cloned());
        if let Some(message) = last {
            let event = self.message_json(room, &message, None);
            let at = Instant::now() + Duration::from_millis(1);
            self.late.push((at, sid.to_owned(), world::event("message", &[event])));
        }
    }

    pub fn message_json(&self, room: u64, message: &Message, reader: Option<u64>) -> Value {
        let own = reader == Some(message.user) || self.has(Defect::EmailToAll);
        let userid = match self.user(message.user) {
            Some(user) if own => user.email.clone(),
            _ => format!("u{}", message.user),
        };
        json!({
            "userid": userid,
            "username": message.username,
            "src": message.src,
            "msg": message.msg,
            "img": message.img,
            "roomid": room,
            "time": message.time,
            "id": self.shown_id(message.id),
            "seq": message.seq,
        })
    }

    fn shown_id(&self, id: u64) -> Value {
        if self.has(Defect::MessageIdSigned) { Value::from(id as u32 as i32) } else { id.into() }
    }
}

fn is_cid(text: &str) -> bool {
    (1..=CID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

fn text(value: &Value) -> Result<String, Refusal> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        _ => Err(("invalid_argument", "msg and img are strings")),
    }
}

/// `YYYY-MM-DDTHH:MM:SS`, a fraction or none, `Z` or an offset or none.
fn is_iso_date(text: &str) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    if bytes.len() < shape.len() || text.chars().count() > TIME_CHARS_MAX {
        return false;
    }
    let fits = shape.iter().zip(bytes).all(|(want, got)| match want {
        b'd' => got.is_ascii_digit(),
        b'T' => matches!(got, b'T' | b't' | b' '),
        other => other == got,
    });
    let number = |range: std::ops::Range<usize>| text[range].parse::<u32>().unwrap_or(99);
    let tail = &text[shape.len()..];
    let tail = match tail.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => tail,
    };
    let zone = tail.as_bytes();
    let zone_fits = matches!(zone, b"" | b"Z" | b"z")
        || zone.len() == 6 && matches!(zone[0], b'+' | b'-') && zone[3] == b':';
    fits && zone_fits
        && (1..=12).contains(&number(5..7))
        && (1..=31).contains(&number(8..10))
        && number(11..13) < 24
        && number(14..16) < 60
        && number(17..19) <= 60
}

/// The present as `YYYY-MM-DDTHH:MM:SS.mmmZ`.
pub fn now_iso() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
    let rest = seconds % 86_400;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Days since 1970-01-01 to a date; the algorithm is Howard Hinnant's.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
