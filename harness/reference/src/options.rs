//! Limits and times of the reference server, and its defect.

use std::sync::Arc;
use std::time::Duration;

use crate::defect::Defect;
use crate::rule::Rule;

/// How many of something at once, and how many in a second after that.
#[derive(Clone, Copy, Debug)]
pub struct EventRate {
    pub per_s: f64,
    pub burst: f64,
}

/// Limits that an operator may lift (LIM-27).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Messages of a user (LIM-20).
    pub messages: Option<EventRate>,
    /// Joins of a user (LIM-21).
    pub joins: Option<EventRate>,
    /// Requests of a client without a valid token, registrations and logins, in a minute (LIM-24).
    pub api_per_minute: Option<u32>,
    /// Joins create rooms (LIM-16).
    pub creates_rooms: bool,
}

impl Limits {
    /// Exactly what the text says by default.
    pub fn of_the_text() -> Limits {
        Limits {
            messages: Some(EventRate { per_s: 20.0, burst: 60.0 }),
            joins: Some(EventRate { per_s: 10.0, burst: 40.0 }),
            api_per_minute: Some(60),
            creates_rooms: false,
        }
    }

    pub fn lifted() -> Limits {
        Limits { messages: None, joins: None, api_per_minute: None, creates_rooms: true }
    }
}

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
    pub limits: Limits,
    /// The id of the first message: ids of long-lived servers do not fit into 31 bits.
    pub first_message_id: u64,
    pub defect: Option<Defect>,
    /// How many of something the defects of more than a few still handle.
    pub few: usize,
    /// A change of what enters and leaves.
    pub rule: Option<Arc<Rule>>,
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
            outbound_bytes_max: 1 << 20,
            unread_window: Duration::from_millis(200),
            message_chars_max: 2_000,
            attachments_max: 10,
            image_bytes_max: 700_000,
            rooms_per_session_max: 64,
            login_failures_max: 10,
            limits: Limits::lifted(),
            first_message_id: (1 << 31) - 20,
            defect: None,
            few: 3,
            rule: None,
        }
    }
}
