//! What a client asks for: each event is parsed once, when it comes, and kept as it was understood
//! while its session waits.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use throng_engine::Omitted;
use throng_wire::sio::EventData;

use crate::field::Field;
use crate::ids::{Cid, RoomId, TokenHash};
use crate::image::{self, Img};
use crate::lane::{AckId, PresenceMode};
use crate::refusal::Refusal;

/// Characters of an unknown name that are kept. A name may be megabytes, and the client knows what it
/// sent.
const NAME_CHARS_MAX: usize = 64;

/// Declares the events of a client: variant, and name on the wire.
macro_rules! client_events {
    ($($event:ident $name:literal;)+) => {
        /// The events of a client, and the name of one that does not exist.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum EventName {
            $($event,)+
            Unknown(Box<str>),
        }

        impl EventName {
            fn parse(name: &str) -> EventName {
                match name {
                    $($name => EventName::$event,)+
                    _ => EventName::unknown(name),
                }
            }

            pub(crate) fn as_str(&self) -> &str {
                match self {
                    $(EventName::$event => $name,)+
                    EventName::Unknown(name) => name,
                }
            }
        }
    };
}

client_events! {
    Login "login";
    Room "room";
    RoomOut "roomout";
    Message "message";
    Follow "follow";
    Unfollow "unfollow";
}

impl EventName {
    fn unknown(name: &str) -> EventName {
        let end = name.char_indices().nth(NAME_CHARS_MAX).map_or(name.len(), |(at, _)| at);
        EventName::Unknown(name[..end].into())
    }
}

/// What an event asks for.
#[derive(Debug)]
pub(crate) enum ClientRequest {
    Login { wanted: WantedCounts },
    Join { room: RoomId, presence_mode: PresenceMode },
    Leave { room: RoomId },
    Message(Box<MessageRequest>),
    Follow { room: RoomId, follows: bool },
}

/// Which unread counts a session wants. Spec: UNR-30.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum WantedCounts {
    #[default]
    Rooms,
    Sum,
    Nothing,
}

/// A message as its author sent it.
#[derive(Debug)]
pub(crate) struct MessageRequest {
    pub(crate) room: RoomId,
    pub(crate) msg: Box<str>,
    /// Not decoded.
    pub(crate) img: Img,
    /// The client's time, if it is one.
    pub(crate) time: Option<Box<str>>,
    pub(crate) cid: Option<Cid>,
}

/// One event of a client.
#[derive(Debug)]
pub(crate) struct ClientEvent {
    pub(crate) name: EventName,
    pub(crate) ack: AckId,
    /// Bytes of JSON it came as.
    pub(crate) bytes: usize,
    /// `None`: the connection's own identity acts.
    pub(crate) token: Option<TokenHash>,
    pub(crate) request: Result<ClientRequest, RequestError>,
}

/// Why an event asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// Refused for every sender.
    Event(Refusal),
    /// Refused once it is known who sent it: an argument is wrong.
    Argument(Refusal),
}

impl ClientEvent {
    /// `data`: an event that the decoder let pass. `bytes_max` bounds events, without their pictures.
    ///
    /// Spec: CHAT-1 to CHAT-9, LIM-10.
    pub(crate) fn parse(
        data: EventData,
        omitted: Option<Omitted>,
        ack: AckId,
        is_binary: bool,
        bytes_max: usize,
    ) -> ClientEvent {
        let mut bytes = data.len();
        let is_long = bytes > bytes_max || omitted == Some(Omitted::Arguments);
        if let Some(Omitted::Text { text, .. }) = &omitted {
            bytes += text.len();
        }
        let mut event = ClientEvent {
            name: EventName::parse(data.name()),
            ack,
            bytes,
            token: None,
            request: Err(RequestError::Event(Refusal::InvalidArgument)),
        };
        if matches!(event.name, EventName::Unknown(_)) {
            event.request = Err(RequestError::Event(Refusal::UnknownEvent));
        } else if is_long && event.name != EventName::Message {
            event.request = Err(RequestError::Event(Refusal::TooLarge));
        } else if is_binary {
            event.request = Err(RequestError::Event(Refusal::BinaryUnsupported));
        } else if is_long || (omitted.is_some() && event.name != EventName::Message) {
            event.request = Err(RequestError::Event(Refusal::TooLarge));
        } else {
            let long = match omitted {
                Some(Omitted::Text { at, text }) => Some((at, text)),
                Some(Omitted::Arguments) | None => None,
            };
            let (json, args) = data.into_json();
            let args_at = args.map(|args| args.start);
            event.read(&mut String::from(json).into_bytes(), args_at, long);
        }
        event
    }

