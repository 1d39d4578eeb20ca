//! The events file: how a Socket.IO room server names what every room server has.
//!
//! ```toml
//! join    = ["enter", "{room}"]                       # what a client emits, each with an ack
//! leave   = ["exit", "{room}"]
//! message = ["talk", { room = "{room}", body = "{text}" }]
//! refused = [{ ok = false }]                          # optional: an ack that fits is a refusal
//! heard   = ["talked", { room = "{room}", who = "{member}", body = "{text}" }]
//! roster  = ["people", { room = "{room}", people = [{ id = "{member}" }] }]
//! ```
//!
//! `{room}` and `{text}` are any strings, `{member}` is a Socket.IO id. A placeholder is a whole string or a part of
//! one, also in the name of an event. What a template does not name passes: further members of an object, and further
//! arguments. A list of one template stands for any length. `leave`, `refused` and `roster` may be absent.
//!
//! ```
//! use serde_json::json;
//! use throng_events::{Events, Values};
//!
//! let text = r#"
//!     join = ["enter", "{room}"]
//!     message = ["talk", { room = "{room}", body = "{text}" }]
//!     heard = ["talked", { who = "{member}", body = "{text}" }]
//! "#;
//! let events = Events::parse(text, "events.toml").unwrap();
//! let values = Values { room: "red", text: "hello", member: "" };
//! assert_eq!(events.join.name(&values), "enter");
//! assert_eq!(events.message.args(&values), [json!({ "room": "red", "body": "hello" })]);
//! let args = [json!({ "who": "a1", "body": "hello", "at": 3 })];
//! let captured = events.heard.fit("talked", &args).unwrap();
//! assert_eq!((captured.text, captured.members), (Some("hello"), vec!["a1"]));
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod event;
mod placeholder;
mod template;
mod text;

use std::path::Path;

use serde_json::Value;
use toml::{Table, Value as Toml};

pub use error::Error;
use event::check_one_place;
pub use event::{Emit, Received};
use placeholder::Placeholder;
pub use placeholder::{Captured, Values};
use template::{Template, fit_args};

/// What an events file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    /// How a client joins a room.
    pub join: Emit,
    /// How a client leaves a room; `None`: only by ending its session.
    pub leave: Option<Emit>,
    /// How a client sends a text to a room.
    pub message: Emit,
    /// How a member receives a text.
    pub heard: Received,
    /// How a member receives who is in a room; `None`: it does not.
    pub roster: Option<Received>,
    refused: Option<Vec<Template>>,
}

/// The keys of the file.
const KEYS: [&str; 6] = ["join", "leave", "message", "refused", "heard", "roster"];

impl Events {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is not an events file; the text names the file, and the key.
    pub fn read(path: &Path) -> Result<Events, Error> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| Error::of(&file, why))?;
        Events::parse(&text, &file)
    }

    /// Parses the text of a file; `file` is its name in errors.
    ///
    /// # Errors
    /// It is not an events file; the text names the file, and the key.
    pub fn parse(text: &str, file: &str) -> Result<Events, Error> {
        let table: Table = text.parse().map_err(|why| Error::of(file, why))?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let keys = KEYS.join(", ");
            return Err(Error::of(file, format!("unknown key `{key}`; the keys are {keys}")));
        }
        let emit =
            |key, wanted: &[Placeholder]| optional(&table, key, |value| Emit::parse(value, wanted));
        let received = |key, wanted: &[Placeholder]| {
            optional(&table, key, |value| Received::parse(value, wanted))
        };
        let events = || {
            Ok(Events {
                join: needed("join", emit("join", &[Placeholder::Room])?)?,
                leave: emit("leave", &[Placeholder::Room])?,
                message: needed(
                    "message",
                    emit("message", &[Placeholder::Room, Placeholder::Text])?,
                )?,
                heard: needed("heard", received("heard", &[Placeholder::Text])?)?,
                roster: received("roster", &[Placeholder::Member])?,
                refused: optional(&table, "refused", refused)?,
            })
        };
        events().map_err(|why: String| Error::of(file, why))
    }

    /// Whether an acknowledgement with these arguments refuses what was asked.
    pub fn is_refused(&self, args: &[Value]) -> bool {
        let fits = |templates: &Vec<Template>| {
            fit_args(templates, args, &mut Captured::default()).is_some()
        };
        self.refused.as_ref().is_some_and(fits)
    }
}

fn optional<T>(
    table: &Table,
    key: &str,
    parse: impl FnOnce(&Toml) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let value = table.get(key).map(parse).transpose();
    value.map_err(|why| format!("{key}: {why}"))
}

fn needed<T>(key: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("the key `{key}` is missing"))
}

/// The arguments of an acknowledgement that is a refusal.
fn refused(value: &Toml) -> Result<Vec<Template>, String> {
    let args = value.as_array().filter(|args| !args.is_empty());
    let args = args.ok_or("must be a list of the arguments of an acknowledgement")?;
    let args = args.iter().map(Template::parse).collect::<Result<Vec<_>, _>>()?;
    check_one_place(args.iter().flat_map(Template::texts))?;
    Ok(args)
}

#[cfg(test)]
mod tests;
