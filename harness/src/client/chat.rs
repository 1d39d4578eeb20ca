//! A chat user's session: sends the events of the chat and waits for them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::ClientError;
use super::options::Options;
use super::rest::User;
use super::socket::Socket;
use super::state::Event;
use super::target::Target;
use super::transcript::Log;

pub struct Chat {
    pub socket: Socket,
    pub user: User,
    pub wait: Duration,
}

impl Chat {
    pub fn connect(
        target: &Target,
        options: Options,
        user: &User,
        log: &Log,
        wait: Duration,
    ) -> Result<Chat, ClientError> {
        let options = Options { token: Some(user.token.clone()), ..options };
        let socket = Socket::connect(target, options, log)?;
        Ok(Chat { socket, user: user.clone(), wait })
    }

    /// Emits and returns the acknowledgement's argument.
    pub fn ask(&self, name: &str, arg: Value) -> Result<Value, ClientError> {
        self.socket.ask(name, &[arg], self.wait)
    }

    /// Emits events without waiting in between; returns their acknowledgements.
    pub fn ask_all<'a>(
        &self,
        events: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Result<Vec<Value>, ClientError> {
        let ids = events.into_iter().map(|(name, arg)| self.socket.emit_with_id(name, &[arg]));
        let ids = ids.collect::<Result<Vec<u64>, _>>()?;
        ids.into_iter().map(|id| self.socket.wait_ack(id, self.wait)).collect()
    }

    pub fn emit(&self, name: &str, arg: Value) -> Result<(), ClientError> {
        self.socket.emit(name, &[arg])
    }

    /// Joins and waits for the acknowledgement.
    pub fn join(&self, room: u64) -> Result<Value, ClientError> {
        self.expect_ok("room", json!({ "roomid": room }))
    }

    pub fn join_as(&self, room: u64, presence: &str) -> Result<Value, ClientError> {
        self.expect_ok("room", json!({ "roomid": room, "presence": presence }))
    }

    pub fn leave(&self, room: u64) -> Result<Value, ClientError> {
        self.expect_ok("roomout", json!({ "roomid": room }))
    }

    /// Leaves the room in one of the ways that cases are about.
    pub fn end_by(&mut self, way: &str, room: u64) -> Result<(), ClientError> {
        match way {
            "roomout" => drop(self.leave(room)?),
            end => self.socket.end_by(end)?,
        }
        Ok(())
    }

    pub fn say(&self, room: u64, text: &str) -> Result<Value, ClientError> {
        self.expect_ok("message", message(room, text))
    }

    /// Says it, and waits until `hearer` has the message; returns it as `hearer` sees it.
    pub fn say_to(&self, hearer: &Chat, room: u64, text: &str) -> Result<Value, ClientError> {
        self.say(room, text)?;
        hearer.message_with(text)
    }

    fn expect_ok(&self, name: &str, arg: Value) -> Result<Value, ClientError> {
        let answer = self.ask(name, arg)?;
        if answer["ok"] == json!(true) {
            Ok(answer)
        } else {
            Err(ClientError::Protocol(format!("{name} was refused: {answer}")))
        }
    }

    pub fn event(&self, name: &str) -> Result<Event, ClientError> {
        self.event_where(&format!("an event `{name}`"), |event| event.name == name)
    }

    /// Waits for the next event that `wanted` accepts.
    pub fn event_where(
        &self,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, ClientError> {
        self.socket.wait_event(self.wait, what, wanted)
    }

    /// Waits until a count member receives this number of users.
    pub fn online(&self, users: u64) -> Result<Event, ClientError> {
        self.event_where(&format!("presence with {users} online"), |event| {
            event.name == "presence" && event.arg(0)["online"] == users
        })
    }

    pub fn message_with(&self, text: &str) -> Result<Value, ClientError> {
        let what = format!("the message {text:?}");
        let event = self
            .event_where(&what, |event| event.name == "message" && event.arg(0)["msg"] == text)?;
        Ok(event.arg(0).clone())
    }

    /// Waits for the message that this acknowledgement is about.
    pub fn message_of(&self, ack: &Value) -> Result<Event, ClientError> {
        self.event_where("the acknowledged message", |event| {
            event.name == "message" && event.arg(0)["seq"] == ack["seq"]
        })
    }

    /// Waits for a roster event about the room that shows exactly these users.
    pub fn roster_of(&self, room: u64, users: &[u64]) -> Result<Event, ClientError> {
        let wanted: BTreeSet<u64> = users.iter().copied().collect();
        let what = format!("a roster of room {room} with the users {wanted:?}");
        self.event_where(&what, |event| {
            is_roster_of(event, room) && roster_ids(event.arg(0)) == wanted
        })
    }

    /// The user ids of the last roster of the room, ascending; none before the first.
    pub fn roster(&self, room: u64) -> Vec<u64> {
        let events = self.socket.events();
        let last = events.iter().rev().find(|event| is_roster_of(event, room));
        last.map(|event| roster_ids(event.arg(0)).into_iter().collect()).unwrap_or_default()
    }

    pub fn messages(&self, room: u64) -> Vec<Value> {
        let events = self.socket.events();
        let of_room = |event: &&Event| event.name == "message" && event.arg(0)["roomid"] == room;
        events.iter().filter(of_room).map(|event| event.arg(0).clone()).collect()
    }

    /// The texts of the room's messages, in the order received.
    pub fn texts(&self, room: u64) -> Vec<String> {
        let text = |message: &Value| message["msg"].as_str().unwrap_or("").to_owned();
        self.messages(room).iter().map(text).collect()
    }

    pub fn seqs(&self, room: u64) -> Vec<u64> {
        self.messages(room).iter().filter_map(|message| message["seq"].as_u64()).collect()
    }
}

pub fn message(room: u64, text: &str) -> Value {
    json!({ "msg": text, "img": "", "roomid": room, "time": "2026-11-23T00:31:11.784Z" })
}

pub fn is_roster_of(event: &Event, room: u64) -> bool {
    matches!(event.name.as_str(), "room" | "roomout") && event.arg(1)["room"] == room
}

/// The user ids of a roster object.
pub fn roster_ids(roster: &Value) -> BTreeSet<u64> {
    let keys = roster.as_object().into_iter().flat_map(|map| map.keys());
    keys.filter_map(|key| key.parse().ok()).collect()
}
