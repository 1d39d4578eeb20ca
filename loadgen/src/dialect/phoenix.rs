//! Phoenix channels, version 2 of the protocol: lists of join reference, reference, topic, event and payload.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::broker::{Ask, Broker, Found, Greeting};
use super::form::{ID, TEXT};
use crate::ended::Ended;
use crate::scenario::MessageNames;

pub struct Phoenix {
    event: String,
    field: String,
}

/// References are strings or null.
#[derive(Deserialize)]
struct Packet<'p>(
    IgnoredAny,
    Option<String>,
    #[serde(borrow)] Cow<'p, str>,
    #[serde(borrow)] Cow<'p, str>,
    #[serde(borrow)] &'p RawValue,
);

#[derive(Deserialize)]
struct Reply {
    status: String,
    #[serde(default)]
    response: Value,
}

impl Phoenix {
    pub(super) fn new(names: &MessageNames) -> Self {
        let or =
            |given: &Option<String>, default: &str| given.clone().unwrap_or(default.to_owned());
        Self { event: or(&names.event, "new_msg"), field: or(&names.field, "body") }
    }
}

/// The join reference of a room: the same for each stay, since a channel ends with its leave.
fn join_ref(ask: &Ask<'_>) -> String {
    format!("j{}", ask.room_number)
}

impl Broker for Phoenix {
    fn name_of_greeting(&self) -> &'static str {
        "the WebSocket upgrade"
    }

    fn greeting(&self, _: &str) -> Greeting {
        Greeting::None
    }

    fn has_leave(&self) -> bool {
        true
    }

    fn join(&self, ask: &Ask<'_>) -> String {
        let payload = if ask.payload.is_empty() { "{}" } else { ask.payload };
        let (join_ref, room) = (join_ref(ask), Value::from(ask.room));
        format!("[\"{join_ref}\",\"{}\",{room},\"phx_join\",{payload}]", ask.id)
    }

    fn leave(&self, ask: &Ask<'_>) -> Option<String> {
        let packet = json!([join_ref(ask), ask.id.to_string(), ask.room, "phx_leave", {}]);
        Some(packet.to_string())
    }

    fn message(&self, ask: &Ask<'_>, has_ack: bool) -> String {
        // Without a reference there is no reply.
        let reference = if has_ack { Value::from(ID) } else { Value::Null };
        json!([join_ref(ask), reference, ask.room, self.event, { self.field.as_str(): TEXT }])
            .to_string()
    }

    fn heartbeat(&self) -> Option<(Duration, &'static str)> {
        Some((Duration::from_secs(30), r#"[null,"beat","phoenix","heartbeat",{}]"#))
    }

    fn read<'p>(&self, payload: &'p [u8], take: &mut dyn FnMut(Found<'p>)) {
        let Ok(packet) = serde_json::from_slice::<Packet<'p>>(payload) else {
            return take(Found::Error("unreadable packet".into()));
        };
        let Packet(_, reference, topic, event, body) = packet;
        take(match &*event {
            "phx_reply" => match reference.as_deref().map(str::parse) {
                Some(Ok(id)) => Found::Answer { id, refused: refusal(body) },
                _ => Found::Other,
            },
            "phx_error" => Found::Ended(Ended::Refused(format!("phx_error of {topic}"))),
            event if event == self.event => Found::Message(body.get().as_bytes()),
            _ => Found::Other,
        });
    }
}

fn refusal(body: &RawValue) -> Option<String> {
    let Ok(reply) = serde_json::from_str::<Reply>(body.get()) else {
        return Some("unreadable reply".into());
    };
    if reply.status == "ok" {
        return None;
    }
    let reason = reply.response["reason"].as_str().map(str::to_owned);
    Some(reason.unwrap_or_else(|| reply.response.to_string()).chars().take(40).collect())
}
