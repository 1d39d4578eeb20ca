//! Pusher channels, version 7 of the protocol, with client events: a message does not come back to its
//! publisher, and neither a message nor an end of a subscription is answered.

use std::borrow::Cow;

use anyhow::bail;
use data_encoding::HEXLOWER;
use ring::hmac;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::broker::{Ask, Broker, Found, Greeting};
use super::form::TEXT;
use crate::ended::Ended;
use crate::scenario::MessageNames;

pub struct Pusher {
    event: String,
    field: String,
    /// Key and secret of the application.
    credentials: Option<(String, hmac::Key)>,
}

#[derive(Deserialize)]
struct Packet<'p> {
    #[serde(borrow)]
    event: Cow<'p, str>,
    #[serde(default, borrow)]
    channel: Option<Cow<'p, str>>,
    #[serde(default, borrow)]
    data: Option<&'p RawValue>,
}

impl Pusher {
    /// `secret`: `KEY:SECRET`.
    ///
    /// # Errors
    /// It has no colon.
    pub(super) fn new(names: &MessageNames, secret: Option<String>) -> anyhow::Result<Self> {
        let or =
            |given: &Option<String>, default: &str| given.clone().unwrap_or(default.to_owned());
        let credentials = match secret.as_deref().map(|text| text.split_once(':')) {
            None => None,
            Some(None) => bail!("access.pusher_secret_file: KEY:SECRET is needed"),
            Some(Some((key, secret))) => {
                Some((key.to_owned(), hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
            }
        };
        let (event, field) = (or(&names.event, "client-message"), or(&names.field, "text"));
        Ok(Self { event, field, credentials })
    }

    fn data(&self, packet: &Packet<'_>) -> Value {
        // Data of the protocol's own events are JSON within a string, or JSON.
        let value = packet.data.and_then(|data| serde_json::from_str(data.get()).ok());
        match value {
            Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or(Value::Null),
            value => value.unwrap_or(Value::Null),
        }
    }
}

impl Broker for Pusher {
    fn name_of_greeting(&self) -> &'static str {
        "the WebSocket with pusher:connection_established"
    }

    fn greeting(&self, _: &str) -> Greeting {
        Greeting::Await
    }

    fn has_leave(&self) -> bool {
        false
    }

    fn join(&self, ask: &Ask<'_>) -> String {
        let mut data = json!({ "channel": ask.room });
        let mut signed = format!("{}:{}", ask.member, ask.room);
        if ask.room.starts_with("presence-") {
            let who = json!({ "user_id": ask.member }).to_string();
            signed = format!("{signed}:{who}");
            data["channel_data"] = who.into();
        }
        if let Some((key, secret)) = &self.credentials {
            let signature = HEXLOWER.encode(hmac::sign(secret, signed.as_bytes()).as_ref());
            data["auth"] = format!("{key}:{signature}").into();
        }
        json!({ "event": "pusher:subscribe", "data": data }).to_string()
    }

    fn leave(&self, _: &Ask<'_>) -> Option<String> {
        None
    }

    fn message(&self, ask: &Ask<'_>, _: bool) -> String {
        let data = json!({ self.field.as_str(): TEXT });
        json!({ "event": self.event, "channel": ask.room, "data": data }).to_string()
    }

    fn read<'p>(&self, payload: &'p [u8], take: &mut dyn FnMut(Found<'p>)) {
        let Ok(packet) = serde_json::from_slice::<Packet<'p>>(payload) else {
            return take(Found::Error("unreadable packet".into()));
        };
        let room = || packet.channel.as_deref().unwrap_or_default().to_owned();
        take(match &*packet.event {
            event if event == self.event => {
                packet.data.map_or(Found::Other, |data| Found::Message(data.get().as_bytes()))
            }
            "pusher:connection_established" => {
                let member =
                    self.data(&packet)["socket_id"].as_str().unwrap_or_default().to_owned();
                Found::Greeted(member)
            }
            "pusher_internal:subscription_succeeded" => {
                Found::Joined { room: room(), refused: None }
            }
            "pusher:subscription_error" => {
                let why =
                    self.data(&packet)["error"].as_str().unwrap_or("subscription_error").to_owned();
                Found::Joined { room: room(), refused: Some(why) }
            }
            "pusher:ping" => Found::Reply(r#"{"event":"pusher:pong","data":{}}"#),
            "pusher:error" => {
                let data = self.data(&packet);
                let why = format!("pusher:error {} {}", data["code"], data["message"]);
                match data["code"].as_u64() {
                    // From 4000 to 4299 the connection is over.
                    Some(4000..=4299) => Found::Ended(Ended::Refused(why)),
                    _ => Found::Error(why),
                }
            }
            _ => Found::Other,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_signed_as_the_documentation_says() {
        // The examples of "Authorization signatures".
        let pusher = Pusher::new(
            &MessageNames::default(),
            Some("278d425bdf160c739803:7ad3773142a6692b25b8".to_owned()),
        )
        .unwrap();
        let ask =
            Ask { id: 2, room: "private-foobar", room_number: 1, member: "1234.1234", payload: "" };
        let packet: Value = serde_json::from_str(&pusher.join(&ask)).unwrap();
        assert_eq!(
            packet["data"]["auth"],
            "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
        );
    }
}
