use std::time::Duration;

use super::upgrade::UPGRADE_REQUIRED;

/// Why the engine refuses a request: status and JSON body of the reference server.
///
/// Spec: TRN-10 to TRN-19.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineError {
    /// `transport` is missing or unknown (TRN-11).
    TransportUnknown,
    /// No session with this `sid` is open (TRN-13).
    SessionUnknown,
    /// A handshake that is not a GET (TRN-15).
    BadHandshakeMethod,
    /// The request does not fit its transport (TRN-14, TRN-16).
    BadRequest,
    /// The `Origin` is not accepted (TRN-12).
    Forbidden,
    /// `EIO` is neither 3 nor 4 (TRN-17).
    UnsupportedVersion,
}

impl EngineError {
    /// The HTTP status: 400 or 403.
    pub fn status(self) -> u16 {
        match self {
            EngineError::Forbidden => 403,
            EngineError::TransportUnknown
            | EngineError::SessionUnknown
            | EngineError::BadHandshakeMethod
            | EngineError::BadRequest
            | EngineError::UnsupportedVersion => 400,
        }
    }

    /// The JSON body, `{"code":…,"message":…}`.
    pub fn json(self) -> &'static str {
        match self {
            EngineError::TransportUnknown => r#"{"code":0,"message":"Transport unknown"}"#,
            EngineError::SessionUnknown => r#"{"code":1,"message":"Session ID unknown"}"#,
            EngineError::BadHandshakeMethod => r#"{"code":2,"message":"Bad handshake method"}"#,
            EngineError::BadRequest => r#"{"code":3,"message":"Bad request"}"#,
            EngineError::Forbidden => r#"{"code":4,"message":"Forbidden"}"#,
            EngineError::UnsupportedVersion => {
                r#"{"code":5,"message":"Unsupported protocol version"}"#
            }
        }
    }
}

/// The setting whose limit a request is over, as an extension of the answer that refuses it: the log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExceededSetting(pub &'static str);

/// When a client that was refused may try again, if what refused it cannot know.
const RETRY_AFTER_S: u32 = 5;

/// The seconds of `Retry-After` in an answer with this status that has none yet; `None` if it needs none.
/// Whatever writes an answer asks here.
///
/// Spec: LIM-35.
pub fn retry_after_s(status: u16) -> Option<u32> {
    matches!(status, 429 | 503).then_some(RETRY_AFTER_S)
}

/// A wait as `Retry-After` says it: whole seconds, rounded up, at least one.
pub fn whole_seconds(wait: Duration) -> u64 {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    u64::try_from(seconds).expect("milliseconds of 64-bit seconds")
}

/// The whole answer that turns a connection into a WebSocket. `accept`: see
/// [`accept_key`](crate::ws::accept_key); `protocol`: the subprotocol that is agreed on, see
/// [`Upgrade`](super::Upgrade). Spec: TRN-51, TRN-100.
pub fn switching_protocols(accept: &str, protocol: Option<&str>) -> String {
    let (name, protocol, end) = match protocol {
        Some(protocol) => ("Sec-WebSocket-Protocol: ", protocol, "\r\n"),
        None => ("", "", ""),
    };
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{name}{protocol}{end}\r\n"
    )
}

/// A whole HTTP/1.1 answer after which the connection is closed; 429 and 503 say when to try again, and 426
/// what to ask for.
pub fn refusal(status: u16, json_body: &str) -> Vec<u8> {
    let reason = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Error",
    };
    let mut further = String::new();
    if let Some(after) = retry_after_s(status) {
        further += &format!("Retry-After: {after}\r\n");
    }
    if status == 426 {
        UPGRADE_REQUIRED
            .iter()
            .for_each(|(name, value)| further += &format!("{name}: {value}\r\n"));
    }
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\n{further}Connection: close\r\n\r\n{json_body}",
        json_body.len()
    )
    .into_bytes()
}
