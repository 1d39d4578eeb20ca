//! The `img` of a message: nothing, one of our URLs, or a picture as a data URL.
//!
//! A shard judges a picture by its length and the first words of its URL. It is neither parsed nor decoded
//! there: that is done where it is stored.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use bytes::Bytes;
use memchr::{memchr, memmem};
use throng_wire::image_path::ImagePath;

use crate::refusal::Refusal;

/// Places in one event that look like a picture, of which the longest is taken for it.
const CANDIDATES_MAX: usize = 16;
/// How a picture begins; [`find`] leaves it in its event.
pub(crate) const SCHEME: &str = "data:";
/// Between the kind of a picture and its bytes.
const ENCODING: &str = ";base64,";
/// A longer one names no kind that is accepted, however its slash is written.
const HEAD_MAX: usize = 32;

/// What a client sent as `img`.
#[derive(Debug)]
pub(crate) enum Img {
    /// As the JSON means it.
    Text(Box<str>),
    /// The inside of a string of JSON, as it was sent, behind [`SCHEME`].
    Literal(Bytes),
}

/// What an `img` asks for.
pub(crate) enum Image {
    None,
    /// One of our own URLs.
    Url(Box<str>),
    /// A picture of at most so many bytes.
    Data {
        url: DataUrl,
        bytes_max: usize,
    },
}

/// A picture as it was sent, without [`SCHEME`].
#[derive(Clone, PartialEq, Eq)]
pub struct DataUrl {
    text: Bytes,
    /// It is the inside of a string of JSON, and has escapes in it.
    is_escaped: bool,
}

/// Why an image was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFault {
    /// Not an accepted image.
    Invalid,
    /// Longer than images may be.
    TooLarge,
    /// The store could not do it now.
    StoreDown,
}

impl fmt::Debug for DataUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataUrl({} bytes)", self.text.len())
    }
}

impl Img {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Img::Text(text) if text.is_empty())
    }

    /// Spec: CHAT-45 to CHAT-47, LIM-10.
    pub(crate) fn judge(self, bytes_max: usize) -> Result<Image, Refusal> {
        let url = match self {
            Img::Text(text) if text.is_empty() => return Ok(Image::None),
            Img::Text(text) if !text.starts_with(SCHEME) => {
                let is_own = ImagePath::parse(&text).is_some();
                return if is_own { Ok(Image::Url(text)) } else { Err(Refusal::ImageInvalid) };
            }
            Img::Text(text) => DataUrl::new(Bytes::from(String::from(text)).slice(SCHEME.len()..)),
            Img::Literal(text) => DataUrl { is_escaped: memchr(b'\\', &text).is_some(), text },
        };
        let head = String::from_utf8_lossy(&url.text[..url.text.len().min(HEAD_MAX)]);
        let head = if url.is_escaped { head.replace("\\/", "/") } else { head.into_owned() };
        let kind = head.split_once(ENCODING);
        let kinds = ["image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"];
        if !kind.is_some_and(|(kind, _)| kinds.contains(&kind)) {
            return Err(Refusal::ImageInvalid);
        }
        let bytes = url.bytes_max();
        // Escapes make it longer than it is; where it is decoded, the true length is known.
        if bytes > bytes_max && !url.is_escaped {
            return Err(Refusal::TooLarge);
        }
        Ok(Image::Data { url, bytes_max: bytes.min(bytes_max) })
    }
}

impl DataUrl {
    /// `text`: without `data:`, and without escapes of JSON.
    #[must_use]
    pub fn new(text: Bytes) -> DataUrl {
        DataUrl { text, is_escaped: false }
    }

    /// Bytes that are kept of it until it is stored.
    pub(crate) fn held(&self) -> usize {
        self.text.len()
    }

    /// The length of the picture, by that of its text.
    fn bytes_max(&self) -> usize {
        let head =
            memmem::find(&self.text, ENCODING.as_bytes()).map_or(0, |at| at + ENCODING.len());
        let encoded = self.text.len() - head;
        let padding = self.text.iter().rev().take(2).filter(|byte| **byte == b'=').count();
        // What is shorter than its padding is no base64.
        (encoded / 4 * 3).max(padding) - padding
    }

