//! Limits and times of the reference server, and its defect.

use std::time::Duration;

use crate::defect::Defect;

#[derive(Clone, Debug)]
pub struct Options {
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub connect_timeout: Duration,
    pub upgrade_timeout: Duration,
    pub max_payload: usize,
    /// The same until the session's user is known.
    pub anonymous_payload_max: usize,
    /// Sessions without a user.
    pub anonymous_sessions_max: usize,
    /// Bytes that wait for one client.
    pub outbound_bytes_max: usize,
    pub unread_window: Duration,
    pub message_chars_max: usize,
    pub attachments_max: u64,
    pub image_bytes_max: usize,
    pub rooms_per_session_max: usize,
    pub login_failures_max: u32,
    pub defect: Option<Defect>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ping_interval: Duration::from_millis(1_000),
            ping_timeout: Duration::from_millis(2_000),
            connect_timeout: Duration::from_millis(3_000),
            upgrade_timeout: Duration::from_millis(3_000),
            max_payload: 1_000_000,
            anonymous_payload_max: 16_384,
            anonymous_sessions_max: 200,
            outbound_bytes_max: 8 << 20,
            unread_window: Duration::from_millis(200),
            message_chars_max: 2_000,
            attachments_max: 10,
            image_bytes_max: 700_000,
            rooms_per_session_max: 32,
            login_failures_max: 10,
            defect: None,
        }
    }
}
