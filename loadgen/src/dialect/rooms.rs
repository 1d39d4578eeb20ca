//! A Socket.IO server whose events a file names.

use std::collections::HashSet;

use serde_json::Value;
use throng_events::{Events, Values};

use super::broker::Ask;
use super::form::TEXT;

pub struct Rooms {
    pub events: Events,
    pub has_text_alone: bool,
}

impl Rooms {
    #[must_use]
    pub fn new(events: Events) -> Self {
        let has_text_alone = events.message.has_text_alone() && events.heard.has_text_alone();
        Self { events, has_text_alone }
    }

    pub(super) fn join(&self, ask: &Ask<'_>) -> String {
        format!("42{}{}", ask.id, self.events.join.data(&values(ask)))
    }

    pub(super) fn leave(&self, ask: &Ask<'_>) -> Option<String> {
        let leave = self.events.leave.as_ref()?;
        Some(format!("42{}{}", ask.id, leave.data(&values(ask))))
    }

    pub(super) fn message(&self, ask: &Ask<'_>) -> String {
        self.events.message.data(&values(ask)).to_string()
    }

    /// Whether an ack with these arguments is a refusal.
    #[must_use]
    pub fn is_refusal(&self, args: &[u8]) -> bool {
        let args: Result<Vec<Value>, _> = serde_json::from_slice(args);
        args.is_ok_and(|args| self.events.is_refused(&args))
    }

    /// Whether the event is what a member of `room` hears of a message that holds `mark`.
    #[must_use]
    pub fn is_heard(&self, event: &[u8], room: &str, mark: &str) -> bool {
        let Ok(event) = serde_json::from_slice::<Value>(event) else { return false };
        self.events.heard.fit_data(&event).is_some_and(|found| {
            found.room.is_none_or(|named| named == room)
                && found.text.is_some_and(|text| text.contains(mark))
        })
    }

    /// Whether an event of this name may be a roster.
    #[must_use]
    pub fn is_roster(&self, name: &str) -> bool {
        self.events.roster.as_ref().is_some_and(|roster| roster.is_named(name))
    }

    /// The members that a roster of `room` names.
    #[must_use]
    pub fn members(&self, event: &[u8], room: &str) -> Option<u32> {
        let event: Value = serde_json::from_slice(event).ok()?;
        let found = self.events.roster.as_ref()?.fit_data(&event)?;
        let is_it = found.room.is_none_or(|named| named == room);
        let members = || found.members.iter().collect::<HashSet<_>>().len();
        is_it.then(|| u32::try_from(members()).unwrap_or(u32::MAX))
    }
}

fn values<'a>(ask: &Ask<'a>) -> Values<'a> {
    Values { room: ask.room, text: TEXT, member: ask.member }
}

/// The name of the event that begins so: `["name"`; none if it has escapes.
#[must_use]
pub fn name_of(event: &[u8]) -> Option<&str> {
    let rest = event.strip_prefix(b"[\"")?;
    let end = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(&rest[..end]).ok().filter(|name| !name.contains('\\'))
}