    /// `long`: what was taken out of `data`, and where.
    fn read(&mut self, data: &mut [u8], args_at: Option<usize>, long: Option<(usize, Bytes)>) {
        let origin = data.as_ptr().addr();
        let payload = match Payload::parse(data, args_at) {
            Ok(payload) => payload,
            Err(why) => return self.request = Err(RequestError::Event(why)),
        };
        let img = match long {
            Some((at, inside)) if is_behind_scheme(&payload.img, origin + at) => {
                Ok(Img::Literal(inside))
            }
            // It was no `img` of the first argument.
            Some(_) => return self.request = Err(RequestError::Event(Refusal::TooLarge)),
            None => text(&payload.img).map(|img| Img::Text(img.into())),
        };
        match payload.token() {
            Ok(token) => {
                self.token = token;
                self.request = payload.request(&self.name, img).map_err(RequestError::Argument);
            }
            Err(why) => self.request = Err(RequestError::Event(why)),
        }
    }
}

/// The fields that any event may carry; the rest is ignored, as the original does.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload<'a> {
    #[serde(borrow)]
    api_token: Field<'a>,
    roomid: Field<'a>,
    msg: Field<'a>,
    img: Field<'a>,
    time: Field<'a>,
    cid: Field<'a>,
    presence: Field<'a>,
    counts: Field<'a>,
}

/// The first argument of an event; those behind it are ignored.
struct FirstArg<'a>(Payload<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for FirstArg<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Args;

        impl<'de> Visitor<'de> for Args {
            type Value = Payload<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the arguments of an event")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut args: A) -> Result<Self::Value, A::Error> {
                let payload = args.next_element()?.unwrap_or_default();
                while args.next_element::<IgnoredAny>()?.is_some() {}
                Ok(payload)
            }
        }
        deserializer.deserialize_seq(Args).map(FirstArg)
    }
}