    /// The bytes of the picture: work for a thread that may take its time. What they are is not checked.
    ///
    /// # Errors
    /// It is no base64, or longer than `bytes_max`.
    pub fn decode(&self, bytes_max: usize) -> Result<Bytes, ImageFault> {
        let unescaped;
        let text = if self.is_escaped {
            let mut literal = [b"\"", &self.text[..], b"\""].concat();
            let parsed = simd_json::serde::from_slice::<String>(&mut literal);
            unescaped = parsed.map_err(|_| ImageFault::Invalid)?.into_bytes();
            &unescaped[..]
        } else {
            &self.text[..]
        };
        let at = memmem::find(text, ENCODING.as_bytes()).ok_or(ImageFault::Invalid)?;
        let encoded = &text[at + ENCODING.len()..];
        // One quantum too many is what padding may take off.
        if encoded.len() / 4 * 3 > bytes_max + 3 {
            return Err(ImageFault::TooLarge);
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
        let bytes = bytes.map_err(|_| ImageFault::Invalid)?;
        if bytes.len() > bytes_max { Err(ImageFault::TooLarge) } else { Ok(bytes.into()) }
    }
}

/// Where in a long event its picture is: the inside of the longest string that begins as a data URL of an
/// image does, without [`SCHEME`]. Costs a look at each byte, whatever the event is.
pub(crate) fn find(event: &str) -> Option<Range<usize>> {
    let event = event.as_bytes();
    let starts = memmem::find_iter(event, b"\"data:image").take(CANDIDATES_MAX);
    let literals = starts.filter_map(|quote| {
        let start = quote + 1;
        // A quote with an escape before it is inside a string, and a picture has none inside.
        let is_open = quote == 0 || event[quote - 1] != b'\\';
        let end = start + memchr(b'"', &event[start..])?;
        (is_open && event[end - 1] != b'\\').then_some(start + SCHEME.len()..end)
    });
    literals.max_by_key(|literal| literal.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(img: &str) -> Result<Image, Refusal> {
        Img::Text(img.into()).judge(1000)
    }

    fn literal(img: &str) -> Result<Image, Refusal> {
        let inside = img.strip_prefix(SCHEME).expect("it is a data URL");
        Img::Literal(Bytes::copy_from_slice(inside.as_bytes())).judge(1000)
    }

    #[test]
    fn the_path_of_an_image_is_one_that_the_server_gives_out() {
        let is_own = |img: &str| matches!(text(img), Ok(Image::Url(_)));
        let own = format!("/storage/images/messages/ab/{}.png", "ab".repeat(32));
        assert!(is_own(&own) && is_own(&own.replace("messages", "avatars")));
        for mark in
            ["<", "\"", "&", "\\", " ", "\n", "é", "..", "%2e%2e", "%2E.", "%5c", "%00", "%252e"]
        {
            for place in ["/ab/", ".png"] {
                let other = own.replacen(place, &format!("{mark}{place}"), 1);
                assert_eq!(text(&other).err(), Some(Refusal::ImageInvalid), "{other}");
            }
        }
    }

    #[test]
    fn a_picture_is_judged_by_its_head_and_length() {
        for kind in ["png", "jpeg", "jpg", "gif", "webp"] {
            let url = format!("data:image/{kind};base64,AAECAw==");
            let Ok(Image::Data { url, bytes_max: 4 }) = text(&url) else { panic!("{url}") };
            assert_eq!(url.decode(4).as_deref(), Ok(&[0, 1, 2, 3][..]));
            assert_eq!(url.decode(3), Err(ImageFault::TooLarge));
        }
        for wrong in [
            "data:image/svg+xml;base64,AAAA",
            "data:text/html;base64,AAAA",
            "data:image/png,AAAA",
            "data:image/png",
            "data:",
            "data:image/png;charset=utf-8;base64,AAAA",
            "data:image/\u{e9};base64,AAAA",
        ] {
            assert_eq!(text(wrong).err(), Some(Refusal::ImageInvalid), "{wrong}");
            assert_eq!(literal(wrong).err(), Some(Refusal::ImageInvalid), "{wrong}");
        }
        // 1000 bytes are 334 quanta, the last with two bytes of padding.
        let encoded =
            |bytes: usize| base64::engine::general_purpose::STANDARD.encode(vec![7; bytes]);
        for judge in [text, literal] {
            let fits = judge(&format!("data:image/png;base64,{}", encoded(1000)));
            assert!(matches!(fits, Ok(Image::Data { bytes_max: 1000, .. })));
            for too_long in [1001, 1002, 1003, 5000] {
                let long = judge(&format!("data:image/png;base64,{}", encoded(too_long)));
                assert_eq!(long.err(), Some(Refusal::TooLarge), "{too_long}");
            }
        }
    }

    #[test]
    fn base64_is_checked_where_it_is_decoded() {
        for wrong in ["%%%%", "AAA", "A", "AA=A", "AAAA\\/"] {
            let Ok(Image::Data { url, .. }) = text(&format!("data:image/png;base64,{wrong}"))
            else {
                panic!("{wrong}")
            };
            assert_eq!(url.decode(1000), Err(ImageFault::Invalid), "{wrong}");
        }
    }

    #[test]
    fn a_literal_may_be_written_with_escapes() {
        for escaped in [
            r"data:image\/png;base64,+\/+\/",
            r"data:image/png;base64,\u002B/\u002b/",
            r"data:image\/png;base64,+\/\u002B/",
        ] {
            let Ok(Image::Data { url, .. }) = literal(escaped) else { panic!("{escaped}") };
            assert_eq!(url.decode(3).as_deref(), Ok(&[0xfb, 0xff, 0xbf][..]), "{escaped}");
            assert_eq!(url.decode(2), Err(ImageFault::TooLarge));
        }
        for wrong in [r"data:image/png;base64,AAA\n", r"data:image/png;base64,AA\u00e9="] {
            let Ok(Image::Data { url, .. }) = literal(wrong) else { panic!("{wrong}") };
            assert_eq!(url.decode(1000), Err(ImageFault::Invalid), "{wrong}");
        }
    }

    #[test]
    fn the_longest_picture_of_an_event_is_found() {
        let found = |json: &str| find(json).map(|range| json[range].to_owned());
        for (json, picture) in [
            (r#"["message",{"img":"data:image/png;base64,AAAA","msg":"x"}]"#, "AAAA"),
            (r#"["message",{"msg":"data:image/","img":"data:image/png;base64,BBBB"}]"#, "BBBB"),
            (r#"["message",{"img":"data:image\/png;base64,A\/AA"}]"#, r"A\/AA"),
            (
                r#"["message",{"msg":"say \"data:image/x\" to me","img":"data:image/png;base64,C"}]"#,
                "C",
            ),
        ] {
            assert!(found(json).is_some_and(|found| found.ends_with(picture)), "{json}");
        }
        for json in [
            r#"["message",{"img":"/storage/x.png"}]"#,
            r#"["message",{"msg":"\"data:image/png;base64,A\""}]"#,
            r#"["message",{"img":"data:image/png;base64,A\"A"}]"#,
            "",
        ] {
            assert_eq!(found(json), None, "{json}");
        }
    }
}
