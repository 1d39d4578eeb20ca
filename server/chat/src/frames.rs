//! The chat events as they go out: CHAT, PRES, UNR and ERR in bytes.

use std::fmt::Write as _;

use bytes::Bytes;
use throng_wire::{sio, ws};

use super::client_event::EventName;
use super::lane::Publish;
use super::refusal::{Refusal, Refused};
use crate::ids::{RoomId, Seq};
use crate::user::UserCard;

/// What accompanies every roster.
#[derive(Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) room: RoomId,
    pub(crate) seq: Seq,
    pub(crate) online: u32,
    pub(crate) version: u64,
}

impl Meta {
    fn json(&self) -> String {
        format!(
            r#"{{"room":{},"seq":{},"online":{},"version":{}}}"#,
            self.room.0, self.seq.0, self.online, self.version
        )
    }
}

fn event(name: &str, args: &[&str]) -> Bytes {
    let len = args.iter().map(|arg| arg.len() + 1).sum::<usize>() + name.len() + 8;
    let mut packet = String::with_capacity(ws::HEADER_ROOM + len);
    packet.extend([' '; ws::HEADER_ROOM]);
    sio::put_event(&mut packet, "/", None, name, args);
    ws::text_frame_in_place(packet)
}

/// An event of another program; `args` is its JSON array.
pub(crate) fn foreign(args: &str) -> Bytes {
    let mut packet = String::with_capacity(args.len() + 2);
    sio::put_event_array(&mut packet, args);
    ws::text_frame(&packet)
}

/// `room` or `roomout` with a roster (`{"1":{…},…}`).
pub(crate) fn roster(name: &str, roster_json: &str, meta: Meta) -> Bytes {
    event(name, &[roster_json, &meta.json()])
}

/// `presence` with who joined and left; `entries` and `left` are comma-separated JSON.
pub(crate) fn presence_delta(meta: Meta, entries: &str, left: &str) -> Bytes {
    let mut body = meta.json();
    body.pop();
    let _ = write!(body, r#","joined":[{entries}],"left":[{left}]}}"#);
    event("presence", &[&body])
}

pub(crate) fn presence_count(meta: Meta) -> Bytes {
    event("presence", &[&meta.json()])
}

/// One entry of a roster; it holds no secret and no e-mail (PRES).
pub(crate) fn entry(card: &UserCard) -> String {
    let mut out = String::with_capacity(64 + card.name.len() + 2 * card.avatar.len());
    let _ = write!(out, r#"{{"id":{},"name":"#, card.id.0);
    sio::put_json_str(&mut out, &card.name);
    for key in ["avatar", "src"] {
        let _ = write!(out, r#","{key}":"#);
        sio::put_json_str(&mut out, &card.avatar);
    }
    out.push('}');
    out
}

/// Appends the `message` event as a WebSocket frame.
pub(crate) fn put_message(
    frame: &mut Vec<u8>,
    scratch: &mut String,
    author: &UserCard,
    is_own: bool,
    publish: &Publish,
    (room, seq, id): (RoomId, Seq, i64),
) {
    scratch.clear();
    sio::begin_event(scratch, "message");
    scratch.push_str(r#"{"userid":"#);
    if is_own {
        sio::put_json_str(scratch, &author.email);
    } else {
        let _ = write!(scratch, r#""u{}""#, author.id.0);
    }
    for (key, value) in [
        ("username", &author.name),
        ("src", &author.avatar),
        ("msg", &publish.msg),
        ("img", &publish.img),
    ] {
        let _ = write!(scratch, r#","{key}":"#);
        sio::put_json_str(scratch, value);
    }
    let _ = write!(scratch, r#","roomid":{},"time":"#, room.0);
    sio::put_json_str(scratch, &publish.time);
    let _ = write!(scratch, r#","id":{id},"seq":{}}}"#, seq.0);
    sio::end_event(scratch);
    ws::put_header(frame, ws::OpCode::Data(ws::Data::Text), scratch.len());
    frame.extend_from_slice(scratch.as_bytes());
}

// ---- packets for one session ------------------------------------------------------------------

pub(crate) fn ack(id: u64, json: &str) -> String {
    let mut packet = String::with_capacity(json.len() + 16);
    sio::put_ack(&mut packet, "/", id, json);
    packet
}

pub(crate) fn ack_room(id: u64, room: RoomId, online: u32, seq: Seq) -> String {
    let json = format!(r#"{{"ok":true,"room":{},"online":{online},"seq":{}}}"#, room.0, seq.0);
    ack(id, &json)
}

pub(crate) fn ack_message(id: u64, message_id: i64, seq: Seq) -> String {
    ack(id, &format!(r#"{{"ok":true,"id":{message_id},"seq":{}}}"#, seq.0))
}

pub(crate) fn ack_login(id: u64, card: &UserCard, counts_json: &str) -> String {
    let mut json = format!(r#"{{"ok":true,"user":{{"id":{},"name":"#, card.id.0);
    sio::put_json_str(&mut json, &card.name);
    json.push_str(r#","avatar":"#);
    sio::put_json_str(&mut json, &card.avatar);
    let _ = write!(json, r#"}},"count":{counts_json}}}"#);
    ack(id, &json)
}

pub(crate) fn count(counts_json: &str) -> String {
    let mut packet = String::with_capacity(counts_json.len() + 16);
    sio::put_event(&mut packet, "/", None, "count", &[counts_json]);
    packet
}

pub(crate) fn ack_follow(id: u64, room: RoomId) -> String {
    ack(id, &format!(r#"{{"ok":true,"room":{}}}"#, room.0))
}

/// `{"sum":10}`
pub(crate) fn count_sum(sum: u64) -> String {
    format!(r#"{{"sum":{sum}}}"#)
}

/// `{"room1":3,"room7":0}`
pub(crate) fn counts(counts: impl Iterator<Item = (RoomId, u64)>) -> String {
    let mut json = String::from("{");
    for (index, (room, unread)) in counts.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(json, r#"{comma}"room{}":{unread}"#, room.0);
    }
    json.push('}');
    json
}

/// The answer to a refused event: its ack, or the event ERR names.
pub(crate) fn refusal(
    event: &EventName,
    refused: impl Into<Refused>,
    ack_id: Option<u64>,
) -> String {
    let Refused { why, retry_after_ms } = refused.into();
    let (code, message) = (why.code(), why.message());
    let later = retry_after_ms.map(|ms| format!(r#","retry_after_ms":{ms}"#)).unwrap_or_default();
    if let Some(id) = ack_id {
        return ack(id, &format!(r#"{{"ok":false,"code":"{code}","message":"{message}"{later}}}"#));
    }
    let mut packet = String::with_capacity(128);
    if why == Refusal::Unauthenticated {
        sio::put_event(&mut packet, "/", None, "login", &[&format!(r#""{message}""#)]);
        return packet;
    }
    let mut body = String::from(r#"{"event":"#);
    sio::put_json_str(&mut body, event.as_str());
    let _ = write!(body, r#","code":"{code}","message":"{message}"{later}}}"#);
    sio::put_event(&mut packet, "/", None, "chat_error", &[&body]);
    packet
}
