//! What must hold while a script runs, and at rest.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Play;
use super::actors::{Actor, Stage, violation};
use super::model::{Connection, Interval, Until};
use super::script::{Mode, ROOMS};
use crate::client::chat::{is_roster_of, message, roster_ids};
use crate::client::state::Event;
use crate::outcome::shown;

fn eventually(stage: &Stage<'_>, mut look: impl FnMut() -> Play<()>) -> Play<()> {
    let deadline = Instant::now() + stage.timeout;
    loop {
        let outcome = look();
        if outcome.is_ok() || Instant::now() >= deadline {
            return outcome;
        }
        thread::sleep(Duration::from_millis(15));
    }
}

/// The observers' rosters agree with the model.
pub fn presence_settles(stage: &Stage<'_>) -> Play<()> {
    for observer in &stage.observers {
        let (actor, room) = (&observer.actor, observer.room);
        eventually(stage, || roster_is_right(stage, actor, room, Mode::Full))?;
    }
    Ok(())
}

/// Waits until every node has the state after the last step: updates between nodes take time
/// (NODE-11), and the model of the next step must be exact.
pub fn nodes_agree(stage: &Stage<'_>) -> Play<()> {
    if stage.context.nodes() < 2 {
        return Ok(());
    }
    for observer in &stage.observers {
        let (actor, room) = (&observer.actor, observer.room);
        let wanted = stage.model.seq[room];
        let joined_at =
            stage.model.live.get(&actor.number).and_then(|connection| {
                connection.current(room).map(|interval| interval.after_must)
            });
        if joined_at.is_none_or(|seq| seq >= wanted) {
            continue;
        }
        eventually(stage, || {
            let seen = actor.chat.seqs(stage.rooms[room]);
            if seen.contains(&wanted) {
                return Ok(());
            }
            let expected = format!("message {wanted} of room {room} on node {}", actor.node);
            Err(violation("NODE-5", expected, format!("its member has {seen:?}")))
        })?;
    }
    presence_settles(stage)
}

pub fn at_rest(stage: &mut Stage<'_>) -> Play<()> {
    presence_settles(stage)?;
    let members: Vec<(usize, usize, Mode)> = memberships(stage);
    for &(number, room, mode) in &members {
        if let Some(actor) = stage.actor(number) {
            eventually(stage, || roster_is_right(stage, actor, room, mode))?;
        }
    }
    sentinels(stage)?;
    for actor in stage.all() {
        let connection =
            stage.model.live.get(&actor.number).or(stage.model.ended.get(&actor.number));
        if let Some(connection) = connection {
            deliveries_are_right(stage, actor, connection)?;
            versions_are_right(stage, actor)?;
            acks_are_right(actor)?;
        }
    }
    unread_is_right(stage)
}

/// No session gets an event while nothing happens, and none ends.
pub fn nothing_comes(stage: &Stage<'_>, soak: Duration) -> Play<()> {
    // What is due already: counts, and rosters that were delayed.
    thread::sleep(Duration::from_secs(1).min(soak));
    let before: Vec<(&Actor, usize)> =
        stage.live().map(|actor| (actor, actor.chat.socket.event_count())).collect();
    thread::sleep(soak);
    for (actor, from) in before {
        let number = actor.number;
        // Other cases send messages in other rooms.
        let is_of_others = |event: &&Event| {
            let counted = event.arg(0).as_object().into_iter().flat_map(|counts| counts.keys());
            let is_own =
                |key: &String| stage.rooms.iter().any(|room| *key == format!("room{room}"));
            event.name == "count" && !counted.into_iter().any(is_own)
        };
        let events = actor.chat.socket.events_since(from);
        if let Some(event) = events.iter().find(|event| !is_of_others(event)) {
            let expected = format!("no event for session {number} while nothing happens");
            return Err(violation("CHAT-102", expected, shown(&event)));
        }
        if let Some(ending) = actor.chat.socket.ending() {
            let expected = format!("session {number} stays open while nothing happens");
            return Err(violation("CHAT-101", expected, shown(&ending)));
        }
    }
    Ok(())
}

fn memberships(stage: &Stage<'_>) -> Vec<(usize, usize, Mode)> {
    stage
        .model
        .live
        .iter()
        .flat_map(|(number, connection)| {
            let current = connection.intervals.iter().filter(|interval| interval.until.is_none());
            current.map(|interval| (*number, interval.room, interval.mode))
        })
        .collect()
}

