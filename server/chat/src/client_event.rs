//! What a client asks for: each event is parsed once, when it comes, and kept as it was understood
//! while its session waits.

use std::borrow::Cow;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use throng_engine::Omitted;
use throng_wire::sio::{self, EventData};

use crate::field::Field;
use crate::ids::{Cid, RoomId, TokenHash};
use crate::image::{self, Img};
use crate::lane::{AckId, PresenceMode, Publish};
use crate::refusal::Refusal;
use crate::spares::Spares;

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
    Login,
    Join { room: RoomId, presence_mode: PresenceMode },
    Leave { room: RoomId },
    Message(MessageRequest),
}

/// A message as its author sent it.
#[derive(Debug)]
pub(crate) struct MessageRequest {
    pub(crate) room: RoomId,
    /// Without its image. Its time is the client's, or empty if the client sent no valid one.
    pub(crate) publish: Box<Publish>,
    /// Not decoded.
    pub(crate) img: Img,
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
        data: &EventData,
        omitted: Option<Omitted>,
        ack: AckId,
        is_binary: bool,
        bytes_max: usize,
        spares: &mut Spares,
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
            event.read(data, long, spares);
        }
        event
    }

    /// `long`: what was taken out of the event's data, and where.
    fn read(&mut self, data: &EventData, long: Option<(usize, Bytes)>, spares: &mut Spares) {
        let payload = match Payload::parse(data.args()) {
            Ok(payload) => payload,
            Err(why) => return self.request = Err(RequestError::Event(why)),
        };
        let img = match long {
            Some((at, inside)) if is_scheme(&payload.img, |part| data.end_of(part) == Some(at)) => {
                Ok(Img::Literal(inside))
            }
            // It was no `img` of the first argument.
            Some(_) => return self.request = Err(RequestError::Event(Refusal::TooLarge)),
            None => text(&payload.img).map(|img| Img::Text(img.into())),
        };
        match payload.token() {
            Ok(token) => {
                self.token = token;
                let request = payload.request(&self.name, img, spares);
                self.request = request.map_err(RequestError::Argument);
            }
            Err(why) => self.request = Err(RequestError::Event(why)),
        }
    }
}

/// The fields that any event may carry; the rest is ignored, as the original does.
#[derive(Debug, Default)]
struct Payload<'a> {
    api_token: Field<'a>,
    roomid: Field<'a>,
    msg: Field<'a>,
    img: Field<'a>,
    time: Field<'a>,
    cid: Field<'a>,
    presence: Field<'a>,
}

impl<'a> Payload<'a> {
    /// `args`: JSON of the arguments, of which those behind the first are ignored. No argument counts as `{}`.
    fn parse(args: &'a str) -> Result<Payload<'a>, Refusal> {
        let mut payload = Payload::default();
        if args.is_empty() {
            return Ok(payload);
        }
        for (name, value) in sio::members(args).ok_or(Refusal::InvalidArgument)? {
            let field = match &*name {
                "api_token" => &mut payload.api_token,
                "roomid" => &mut payload.roomid,
                "msg" => &mut payload.msg,
                "img" => &mut payload.img,
                "time" => &mut payload.time,
                "cid" => &mut payload.cid,
                "presence" => &mut payload.presence,
                _ => continue,
            };
            // Another reader of the event might take the other one.
            if !matches!(field, Field::Absent) {
                return Err(Refusal::InvalidArgument);
            }
            *field = Field::from(value);
        }
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
        spares: &mut Spares,
    ) -> Result<ClientRequest, Refusal> {
        match name {
            EventName::Login => Ok(ClientRequest::Login),
            EventName::Room => {
                let (room, presence_mode) = (self.room()?, self.presence_mode()?);
                Ok(ClientRequest::Join { room, presence_mode })
            }
            EventName::RoomOut => Ok(ClientRequest::Leave { room: self.room()? }),
            EventName::Message => {
                let room = self.room()?;
                let (msg, img) = (text(&self.msg)?, img?);
                let (time, cid) = (time(&self.time), cid(&self.cid)?);
                let mut publish = spares.publish();
                publish.msg.push_str(msg);
                publish.time.push_str(time.unwrap_or_default());
                publish.cid = cid;
                Ok(ClientRequest::Message(MessageRequest { room, publish, img }))
            }
            EventName::Unknown(_) => Err(Refusal::UnknownEvent),
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
pub(crate) fn connect_token(auth: &str) -> Result<Option<TokenHash>, Refusal> {
    let (mut token, mut api_token) = (Field::Absent, Field::Absent);
    // A payload of another shape names no token (CHAT-1 to CHAT-9).
    for (name, value) in sio::members(auth).into_iter().flatten() {
        match &*name {
            "token" => token = Field::from(value),
            "api_token" => api_token = Field::from(value),
            _ => {}
        }
    }
    let text = match (api_token, token) {
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

/// Whether a field is the scheme of a data URL that ends where it should.
fn is_scheme(field: &Field<'_>, ends_there: impl FnOnce(&str) -> bool) -> bool {
    let Field::Text(Cow::Borrowed(text)) = field else { return false };
    *text == image::SCHEME && ends_there(text)
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
    // What is no time is mostly empty, and an error of the parser is costly.
    let is_time = (10..=64).contains(&text.len())
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