impl<'a> Payload<'a> {
    /// `data`: `["name",args…]`; `args_at`: where the arguments begin. No argument counts as `{}`.
    fn parse(data: &'a mut [u8], args_at: Option<usize>) -> Result<Payload<'a>, Refusal> {
        let Some(args_at) = args_at else { return Ok(Payload::default()) };
        if data[args_at] != b'{' {
            return Err(Refusal::InvalidArgument);
        }
        // The arguments become an array of their own, in place: what stands before them is the comma
        // behind the name, or the space after it.
        let args = &mut data[args_at - 1..];
        args[0] = b'[';
        let FirstArg(payload) =
            simd_json::serde::from_slice(args).map_err(|_| Refusal::InvalidArgument)?;
        Ok(payload)
    }

    fn token(&self) -> Result<Option<TokenHash>, Refusal> {
        match &self.api_token {
            Field::Absent | Field::Null | Field::Bool(false) => Ok(None),
            Field::Text(text) if text.is_empty() => Ok(None),
            Field::Text(text) => token_hash(text).map(Some).ok_or(Refusal::Unauthenticated),
            Field::Bool(true) | Field::Number(_) | Field::Other => Err(Refusal::Unauthenticated),
        }
    }

    fn request(
        &self,
        name: &EventName,
        img: Result<Img, Refusal>,
    ) -> Result<ClientRequest, Refusal> {
        match name {
            EventName::Login => Ok(ClientRequest::Login { wanted: self.wanted_counts()? }),
            EventName::Room => {
                let (room, presence_mode) = (self.room()?, self.presence_mode()?);
                Ok(ClientRequest::Join { room, presence_mode })
            }
            EventName::RoomOut => Ok(ClientRequest::Leave { room: self.room()? }),
            EventName::Message => {
                let room = self.room()?;
                let (msg, img) = (text(&self.msg)?.into(), img?);
                let (time, cid) = (time(&self.time).map(Box::from), cid(&self.cid)?);
                let message = MessageRequest { room, msg, img, time, cid };
                Ok(ClientRequest::Message(Box::new(message)))
            }
            EventName::Follow => Ok(ClientRequest::Follow { room: self.room()?, follows: true }),
            EventName::Unfollow => Ok(ClientRequest::Follow { room: self.room()?, follows: false }),
            EventName::Unknown(_) => Err(Refusal::UnknownEvent),
        }
    }

    fn wanted_counts(&self) -> Result<WantedCounts, Refusal> {
        match &self.counts {
            Field::Absent | Field::Null => Ok(WantedCounts::Rooms),
            Field::Text(text) => match &**text {
                "rooms" => Ok(WantedCounts::Rooms),
                "sum" => Ok(WantedCounts::Sum),
                "none" => Ok(WantedCounts::Nothing),
                _ => Err(Refusal::InvalidArgument),
            },
            Field::Bool(_) | Field::Number(_) | Field::Other => Err(Refusal::InvalidArgument),
        }
    }

    fn room(&self) -> Result<RoomId, Refusal> {
        let number = match &self.roomid {
            Field::Number(number) => *number,
            Field::Text(text) => {
                let is_decimal =
                    (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
                is_decimal.then(|| text.parse().ok()).flatten()
            }
            Field::Absent | Field::Null | Field::Bool(_) | Field::Other => None,
        };
        number
            .filter(|number| (1..=999_999_999).contains(number))
            .map(RoomId)
            .ok_or(Refusal::InvalidArgument)
    }

    fn presence_mode(&self) -> Result<PresenceMode, Refusal> {
        match &self.presence {
            Field::Absent | Field::Null => Ok(PresenceMode::Full),
            Field::Text(text) => match &**text {
                "full" => Ok(PresenceMode::Full),
                "delta" => Ok(PresenceMode::Delta),
                "count" => Ok(PresenceMode::Count),
                _ => Err(Refusal::InvalidArgument),
            },
            Field::Bool(_) | Field::Number(_) | Field::Other => Err(Refusal::InvalidArgument),
        }
    }
}

/// The token in the payload of a CONNECT; `Ok(None)`: there is none.
pub(crate) fn connect_token(auth: Box<str>) -> Result<Option<TokenHash>, Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Auth<'a> {
        #[serde(borrow)]
        token: Field<'a>,
        #[serde(borrow)]
        api_token: Field<'a>,
    }
    let mut auth = String::from(auth).into_bytes();
    // A payload of another shape names no token (CHAT-1 to CHAT-9).
    let auth: Auth<'_> = simd_json::serde::from_slice(&mut auth).unwrap_or_default();
    let text: Cow<'_, str> = match (auth.api_token, auth.token) {
        (Field::Text(text), _) | (_, Field::Text(text)) => text,
        _ => return Ok(None),
    };
    match token_hash(&text) {
        None if !text.is_empty() => Err(Refusal::Unauthenticated),
        hash => Ok(hash),
    }
}

/// `None` if the text cannot be a token: 60 characters of `[A-Za-z0-9]`.
pub(crate) fn token_hash(text: &str) -> Option<TokenHash> {
    let is_token = text.len() == 60 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_token.then(|| TokenHash(Sha256::digest(text).into()))
}

/// Whether a field that was parsed where it stood is the scheme of a data URL that ended at `end`.
fn is_behind_scheme(field: &Field<'_>, end: usize) -> bool {
    let Field::Text(Cow::Borrowed(text)) = field else { return false };
    *text == image::SCHEME && text.as_ptr().addr() + text.len() == end
}

/// The text of `msg` or `img`; missing and null count as empty.
fn text<'f>(field: &'f Field<'_>) -> Result<&'f str, Refusal> {
    match field {
        Field::Absent | Field::Null => Ok(""),
        Field::Text(text) => Ok(text),
        Field::Bool(_) | Field::Number(_) | Field::Other => Err(Refusal::InvalidArgument),
    }
}

/// The client's time if it is one, else `None` and the server's clock decides.
fn time<'f>(field: &'f Field<'_>) -> Option<&'f str> {
    let Field::Text(text) = field else { return None };
    let is_time = text.len() <= 64
        && (text.parse::<jiff::Timestamp>().is_ok()
            || text.parse::<jiff::civil::DateTime>().is_ok());
    is_time.then_some(text)
}

/// The client's id of the message, if it has one. There is no empty one: a client that sent it would
/// believe that it may send the message again.
fn cid(field: &Field<'_>) -> Result<Option<Cid>, Refusal> {
    match field {
        Field::Absent => Ok(None),
        Field::Text(text) => Cid::new(text).map(Some).ok_or(Refusal::InvalidArgument),
        Field::Null | Field::Bool(_) | Field::Number(_) | Field::Other => {
            Err(Refusal::InvalidArgument)
        }
    }
}

#[cfg(test)]
mod tests;