/// What the member's presence events add up to: user ids, or their number for a count member.
fn roster_seen(events: &[Event], room: u64) -> (Option<Vec<u64>>, Option<u64>) {
    let mut users: Option<std::collections::BTreeSet<u64>> = None;
    let mut online = None;
    for event in events {
        if is_roster_of(event, room) {
            users = Some(roster_ids(event.arg(0)));
            online = event.arg(1)["online"].as_u64();
        } else if event.name == "presence" && event.arg(0)["room"] == json!(room) {
            online = event.arg(0)["online"].as_u64();
            let list = |key: &str| event.arg(0)[key].as_array().cloned().unwrap_or_default();
            if let Some(users) = &mut users {
                for user in list("left") {
                    users.remove(&user.as_u64().unwrap_or(0));
                }
                users.extend(list("joined").iter().filter_map(|entry| entry["id"].as_u64()));
            }
        }
    }
    (users.map(|users| users.into_iter().collect()), online)
}

fn roster_is_right(stage: &Stage<'_>, actor: &Actor, room: usize, mode: Mode) -> Play<()> {
    let wanted = stage.present_ids(room);
    let (users, online) = roster_seen(&actor.chat.socket.events(), stage.rooms[room]);
    let who = format!("session {} in room {room}", actor.number);
    if let Some(ending) = actor.chat.socket.ending() {
        return Err(violation("CHAT-84", format!("{who} stays open"), shown(&ending)));
    }
    if mode == Mode::Count {
        let wanted = wanted.len() as u64;
        if online == Some(wanted) {
            return Ok(());
        }
        return Err(violation(
            "PRES-41",
            format!("{wanted} online for {who}"),
            format!("{online:?}"),
        ));
    }
    let users = users.unwrap_or_default();
    if users == wanted {
        return Ok(());
    }
    let ghost = users.iter().find(|user| !wanted.contains(user));
    let clause = match (mode, ghost) {
        (Mode::Delta, _) => "PRES-32",
        (_, Some(ghost)) if cut_off(stage, room, *ghost) => "CHAT-80",
        (_, Some(_)) => "PRES-21",
        (_, None) => "PRES-20",
    };
    Err(violation(clause, format!("the roster {wanted:?} for {who}"), format!("{users:?}")))
}

/// Whether a session of the user was in the room when its connection was lost.
fn cut_off(stage: &Stage<'_>, room: usize, user: u64) -> bool {
    stage.model.ended.values().any(|connection| {
        stage.users[connection.user].id == user
            && connection.intervals.iter().any(|interval| {
                interval.room == room && matches!(interval.until, Some(Until::Cut(_)))
            })
    })
}

/// One last message per room: when all members have it, everything before it has arrived too.
fn sentinels(stage: &mut Stage<'_>) -> Play<()> {
    for room in 0..ROOMS {
        let id = stage.rooms[room];
        let answer = stage.ask(stage.observer(room), "message", message(id, "the end"))?;
        let wanted = stage.model.seq[room] + 1;
        if answer["seq"] != json!(wanted) {
            let expected = format!("seq {wanted} for the next message");
            return Err(violation("CHAT-60", expected, answer.to_string()));
        }
        stage.model.seq[room] = wanted;
        for number in stage.model.members(room) {
            let Some(actor) = stage.actor(number) else { continue };
            eventually(stage, || {
                let seen = actor.chat.seqs(id);
                if seen.contains(&wanted) {
                    return Ok(());
                }
                let expected = format!("message {wanted} of room {room} for session {number}");
                Err(violation("CHAT-25", expected, format!("it has {seen:?}")))
            })?;
        }
    }
    Ok(())
}

fn deliveries_are_right(stage: &Stage<'_>, actor: &Actor, connection: &Connection) -> Play<()> {
    let events = actor.chat.socket.events();
    for event in events.iter().filter(|event| event.name == "message") {
        let room = stage.rooms.iter().position(|id| event.arg(0)["roomid"] == json!(id));
        if room.is_none() {
            let expected = format!("messages of its own rooms for session {}", actor.number);
            return Err(violation("CHAT-52", expected, event.arg(0).to_string()));
        }
    }
    for room in 0..ROOMS {
        let seen = actor.chat.seqs(stage.rooms[room]);
        let who = format!("session {} in room {room}", actor.number);
        let repeated = seen.windows(2).find(|pair| pair[0] >= pair[1]);
        if let Some(pair) = repeated {
            let expected = format!("each message once and in order for {who}");
            return Err(violation(
                "CHAT-61",
                expected,
                format!("{} then {} in {seen:?}", pair[0], pair[1]),
            ));
        }
        let intervals: Vec<&Interval> =
            connection.intervals.iter().filter(|interval| interval.room == room).collect();
        for &seq in &seen {
            let allowed = intervals.iter().any(|interval| may_have(interval, seq));
            if !allowed {
                let clause = stray_clause(&intervals, seq);
                let expected = format!("only messages of its memberships for {who}: {intervals:?}");
                return Err(violation(clause, expected, format!("message {seq}")));
            }
        }
        for interval in intervals {
            complete(interval, &seen, stage.model.seq[room], &who)?;
        }
    }
    Ok(())
}

