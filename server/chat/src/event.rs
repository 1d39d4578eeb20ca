//! What clients say: the payloads of `login`, `room`, `roomout` and `message`, judged but not yet
//! acted upon.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

use super::lane::{PresenceMode, Refusal};
use crate::ids::{RoomId, TokenHash};

/// A JSON value of which only the kind and, for scalars, the value matter.
#[derive(Debug, Default)]
pub(crate) enum Field<'a> {
    #[default]
    Absent,
    Null,
    Bool(bool),
    Number(Option<u32>),
    Text(Cow<'a, str>),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Field::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Field::Number(u32::try_from(value).ok()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Field::Number(u32::try_from(value).ok()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        let is_whole = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
        Ok(Field::Number(is_whole.then_some(value as u32)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(value)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Null)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}

/// The fields that any event may carry; the rest is ignored, as the original does.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Payload<'a> {
    #[serde(borrow)]
    pub(crate) api_token: Field<'a>,
    pub(crate) roomid: Field<'a>,
    pub(crate) msg: Field<'a>,
    pub(crate) img: Field<'a>,
    pub(crate) time: Field<'a>,
    pub(crate) presence: Field<'a>,
}

impl<'a> Payload<'a> {
    /// `json`: the event's first argument; none counts as `{}`.
    pub(crate) fn parse(
        json: Option<&str>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Payload<'a>, Refusal> {
        let Some(json) = json else { return Ok(Payload::default()) };
        if !json.trim_start().starts_with('{') {
            return Err(Refusal::InvalidArgument);
        }
        buffer.clear();
        buffer.extend_from_slice(json.as_bytes());
        simd_json::serde::from_slice(buffer).map_err(|_| Refusal::InvalidArgument)
    }

    /// `Ok(None)`: the connection's own identity acts.
    pub(crate) fn token(&self) -> Result<Option<TokenHash>, Refusal> {
        match &self.api_token {
            Field::Absent | Field::Null | Field::Bool(false) => Ok(None),
            Field::Text(text) if text.is_empty() => Ok(None),
            Field::Text(text) => token_hash(text).map(Some).ok_or(Refusal::Unauthenticated),
            Field::Bool(true) | Field::Number(_) | Field::Other => Err(Refusal::Unauthenticated),
        }
    }

    pub(crate) fn room(&self) -> Result<RoomId, Refusal> {
        let number = match &self.roomid {
            Field::Number(number) => *number,
            Field::Text(text) => {
                let is_decimal =
                    (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
                is_decimal.then(|| text.parse().ok()).flatten()
            }
            _ => None,
        };
        number
            .filter(|number| (1..=999_999_999).contains(number))
            .map(RoomId)
            .ok_or(Refusal::InvalidArgument)
    }

    pub(crate) fn presence_mode(&self) -> Result<PresenceMode, Refusal> {
        match &self.presence {
            Field::Absent | Field::Null => Ok(PresenceMode::Full),
            Field::Text(text) => match &**text {
                "full" => Ok(PresenceMode::Full),
                "delta" => Ok(PresenceMode::Delta),
                "count" => Ok(PresenceMode::Count),
                _ => Err(Refusal::InvalidArgument),
            },
            _ => Err(Refusal::InvalidArgument),
        }
    }
}

/// `None` if the text cannot be a token: 60 characters of `[A-Za-z0-9]`.
pub(crate) fn token_hash(text: &str) -> Option<TokenHash> {
    let is_token = text.len() == 60 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_token.then(|| TokenHash(Sha256::digest(text).into()))
}

/// The text of `msg` or `img`; missing and null count as empty.
pub(crate) fn text<'f>(field: &'f Field<'_>) -> Result<&'f str, Refusal> {
    match field {
        Field::Absent | Field::Null => Ok(""),
        Field::Text(text) => Ok(text),
        Field::Bool(_) | Field::Number(_) | Field::Other => Err(Refusal::InvalidArgument),
    }
}

/// The client's time if it is one, else `None` and the server's clock decides.
pub(crate) fn time<'f>(field: &'f Field<'_>) -> Option<&'f str> {
    let Field::Text(text) = field else { return None };
    let is_time = text.len() <= 64
        && (text.parse::<jiff::Timestamp>().is_ok()
            || text.parse::<jiff::civil::DateTime>().is_ok());
    is_time.then_some(text)
}

/// What an `img` asks for.
pub(crate) enum Image {
    None,
    /// One of our own URLs.
    Url,
    /// The decoded bytes of a data URL.
    Data(Vec<u8>),
}

pub(crate) fn image(img: &str, bytes_max: usize) -> Result<Image, Refusal> {
    use base64::Engine as _;
    if img.is_empty() {
        return Ok(Image::None);
    }
    let Some(rest) = img.strip_prefix("data:") else {
        let is_own = img.starts_with("/storage/") && img.len() <= 512 && !img.contains("..");
        return if is_own { Ok(Image::Url) } else { Err(Refusal::ImageInvalid) };
    };
    let (kind, data) = rest.split_once(";base64,").ok_or(Refusal::ImageInvalid)?;
    if !matches!(kind, "image/png" | "image/jpeg" | "image/jpg" | "image/gif" | "image/webp") {
        return Err(Refusal::ImageInvalid);
    }
    if data.len() / 4 * 3 > bytes_max + 3 {
        return Err(Refusal::TooLarge);
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(data)
        .map_err(|_| Refusal::ImageInvalid)?;
    if bytes.len() > bytes_max {
        return Err(Refusal::TooLarge);
    }
    Ok(Image::Data(bytes))
}
