use httparse::{Header, Status};

use super::client::Forwarded;
use super::upgrade::Upgrade;
use crate::Fault;

/// Bytes of the longest request head that is accepted (LIM-8).
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields that are accepted (LIM-8).
pub const FIELDS_MAX: usize = 64;

/// What the first bytes of a connection hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it lives on the stack of one call")]
pub enum Head<'a> {
    /// The head is not complete.
    NeedMore,
    /// A whole head; a body or WebSocket frames may follow.
    Complete {
        /// Bytes of the head.
        len: usize,
        /// The fields of it that matter to the server.
        request: Request<'a>,
    },
}

/// The parts of a request head that matter to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// `GET`, `POST` and so on, as sent.
    pub method: &'a str,
    /// Without the query; undecoded.
    pub path: &'a str,
    /// After the first `?`; empty if none; undecoded.
    pub query: &'a str,
    /// `Host`, if it is given and is text.
    pub host: Option<&'a str>,
    /// `Origin`, if it is given and is text.
    pub origin: Option<&'a str>,
    /// `Authorization`, if it is given and is text.
    pub authorization: Option<&'a str>,
    /// What a proxy says about the client; to be believed of a trusted one only.
    pub forwarded: Forwarded<'a>,
    /// Set if the client asks to go on as WebSocket.
    pub upgrade: Option<Upgrade<'a>>,
}

/// Reads the request head at the start of `bytes`.
///
/// # Errors
/// A head that is malformed, longer than [`HEAD_BYTES_MAX`], or has more than 64 fields.
pub fn head(bytes: &[u8]) -> Result<Head<'_>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    let len = match parsed.parse(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if bytes.len() >= HEAD_BYTES_MAX => return Err(Fault::HeadTooLarge),
        Ok(Status::Partial) => return Ok(Head::NeedMore),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadTooManyFields),
        Err(_) => return Err(Fault::HeadInvalid),
    };
    let (Some(method), Some(target), Some(minor_version)) =
        (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Fault::HeadInvalid);
    };
    let fields = Fields(parsed.headers);
    let target = origin_form(target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // An HTTP/1.0 client does not know Upgrade (RFC 9110 §7.8).
    let asks_websocket = minor_version == 1
        && fields.has_token("upgrade", "websocket")
        && fields.has_token("connection", "upgrade");
    let upgrade = if asks_websocket {
        Some(Upgrade::new(
            fields.one("sec-websocket-version")?,
            fields.one("sec-websocket-key")?,
            fields.text("sec-websocket-protocol"),
        ))
    } else {
        None
    };
    let request = Request {
        method,
        path,
        query,
        host: fields.one("host")?,
        origin: fields.one("origin")?,
        authorization: fields.one("authorization")?,
        forwarded: Forwarded::new(
            fields.all("x-forwarded-for").rev(),
            fields.text("x-forwarded-proto"),
            fields.text("x-forwarded-host"),
        ),
        upgrade,
    };
    Ok(Head::Complete { len, request })
}

/// Whether an `Origin` names the host (and port) the request was sent to. The scheme is not compared:
/// behind a proxy that ends TLS it cannot be known here.
pub fn is_same_origin(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare = |authority| str::strip_suffix(authority, default_port).unwrap_or(authority);
    !authority.is_empty() && bare(authority).eq_ignore_ascii_case(bare(host))
}

struct Fields<'h, 'a>(&'h [Header<'a>]);

impl<'a> Fields<'_, 'a> {
    fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.0.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }

    /// A field that must not be repeated: two values are two opinions on what was asked.
    fn one(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        let mut values = self.all(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Fault::HeadInvalid);
        }
        let value = std::str::from_utf8(value).map_err(|_| Fault::HeadInvalid)?;
        Ok(Some(value.trim_matches([' ', '\t'])))
    }

    /// The first value of a field that may be repeated, if it is text.
    fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.all(name).next()?).ok()
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(|&b| b == b','))
            .any(|value| value.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// The path and query of a target; proxies may send it with scheme and authority.
fn origin_form(target: &str) -> &str {
    match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => target,
    }
}