fn may_have(interval: &Interval, seq: u64) -> bool {
    let until = match interval.until {
        Some(Until::Left(until) | Until::Moved(until)) => until,
        Some(Until::Cut(_)) | None => u64::MAX,
    };
    seq > interval.after_may && seq <= until
}

fn stray_clause(intervals: &[&Interval], seq: u64) -> &'static str {
    match intervals.first() {
        None => "CHAT-52",
        Some(first) if seq <= first.after_may => "CHAT-69",
        Some(_) => "CHAT-36",
    }
}

/// There is no gap between join and leave.
fn complete(interval: &Interval, seen: &[u64], last: u64, who: &str) -> Play<()> {
    let (until, may_miss_the_end) = match interval.until {
        Some(Until::Left(until) | Until::Moved(until)) => (until, false),
        Some(Until::Cut(until)) => (until, true),
        None => (last, false),
    };
    let wanted: Vec<u64> = (interval.after_must + 1..=until).collect();
    let observed: Vec<u64> = seen.iter().copied().filter(|seq| wanted.contains(seq)).collect();
    let fits = if may_miss_the_end { wanted.starts_with(&observed) } else { wanted == observed };
    if fits {
        return Ok(());
    }
    let missing: Vec<&u64> = wanted.iter().filter(|seq| !observed.contains(seq)).collect();
    let expected = format!("messages {wanted:?} for {who}");
    Err(violation("CHAT-61", expected, format!("{missing:?} missing")))
}

fn versions_are_right(stage: &Stage<'_>, actor: &Actor) -> Play<()> {
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for event in actor.chat.socket.events() {
        let meta = match event.name.as_str() {
            "room" | "roomout" => event.arg(1),
            "presence" => event.arg(0),
            _ => continue,
        };
        let (Some(room), Some(version)) = (meta["room"].as_u64(), meta["version"].as_u64()) else {
            continue;
        };
        if !stage.rooms.contains(&room) {
            let expected = format!("rosters of its own rooms for session {}", actor.number);
            return Err(violation("PRES-25", expected, format!("one of room {room}")));
        }
        let before = last.insert(room, version).unwrap_or(0);
        if version < before {
            let expected = format!("versions that never fall for session {}", actor.number);
            return Err(violation("PRES-15", expected, format!("{before} then {version}")));
        }
    }
    Ok(())
}

fn acks_are_right(actor: &Actor) -> Play<()> {
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    for (id, ..) in actor.chat.socket.acks() {
        *seen.entry(id).or_default() += 1;
    }
    match seen.iter().find(|(_, count)| **count > 1) {
        None => Ok(()),
        Some((id, count)) => {
            let expected = format!("one acknowledgement per event for session {}", actor.number);
            Err(violation("SIO-40", expected, format!("{count} with the id {id}")))
        }
    }
}

/// Seq minus mark for every user and room, by the HTTP API.
fn unread_is_right(stage: &Stage<'_>) -> Play<()> {
    for node in (0..stage.context.nodes()).filter(|node| !stage.down.contains(node)) {
        unread_is_right_at(stage, node)?;
    }
    Ok(())
}

fn unread_is_right_at(stage: &Stage<'_>, node: usize) -> Play<()> {
    let rest = stage.context.rest_at(node);
    for (user, account) in stage.users.iter().enumerate() {
        eventually(stage, || {
            let rooms = rest
                .rooms(&account.token)
                .map_err(|why| violation("REST-30", "the rooms", why.to_string()))?;
            for room in 0..ROOMS {
                let id = stage.rooms[room];
                let entry = rooms.iter().find(|entry| entry["id"] == json!(id));
                let observed = entry.map_or(Value::Null, |entry| entry["unread"].clone());
                let wanted = stage.model.unread(user, room);
                if observed != json!(wanted) {
                    let expected =
                        format!("{wanted} unread in room {room} for user {}", account.id);
                    return Err(violation("UNR-15", expected, observed.to_string()));
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}
