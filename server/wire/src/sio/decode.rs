use std::borrow::Cow;

use crate::{Fault, json};

const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Whether the client libraries keep the name of an event for themselves: a peer that emits one is not one
/// of them. Spec: SIO-47.
pub fn is_reserved(name: &str) -> bool {
    RESERVED_EVENTS.contains(&name)
}

/// Bounds on one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nested arrays and objects in the data, at most 128.
    pub depth_max: u32,
    /// Values in the data, those inside others included.
    pub values_max: u32,
    /// Binary attachments of one packet.
    pub attachments_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { depth_max: 64, values_max: 32_768, attachments_max: 10 }
    }
}

/// Packet types; on the wire the digits `0` to `6` in this order. Protocol 4 calls `ConnectError`
/// ERROR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Opens a namespace, or confirms that it is open.
    Connect,
    /// Leaves a namespace.
    Disconnect,
    /// A name and arguments, in a JSON array.
    Event,
    /// The answer to an event with an id.
    Ack,
    /// The server refuses a namespace.
    ConnectError,
    /// An event with attachments.
    BinaryEvent,
    /// An ack with attachments.
    BinaryAck,
}

/// One Socket.IO packet without its attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its type.
    pub kind: Kind,
    /// Binary messages that follow this packet and belong to it.
    pub attachments: u32,
    /// `/` when absent; without a query.
    pub namespace: &'a str,
    /// The query that protocol 4 clients put behind a namespace when they connect to it, without
    /// its `?`; empty if none.
    pub query: &'a str,
    /// Id of the ack that an event asks for, or that an ack answers.
    pub ack: Option<u64>,
    /// Valid JSON of the shape the kind asks for.
    pub data: Option<&'a str>,
}

/// An event's name and arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// A number is taken as its own text.
    pub name: Cow<'a, str>,
    /// Raw JSON of the arguments, with their commas: `{"a":1},2`. Empty if none.
    pub args: &'a str,
}

/// Digits of the largest number of 64 bits.
const ID_DIGITS_MAX: usize = 20;
/// Bytes in which [`without_args`] looks for the data of a packet, and for the end of an event's name.
const HEAD_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 512;

/// Decodes one packet: the data of an Engine.IO message, after its `4`.
///
/// # Errors
/// As strict as socket.io-parser 4.2, and stricter in three points: an event or ack must have data, an
/// id must fit 64 bits, and JSON must not be nested deeper than `limits.depth_max` nor have more
/// values than `limits.values_max`. Any fault closes
/// the session.
///
/// Spec: SIO-1 to SIO-11, SIO-47, SIO-53.
pub fn decode<'a>(text: &'a str, limits: &Limits) -> Result<Packet<'a>, Fault> {
    decode_with_event(text, limits).map(|(packet, _)| packet)
}

/// As [`decode`], with what was found in the data of an event.
///
/// # Errors
/// As [`decode`].
pub fn decode_with_event<'a>(
    text: &'a str,
    limits: &Limits,
) -> Result<(Packet<'a>, Option<Event<'a>>), Fault> {
    let kind = match text.as_bytes().first() {
        Some(b'0') => Kind::Connect,
        Some(b'1') => Kind::Disconnect,
        Some(b'2') => Kind::Event,
        Some(b'3') => Kind::Ack,
        Some(b'4') => Kind::ConnectError,
        Some(b'5') => Kind::BinaryEvent,
        Some(b'6') => Kind::BinaryAck,
        _ => return Err(Fault::SioTypeUnknown),
    };
    let rest = &text[1..];
    let (attachments, rest) = match kind {
        Kind::BinaryEvent | Kind::BinaryAck => attachments(rest, limits.attachments_max)?,
        Kind::Connect | Kind::Disconnect | Kind::Event | Kind::Ack | Kind::ConnectError => {
            (0, rest)
        }
    };
    let (namespace, rest) = match rest.as_bytes().first() {
        Some(b'/') => rest.split_once(',').unwrap_or((rest, "")),
        _ => ("/", rest),
    };
    let (namespace, query) = namespace.split_once('?').unwrap_or((namespace, ""));
    let (ack, rest) = ack_id(rest)?;
    let data = if rest.is_empty() { None } else { Some(json::trim(rest)) };
    if let Some(data) = data {
        let bounds = json::Limits { depth_max: limits.depth_max, values_max: limits.values_max };
        let end = json::skip_value(data, 0, bounds)?;
        if end != data.len() {
            return Err(Fault::JsonInvalid);
        }
    }
    let event = check(kind, data)?;
    Ok((Packet { kind, attachments, namespace, query, ack, data }, event))
}

