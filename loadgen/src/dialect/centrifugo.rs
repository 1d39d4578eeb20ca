//! Centrifugo's client protocol in JSON: commands with numbers, several replies and pushes in one message.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;

use super::broker::{Ask, Broker, Found, Greeting};
use super::form::TEXT;
use crate::scenario::MessageNames;

/// The number of the connect command; those of requests are higher.
const CONNECT: u32 = 1;

pub struct Centrifugo {
    field: String,
}

#[derive(Deserialize)]
struct Reply<'p> {
    id: Option<u32>,
    error: Option<Error>,
    connect: Option<Connected>,
    #[serde(borrow)]
    push: Option<Push<'p>>,
    subscribe: Option<IgnoredAny>,
    unsubscribe: Option<IgnoredAny>,
    publish: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Error {
    code: u32,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Connected {
    #[serde(default)]
    client: String,
}

#[derive(Deserialize)]
struct Push<'p> {
    #[serde(rename = "pub", borrow)]
    publication: Option<&'p RawValue>,
}

impl Centrifugo {
    pub(super) fn new(names: &MessageNames) -> Self {
        Self { field: names.field.clone().unwrap_or_else(|| "text".to_owned()) }
    }

    fn one<'p>(reply: &'p [u8]) -> Found<'p> {
        if reply == b"{}" {
            return Found::Reply("{}");
        }
        let reply: Reply<'p> = match serde_json::from_slice(reply) {
            Ok(reply) => reply,
            Err(_) => return Found::Error("unreadable reply".into()),
        };
        if let Some(push) = reply.push {
            return push
                .publication
                .map_or(Found::Other, |body| Found::Message(body.get().as_bytes()));
        }
        let refused = reply.error.map(|error| format!("{} {}", error.code, error.message));
        match (reply.id, reply.connect, refused) {
            (Some(CONNECT), _, Some(why)) => {
                Found::Ended(crate::ended::Ended::Refused(format!("connect {why}")))
            }
            (Some(CONNECT), Some(connected), None) => Found::Greeted(connected.client),
            (Some(id), _, refused) => {
                let is_known = reply.subscribe.is_some()
                    || reply.unsubscribe.is_some()
                    || reply.publish.is_some()
                    || refused.is_some();
                if is_known { Found::Answer { id, refused } } else { Found::Other }
            }
            (None, ..) => Found::Other,
        }
    }
}

impl Broker for Centrifugo {
    fn name_of_greeting(&self) -> &'static str {
        "the connect command"
    }

    fn greeting(&self, payload: &str) -> Greeting {
        let payload = if payload.is_empty() { "{}" } else { payload };
        Greeting::Send(format!("{{\"id\":{CONNECT},\"connect\":{payload}}}"))
    }

    fn has_leave(&self) -> bool {
        true
    }

    fn join(&self, ask: &Ask<'_>) -> String {
        json!({ "id": ask.id, "subscribe": { "channel": ask.room } }).to_string()
    }

    fn leave(&self, ask: &Ask<'_>) -> Option<String> {
        Some(json!({ "id": ask.id, "unsubscribe": { "channel": ask.room } }).to_string())
    }

    fn message(&self, ask: &Ask<'_>, has_ack: bool) -> String {
        let publish = json!({ "channel": ask.room, "data": { self.field.as_str(): TEXT } });
        // A command without a number has no reply.
        let id = if has_ack { format!("\"id\":{},", super::form::ID) } else { String::new() };
        format!("{{{id}\"publish\":{publish}}}")
    }

    fn read<'p>(&self, payload: &'p [u8], take: &mut dyn FnMut(Found<'p>)) {
        let replies = payload.split(|byte| *byte == b'\n').filter(|reply| !reply.is_empty());
        replies.for_each(|reply| take(Self::one(reply)));
    }
}
