use std::fmt::Write;

use crate::sio::put_json_str;

/// The first packet of a session. Spec: EIO-1 to EIO-5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open<'a> {
    /// Secret id of the session: 20 characters of `A–Z a–z 0–9 - _`.
    pub sid: &'a str,
    /// Whether a polling session may move to WebSocket.
    pub upgrades_websocket: bool,
    /// Time between two pings, in ms.
    pub ping_interval_ms: u32,
    /// Time a pong may take, in ms.
    pub ping_timeout_ms: u32,
    /// Bytes of the longest message or polling body the server takes.
    pub max_payload: u32,
}

impl Open<'_> {
    /// Appends the open packet, `0{"sid":…}`.
    pub fn write(&self, out: &mut String) {
        out.push_str("0{\"sid\":");
        put_json_str(out, self.sid);
        out.push_str(",\"upgrades\":[");
        if self.upgrades_websocket {
            out.push_str("\"websocket\"");
        }
        write!(
            out,
            "],\"pingInterval\":{},\"pingTimeout\":{},\"maxPayload\":{}}}",
            self.ping_interval_ms, self.ping_timeout_ms, self.max_payload
        )
        .expect("writing to a String cannot fail");
    }
}