/// Splits the data of an event packet that [`decode`] accepted.
///
/// # Errors
/// Only for data that `decode` would not have let pass.
pub fn event(data: &str) -> Result<Event<'_>, Fault> {
    let inner = json::trim(data)
        .strip_prefix('[')
        .and_then(|data| data.strip_suffix(']'))
        .map(json::trim)
        .ok_or(Fault::DataShape)?;
    let end = json::skip_value(inner, 0, json::SCALAR).map_err(|_| Fault::DataShape)?;
    let (first, rest) = inner.split_at(end);
    let name = match first.as_bytes() {
        [b'"', .., b'"'] => json::unescape(&first[1..first.len() - 1])?,
        [b'-' | b'0'..=b'9', ..] => Cow::Borrowed(first),
        _ => return Err(Fault::DataShape),
    };
    let args = match json::trim(rest) {
        "" => "",
        rest => json::trim(rest.strip_prefix(',').ok_or(Fault::DataShape)?),
    };
    Ok(Event { name, args })
}

/// The raw text of the first of an event's arguments.
pub fn first_arg(args: &str) -> Option<&str> {
    let start = json::skip_space(args.as_bytes(), 0);
    let end = json::skip_value(args, start, json::CHECKED).ok()?;
    Some(&args[start..end])
}

/// Whether a packet is an event without attachments, by its first byte.
pub fn is_plain_event(text: &str) -> bool {
    text.starts_with('2')
}

/// An event packet without its arguments, valid or not, that may be too long to be looked at. A name that
/// is long, or ends in an escape that is, is cut. `None`: it is no event, or its data does not begin as
/// that of one does.
pub fn without_args(text: &str) -> Option<String> {
    if !text.starts_with(['2', '5']) {
        return None;
    }
    let open = text.bytes().take(HEAD_BYTES_MAX).position(|byte| byte == b'[')?;
    let (head, data) = text.split_at(open + 1);
    let seen = &data[..data.floor_char_boundary(NAME_BYTES_MAX)];
    let seen = &seen[json::skip_space(seen.as_bytes(), 0)..];
    let name = match seen.strip_prefix('"') {
        Some(inside) => match json::skip_value(seen, 0, json::SCALAR) {
            Ok(end) => &seen[1..end - 1],
            Err(_) => &inside[..json::plain_prefix(inside.as_bytes())],
        },
        None => {
            let is_of_number = |b: &u8| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
            let length = seen.bytes().take_while(is_of_number).count();
            Some(&seen[..length]).filter(|name| !name.is_empty())?
        }
    };
    Some(format!("{head}\"{name}\"]"))
}

/// `<count>-`, at least one.
fn attachments(text: &str, attachments_max: u32) -> Result<(u32, &str), Fault> {
    let (digits, rest) = text.split_once('-').ok_or(Fault::AttachmentsInvalid)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::AttachmentsInvalid);
    }
    match digits.parse() {
        Ok(0) => Err(Fault::AttachmentsInvalid),
        Ok(count) if count <= attachments_max => Ok((count, rest)),
        Ok(_) | Err(_) => Err(Fault::TooManyAttachments),
    }
}

fn ack_id(text: &str) -> Result<(Option<u64>, &str), Fault> {
    // One digit more than any number of 64 bits has is enough to know that it does not fit.
    let digits = text.bytes().take(ID_DIGITS_MAX + 1);
    let end = digits.take_while(u8::is_ascii_digit).count();
    if end == 0 {
        return Ok((None, text));
    }
    let id = text[..end].parse().map_err(|_| Fault::AckIdOverflow)?;
    Ok((Some(id), &text[end..]))
}

/// Whether `data`, known to be JSON, has the shape `kind` asks for; and the event that it is.
fn check(kind: Kind, data: Option<&str>) -> Result<Option<Event<'_>>, Fault> {
    let first = data.and_then(|data| data.as_bytes().first());
    match (kind, first) {
        (Kind::Connect, None | Some(b'{'))
        | (Kind::Disconnect, None)
        | (Kind::ConnectError, None | Some(b'{' | b'"')) => Ok(None),
        (Kind::Event | Kind::BinaryEvent, Some(b'[')) => {
            let event = event(data.unwrap_or_default())?;
            if is_reserved(&event.name) {
                return Err(Fault::EventReserved);
            }
            Ok(Some(event))
        }
        (Kind::Ack | Kind::BinaryAck, Some(b'[')) => Ok(None),
        (Kind::Event | Kind::BinaryEvent | Kind::Ack | Kind::BinaryAck, None) => {
            Err(Fault::DataMissing)
        }
        (_, Some(_)) => Err(Fault::DataShape),
    }
}
