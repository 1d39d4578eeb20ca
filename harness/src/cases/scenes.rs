//! Set-ups that many cases share: rooms with sessions in them, and polls that the server holds.

use std::time::Duration;

use serde_json::json;

use super::alive::{ASK, is_answered};
use super::checks::nothing;
use crate::client::ClientError;
use crate::client::chat::{Chat, is_roster_of};
use crate::client::http::{Connection, Request};
use crate::client::options::Options;
use crate::client::poller::Poller;
use crate::client::rest::User;
use crate::client::socket::Socket;
use crate::context::{Context, QUIET};
use crate::outcome::{Outcome, Stop, equal, fail, skip};

/// A new room with the session under test in it.
pub fn guest_in_room(context: &Context) -> Result<(u64, Chat), Stop> {
    let room = context.room()?;
    Ok((room, guest_in(context, room)?))
}

/// A new room with an observer in it.
pub fn watched_room(context: &Context) -> Result<(u64, Chat), Stop> {
    let room = context.room()?;
    Ok((room, observer_in(context, room, "witness")?))
}

/// A new room with the session under test and an observer in it.
pub fn guest_and_witness(context: &Context) -> Result<(u64, Chat, Chat), Stop> {
    let (room, witness) = watched_room(context)?;
    Ok((room, guest_in(context, room)?, witness))
}

/// The same, once the observer has seen the session under test join.
pub fn guest_and_witness_met(context: &Context) -> Result<(u64, Chat, Chat), Stop> {
    let (room, guest, witness) = guest_and_witness(context)?;
    witness.roster_of(room, &[witness.user.id, guest.user.id])?;
    Ok((room, guest, witness))
}

/// A new user's session under test, as a member of the room.
pub fn guest_in(context: &Context, room: u64) -> Result<Chat, Stop> {
    let guest = context.guest("guest")?;
    guest.join(room)?;
    Ok(guest)
}

/// An observer as a member of the room.
pub fn observer_in(context: &Context, room: u64, label: &str) -> Result<Chat, Stop> {
    let observer = context.observer(label)?;
    observer.join(room)?;
    Ok(observer)
}

/// A new room with an observer and a polling session in it, and the user of the latter.
pub fn polling_member(context: &Context) -> Result<(u64, Chat, User, Poller), Stop> {
    let (room, witness) = watched_room(context)?;
    let user = context.user()?;
    let poller = context.poller_of(&user)?;
    poller.connect()?;
    poller.post_message(&format!("2[\"room\",{{\"roomid\":{room}}}]"))?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    Ok((room, witness, user, poller))
}

/// `count` users with one session each.
pub fn crowd(context: &Context, count: usize) -> Result<Vec<Chat>, Stop> {
    (0..count).map(|index| context.observer(&format!("crowd{index}"))).collect()
}

/// All join, one after the other.
pub fn join_all<'a>(chats: impl IntoIterator<Item = &'a Chat>, room: u64) -> Outcome {
    chats.into_iter().try_for_each(|chat| chat.join(room).map(|_| ()))?;
    Ok(())
}

/// All join without waiting for each other; returns when each has its roster.
pub fn join_at_once(chats: &[Chat], room: u64) -> Outcome {
    for chat in chats {
        chat.emit("room", json!({ "roomid": room }))?;
    }
    for chat in chats {
        chat.event("room")?;
    }
    Ok(())
}

/// Each gets a roster event with exactly these users.
pub fn all_see(chats: &[Chat], room: u64, users: &[u64]) -> Outcome {
    for chat in chats {
        chat.roster_of(room, users)?;
    }
    Ok(())
}

/// Each gets the message.
pub fn all_hear(chats: &[Chat], text: &str) -> Outcome {
    for chat in chats {
        chat.message_with(text)?;
    }
    Ok(())
}

/// The member's next roster with exactly these users comes as `roomout`.
pub fn sees_leave(witness: &Chat, room: u64, left: &[u64]) -> Outcome {
    let event = witness.roster_of(room, left)?;
    equal("the event", &event.name, &"roomout".to_owned())
}

/// The id of a room that no case creates: a run uses ascending ids.
pub fn unknown_room(room: u64) -> u64 {
    1 + (room + 500_000_000) % 999_000_000
}

pub fn users_of(chats: &[Chat]) -> Vec<u64> {
    chats.iter().map(|chat| chat.user.id).collect()
}

pub fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

/// A session, and an event for which it can request acknowledgements.
pub fn asking_socket(context: &Context) -> Result<(Socket, &'static str), Stop> {
    if context.capabilities().chat {
        let user = context.user()?;
        let options = Options { token: Some(user.token), ..context.options() };
        return Ok((context.socket_with(options)?, "login"));
    }
    Ok((context.socket()?, "message-with-ack"))
}

/// The member's last roster of the room, once no roster event has arrived for a while.
pub fn last_roster(context: &Context, chat: &Chat, room: u64) -> Vec<u64> {
    let mut from = chat.socket.event_count();
    loop {
        context.pause(QUIET);
        let events = chat.socket.events_since(from);
        if !events.iter().any(|event| is_roster_of(event, room)) {
            return chat.roster(room);
        }
        from += events.len();
    }
}

/// The member gets no roster event after event `seen`.
pub fn no_roster_since(context: &Context, member: &Chat, seen: usize, room: u64) -> Outcome {
    context.pause(QUIET);
    let events = member.socket.events_since(seen);
    let event = events.into_iter().find(|event| is_roster_of(event, room));
    nothing("no roster event for the other members", event)
}

pub fn max_payload(context: &Context) -> Result<usize, Stop> {
    match context.capabilities().max_payload {
        Some(bytes) => Ok(bytes as usize),
        None => Err(Stop::Skip("the open packet has no maxPayload".to_owned())),
    }
}

/// A poll that the server holds, once it has sent everything that was due.
pub fn hold(context: &Context, poller: &Poller) -> Result<Connection, Stop> {
    poller.post_message(ASK)?;
    is_answered(&poller.poll()?)?;
    context.step("the server has nothing more to send");
    let mut connection = context.connection()?;
    connection.send(&Request::get(&poller.path()))?;
    match connection.receive(QUIET) {
        Err(ClientError::Timeout(_)) => Ok(connection),
        Ok(response) if response.text() == "2" => {
            // A ping arrived in between; the next poll is held.
            poller.post("3")?;
            connection.send(&Request::get(&poller.path()))?;
            context.pause(QUIET);
            Ok(connection)
        }
        Ok(response) => fail(
            "the poll is held while the server has nothing to send",
            format!("it is answered with {}", response.text()),
        ),
        Err(other) => Err(other.into()),
    }
}

/// How long a case waits for the connect timeout. The server does not announce it: without
/// --connect-timeout it may be as long as the default, 45 s.
pub fn connect_timeout(context: &Context) -> Duration {
    const SLACK: Duration = Duration::from_secs(3);
    match context.run.connect_timeout {
        Some(known) => known + SLACK,
        None => Duration::from_secs(if context.run.slow { 50 } else { 6 }),
    }
}

/// The session is still open after [`connect_timeout`].
pub fn outlives_connect_timeout(context: &Context) -> Outcome {
    let timeout = connect_timeout(context);
    if context.run.slow || context.run.connect_timeout.is_some() {
        return fail("close code 4003", format!("the session is open after {timeout:?}"));
    }
    skip(format!(
        "the target waits longer than {timeout:?} for CONNECT; run with --slow or --connect-timeout"
    ))
}
