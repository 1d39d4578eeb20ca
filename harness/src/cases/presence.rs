//! Chapter 5: rosters, their broadcast, delta and count members, big rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::*;
use crate::capabilities::Need;
use crate::case::{Case, case};
use crate::client::chat::{Chat, is_roster_of, roster_ids};
use crate::client::state::Event;
use crate::combo::{Combo, E4W, EVERY};
use crate::context::{Context, QUIET};
use crate::outcome::{Outcome, Stop, equal, fail, require};

const CHAT: &[Need] = &[Need::Chat];
const ONLY_E4W: &[Combo] = &[E4W];

pub const CASES: &[Case] = &[
    case(
        "pres.roster",
        &["PRES-1", "PRES-2", "PRES-3", "CHAT-9"],
        EVERY,
        CHAT,
        (
            "joins a room of three and looks at the roster, leaves it empty and looks again",
            "an object by user id with exactly id, name, avatar, src; {} when empty",
        ),
        roster,
    ),
    case(
        "pres.meta",
        &["PRES-10", "PRES-11", "PRES-12", "PRES-13"],
        EVERY,
        CHAT,
        (
            "looks at the meta of roster events between messages",
            "exactly room, seq, online, version; online as many as users; seq before the next message's",
        ),
        meta,
    ),
    case(
        "pres.version",
        &["PRES-14", "PRES-15"],
        EVERY,
        CHAT,
        (
            "follows the versions while others come and go",
            "they grow with each change, never fall, and one version names one roster",
        ),
        version,
    ),
    case(
        "pres.join-and-leave-told",
        &["PRES-20", "PRES-21", "PRES-24", "PRES-27"],
        EVERY,
        CHAT,
        (
            "lets users join and leave, by roomout and by disconnecting, one after another",
            "each full member gets a roster with, then without them",
        ),
        join_and_leave_told,
    ),
    case(
        "pres.leaves-at-once",
        &["PRES-21", "PRES-4", "PRES-24", "PRES-23"],
        EVERY,
        CHAT,
        (
            "lets six users leave at the same moment, many times over",
            "the last roster of those who stay holds exactly them",
        ),
        leaves_at_once,
    ),
    case(
        "pres.burst-converges",
        &["PRES-4", "PRES-23", "PRES-24", "PRES-50", "PRES-51"],
        ONLY_E4W,
        CHAT,
        (
            "lets 24 users join at once and half of them leave at once",
            "every member's last roster is the same and right within the bound",
        ),
        burst_converges,
    ),
    case(
        "pres.only-members",
        &["PRES-25"],
        EVERY,
        CHAT,
        (
            "joins and leaves one room under the eyes of a session in another",
            "it gets no roster event",
        ),
        only_members,
    ),
    case(
        "pres.back-within-a-flush",
        &["PRES-26", "PRES-4"],
        EVERY,
        CHAT,
        (
            "leaves and joins again at once",
            "others may hear of it or not; the roster ends with the user",
        ),
        back_within_a_flush,
    ),
    case(
        "pres.avatar-change",
        &["PRES-28", "REST-58"],
        EVERY,
        CHAT,
        ("changes the avatar of a present user", "the next roster after a join shows the new one"),
        avatar_change,
    ),
    case(
        "delta.events",
        &["PRES-30", "PRES-31", "PRES-32", "PRES-33", "PRES-34"],
        EVERY,
        CHAT,
        (
            "joins with presence delta and follows others coming and going",
            "one snapshot, then presence events of exactly six members that give the right roster",
        ),
        delta,
    ),
    case(
        "delta.same-as-full",
        &["PRES-35", "PRES-32"],
        EVERY,
        CHAT,
        ("compares a delta and a full member after a burst", "both have the same roster"),
        delta_same_as_full,
    ),
    case(
        "count.events",
        &["PRES-40", "PRES-41", "PRES-43"],
        EVERY,
        CHAT,
        (
            "joins with presence count and follows others coming and going",
            "presence events of exactly four members, the last with the right number, no roster",
        ),
        count,
    ),
    case(
        "pres.mode-changes",
        &["PRES-42"],
        EVERY,
        CHAT,
        (
            "joins again with another presence value",
            "the answer and what follows are of the new mode",
        ),
        mode_changes,
    ),
    case(
        "pres.above-100",
        &["PRES-4", "PRES-12", "PRES-53"],
        ONLY_E4W,
        CHAT,
        ("lets 104 users into one room", "the roster holds all of them"),
        above_100,
    ),
    case(
        "pres.news",
        &["PRES-30", "PRES-35", "PRES-51", "PRES-57", "LIM-33"],
        ONLY_E4W,
        CHAT,
        (
            "lets 40 delta members and 4 full ones enter one room at once",
            "each delta member gets one roster, then each other user at most once, and all rosters are right",
        ),
        news,
    ),
    case(
        "pres.budget",
        &["PRES-52", "PRES-53", "PRES-54", "PRES-55", "PRES-56", "LIM-17"],
        ONLY_E4W,
        CHAT,
        (
            "lets users stream in and out of a room of 40 while messages are sent",
            "roster traffic stays within the budget, acks and messages are prompt, the roster ends right",
        ),
        budget,
    ),
];

fn ids(roster: &Value) -> Vec<u64> {
    roster_ids(roster).into_iter().collect()
}

fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

fn roster(context: &Context) -> Outcome {
    let room = context.room()?;
    let guests = [context.guest("one")?, context.observer("two")?, context.observer("three")?];
    for guest in &guests {
        guest.join(room)?;
    }
    let event = guests[2].event("room")?;
    let roster = event.arg(0).as_object().cloned().unwrap_or_default();
    equal("the number of entries", &roster.len(), &3)?;
    for guest in &guests {
        let user = &guest.user;
        let Some(entry) = roster.get(&user.id.to_string()) else {
            return fail(format!("an entry {}", user.id), event.arg(0).to_string());
        };
        let wanted =
            json!({ "id": user.id, "name": user.name, "avatar": user.avatar, "src": user.avatar });
        has_exactly("the entry", entry, &["id", "name", "avatar", "src"])?;
        equal("the entry", entry, &wanted)?;
    }
    guests[0].leave(room)?;
    guests[1].leave(room)?;
    guests[2].leave(room)?;
    let event = guests[2].socket.wait_event(context.wait(), "the own roomout", |event| {
        event.name == "roomout" && event.arg(1)["online"] == json!(0)
    })?;
    equal("an empty roster", event.arg(0), &json!({}))
}

fn meta(context: &Context) -> Outcome {
    let room = context.room()?;
    let watcher = context.guest("watcher")?;
    watcher.join(room)?;
    for index in 0..3 {
        watcher.say(room, &format!("number {index}"))?;
        let guest = context.observer("guest")?;
        guest.join(room)?;
        watcher.say(room, &format!("then {index}"))?;
        watcher.message_with(&format!("then {index}"))?;
        guest.leave(room)?;
        watcher.roster_of(room, &[watcher.user.id])?;
    }
    let mut seq = 0;
    for event in watcher.socket.events() {
        if is_roster_of(&event, room) {
            has_exactly("the meta", event.arg(1), &["room", "seq", "online", "version"])?;
            let meta = event.arg(1);
            let integers =
                ["room", "seq", "online", "version"].iter().all(|key| meta[*key].is_u64());
            require(integers, "integers", || meta.to_string())?;
            let users = event.arg(0).as_object().map_or(0, serde_json::Map::len);
            equal("online", &meta["online"], &json!(users))?;
            require(
                meta["seq"].as_u64().is_some_and(|own| own >= seq),
                &format!("seq of {seq} or more"),
                || meta.to_string(),
            )?;
            seq = meta["seq"].as_u64().unwrap_or(0);
        } else if event.name == "message" && event.arg(0)["roomid"] == json!(room) {
            let own = event.arg(0)["seq"].as_u64().unwrap_or(0);
            require(own > seq, &format!("a message with a seq above {seq}"), || {
                format!("seq {own}")
            })?;
            seq = own;
        }
    }
    equal("the last seq", &seq, &6)
}

fn version(context: &Context) -> Outcome {
    let room = context.room()?;
    let watcher = context.guest("watcher")?;
    watcher.join(room)?;
    let guests = [context.observer("one")?, context.observer("two")?];
    for _ in 0..3 {
        for guest in &guests {
            guest.join(room)?;
        }
        watcher.roster_of(room, &[watcher.user.id, guests[0].user.id, guests[1].user.id])?;
        for guest in &guests {
            guest.leave(room)?;
        }
        watcher.roster_of(room, &[watcher.user.id])?;
    }
    let mut rosters: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut last = 0;
    let mut last_users: Option<Vec<u64>> = None;
    for event in watcher.socket.events().iter().filter(|event| is_roster_of(event, room)) {
        let version = event.arg(1)["version"].as_u64().unwrap_or(0);
        let users = ids(event.arg(0));
        require(version >= last, &format!("a version of {last} or more"), || version.to_string())?;
        let changed = last_users.as_ref().is_some_and(|before| *before != users);
        require(!changed || version > last, "a greater version for another roster", || {
            format!("version {version} again for {users:?}")
        })?;
        let named = rosters.entry(version).or_insert_with(|| users.clone());
        equal(&format!("the roster of version {version}"), &users, named)?;
        last = version;
        last_users = Some(users);
    }
    require(last > 0, "versions that grow", || last.to_string())
}

fn join_and_leave_told(context: &Context) -> Outcome {
    let room = context.room()?;
    let watchers = [context.guest("watcher")?, context.observer("second")?];
    let base: Vec<u64> = watchers.iter().map(|watcher| watcher.user.id).collect();
    for watcher in &watchers {
        watcher.join(room)?;
    }
    for round in 0..4 {
        let guest = context.observer("guest")?;
        guest.join(room)?;
        let with = [base.clone(), vec![guest.user.id]].concat();
        for watcher in &watchers {
            watcher.roster_of(room, &with)?;
        }
        if round % 2 == 0 {
            guest.leave(room)?;
        } else {
            guest.socket.hang_up();
        }
        for watcher in &watchers {
            let event = watcher.roster_of(room, &base)?;
            equal("the event", &event.name, &"roomout".to_owned())?;
        }
    }
    Ok(())
}

/// The member's last roster of the room, once none has come for a while.
fn last_roster(context: &Context, chat: &Chat, room: u64) -> Result<Vec<u64>, Stop> {
    let rosters = || -> Vec<Event> {
        chat.socket.events().into_iter().filter(|event| is_roster_of(event, room)).collect()
    };
    let mut seen = rosters().len();
    loop {
        context.pause(QUIET);
        let now = rosters();
        if now.len() == seen {
            return Ok(now.last().map(|event| ids(event.arg(0))).unwrap_or_default());
        }
        seen = now.len();
    }
}

fn leaves_at_once(context: &Context) -> Outcome {
    let room = context.room()?;
    let watcher = context.guest("watcher")?;
    watcher.join(room)?;
    let guests: Vec<Chat> =
        (0..6).map(|index| context.observer(&format!("guest{index}"))).collect::<Result<_, _>>()?;
    let everybody: Vec<u64> =
        guests.iter().map(|guest| guest.user.id).chain([watcher.user.id]).collect();
    for round in 0..4 {
        for guest in &guests {
            guest.join(room)?;
        }
        watcher.roster_of(room, &everybody)?;
        context.step(format!("round {round}: six leave at once"));
        let barrier = std::sync::Barrier::new(guests.len());
        std::thread::scope(|scope| {
            for guest in &guests {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    guest.emit("roomout", json!({ "roomid": room }))
                });
            }
        });
        let what = "a roster with the watcher alone".to_owned();
        context.eventually(&what, || {
            let events = watcher.socket.events();
            let last = events.iter().rev().find(|event| is_roster_of(event, room));
            Ok(last.is_some_and(|event| ids(event.arg(0)) == [watcher.user.id]).then_some(()))
        })?;
        watcher.socket.skip();
    }
    Ok(())
}

fn crowd(context: &Context, count: usize) -> Result<Vec<Chat>, Stop> {
    (0..count).map(|index| context.observer(&format!("crowd{index}"))).collect()
}

fn burst_converges(context: &Context) -> Outcome {
    let room = context.room()?;
    let crowd = crowd(context, 24)?;
    for guest in &crowd {
        guest.emit("room", json!({ "roomid": room }))?;
    }
    for guest in &crowd {
        guest.event("room")?;
    }
    let (leave, stay) = crowd.split_at(12);
    for (index, guest) in leave.iter().enumerate() {
        if index % 2 == 0 {
            guest.emit("roomout", json!({ "roomid": room }))?;
        } else {
            guest.socket.hang_up();
        }
    }
    let wanted = sorted(&stay.iter().map(|guest| guest.user.id).collect::<Vec<_>>());
    for guest in stay {
        context.eventually("the roster at rest", || {
            let events = guest.socket.events();
            let last = events.iter().rev().find(|event| is_roster_of(event, room));
            Ok(last.is_some_and(|event| ids(event.arg(0)) == wanted).then_some(()))
        })?;
    }
    for guest in stay.iter().take(3) {
        equal("the last roster", &last_roster(context, guest, room)?, &wanted)?;
    }
    Ok(())
}

fn only_members(context: &Context) -> Outcome {
    let (room, other) = (context.room()?, context.room()?);
    let (stranger, guest) = (context.guest("stranger")?, context.observer("guest")?);
    stranger.join(other)?;
    for _ in 0..3 {
        guest.join(room)?;
        guest.leave(room)?;
    }
    context.pause(QUIET);
    let events = stranger.socket.events();
    let stray = events.iter().find(|event| is_roster_of(event, room));
    require(stray.is_none(), "no roster event of another room", || format!("{stray:?}"))
}

fn back_within_a_flush(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, watcher) = (context.guest("guest")?, context.observer("watcher")?);
    watcher.join(room)?;
    guest.join(room)?;
    watcher.roster_of(room, &[guest.user.id, watcher.user.id])?;
    for _ in 0..5 {
        guest.emit("roomout", json!({ "roomid": room }))?;
        guest.emit("room", json!({ "roomid": room }))?;
    }
    guest.join(room)?;
    let wanted = sorted(&[guest.user.id, watcher.user.id]);
    equal("the last roster", &last_roster(context, &watcher, room)?, &wanted)
}

fn avatar_change(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, watcher) = (context.guest("guest")?, context.observer("watcher")?);
    watcher.join(room)?;
    guest.join(room)?;
    let file = Some(("me.png", "image/png", super::messages::PNG));
    let fields = &[("api_token", guest.user.token.as_str())];
    let answer = context.rest().upload("/api/file/avatar", fields, file)?;
    let url = answer.json()["data"]["url"].clone();
    require(url.is_string(), "a url", || answer.text())?;
    guest.leave(room)?;
    guest.join(room)?;
    let key = guest.user.id.to_string();
    let what = "a roster with the new avatar";
    watcher.socket.wait_event(context.wait(), what, |event| {
        is_roster_of(event, room) && event.arg(0)[&key]["avatar"] == url
    })?;
    Ok(())
}

/// Follows a delta member's events: the roster they give, or what is wrong with them.
fn follow(events: &[Event], room: u64) -> Result<(BTreeSet<u64>, usize), Stop> {
    let mut users: Option<BTreeSet<u64>> = None;
    let mut deltas = 0;
    for event in events {
        if is_roster_of(event, room) {
            require(users.is_none(), "no roster after the snapshot", || {
                format!("{:?}", event.args)
            })?;
            equal("the snapshot's event", &event.name, &"room".to_owned())?;
            users = Some(roster_ids(event.arg(0)));
        } else if event.name == "presence" && event.arg(0)["room"] == json!(room) {
            let delta = event.arg(0);
            let members = ["room", "seq", "version", "online", "joined", "left"];
            has_exactly("presence", delta, &members)?;
            equal("the number of arguments", &event.args.len(), &1)?;
            let Some(users) = &mut users else {
                return fail("the snapshot before the first presence", delta.to_string());
            };
            let joined: Vec<u64> = delta["joined"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|entry| entry["id"].as_u64())
                .collect();
            let left: Vec<u64> =
                delta["left"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            let named: BTreeSet<u64> = joined.iter().chain(&left).copied().collect();
            require(named.len() == joined.len() + left.len(), "each user at most once", || {
                delta.to_string()
            })?;
            for entry in delta["joined"].as_array().into_iter().flatten() {
                has_exactly("an entry of joined", entry, &["id", "name", "avatar", "src"])?;
            }
            for user in left {
                users.remove(&user);
            }
            users.extend(joined);
            equal("online", &delta["online"], &json!(users.len()))?;
            deltas += 1;
        }
    }
    Ok((users.unwrap_or_default(), deltas))
}

fn delta(context: &Context) -> Outcome {
    let room = context.room()?;
    let (first, guest) = (context.observer("first")?, context.observer("guest")?);
    first.join(room)?;
    let follower = context.guest("follower")?;
    follower.join_as(room, "delta")?;
    for _ in 0..3 {
        guest.join(room)?;
        context.pause(Duration::from_millis(80));
        guest.leave(room)?;
        context.pause(Duration::from_millis(80));
    }
    guest.join(room)?;
    first.socket.hang_up();
    let wanted: BTreeSet<u64> = [follower.user.id, guest.user.id].into_iter().collect();
    context.eventually("the deltas give the right roster", || {
        Ok((follow(&follower.socket.events(), room)?.0 == wanted).then_some(()))
    })?;
    let (_, deltas) = follow(&follower.socket.events(), room)?;
    require(deltas > 0, "presence events", || "none".to_owned())?;
    follower.leave(room)?;
    let event = follower.event("roomout")?;
    equal("the own roomout", &ids(event.arg(0)), &vec![guest.user.id])
}

fn delta_same_as_full(context: &Context) -> Outcome {
    let room = context.room()?;
    let (full, follower) = (context.observer("full")?, context.guest("follower")?);
    full.join(room)?;
    follower.join_as(room, "delta")?;
    let crowd = crowd(context, 8)?;
    for guest in &crowd {
        guest.emit("room", json!({ "roomid": room }))?;
    }
    for guest in &crowd {
        guest.event("room")?;
    }
    for guest in &crowd[..5] {
        guest.emit("roomout", json!({ "roomid": room }))?;
    }
    let stay: Vec<u64> = crowd[5..].iter().map(|guest| guest.user.id).collect();
    let wanted = sorted(&[stay, vec![full.user.id, follower.user.id]].concat());
    context.eventually("the full member's roster at rest", || {
        Ok((last_roster(context, &full, room)? == wanted).then_some(()))
    })?;
    context.eventually("the delta member's roster at rest", || {
        let (users, _) = follow(&follower.socket.events(), room)?;
        Ok((users.into_iter().collect::<Vec<_>>() == wanted).then_some(()))
    })
}

fn count(context: &Context) -> Outcome {
    let room = context.room()?;
    let (first, guest) = (context.observer("first")?, context.observer("guest")?);
    first.join(room)?;
    let counter = context.guest("counter")?;
    counter.join_as(room, "count")?;
    let event = counter.event("presence")?;
    equal("online in the answer", &event.arg(0)["online"], &json!(2))?;
    guest.join(room)?;
    counter.socket.wait_event(context.wait(), "presence with 3 online", |event| {
        event.name == "presence" && event.arg(0)["online"] == json!(3)
    })?;
    guest.leave(room)?;
    first.socket.hang_up();
    counter.socket.wait_event(context.wait(), "presence with 1 online", |event| {
        event.name == "presence" && event.arg(0)["online"] == json!(1)
    })?;
    for event in counter.socket.events().iter().filter(|event| event.name == "presence") {
        has_exactly("presence", event.arg(0), &["room", "seq", "version", "online"])?;
    }
    let events = counter.socket.events();
    let stray = events.iter().find(|event| is_roster_of(event, room));
    require(stray.is_none(), "no roster", || format!("{stray:?}"))?;
    counter.say(room, "a count member talks")?;
    counter.message_with("a count member talks")?;
    counter.leave(room)?;
    let event = counter.event("roomout")?;
    let users = ids(event.arg(0));
    require(users.is_empty(), "nobody left in the roster", || format!("{users:?}"))
}

fn mode_changes(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join_as(room, "count")?;
    guest.event("presence")?;
    guest.join(room)?;
    guest.event("room")?;
    let other = context.observer("other")?;
    other.join(room)?;
    guest.roster_of(room, &[guest.user.id, other.user.id])?;
    guest.join_as(room, "count")?;
    guest.event("presence")?;
    guest.socket.skip();
    other.leave(room)?;
    let event = guest.event("presence")?;
    equal("online", &event.arg(0)["online"], &json!(1))
}

fn above_100(context: &Context) -> Outcome {
    let room = context.room()?;
    let watcher = context.observer("watcher")?;
    watcher.join_as(room, "count")?;
    let crowd = crowd(context, 103)?;
    for guest in &crowd {
        guest.socket.emit("room", &[json!({ "roomid": room, "presence": "count" })])?;
    }
    watcher.socket.wait_event(context.wait(), "presence with 104 online", |event| {
        event.name == "presence" && event.arg(0)["online"] == json!(104)
    })?;
    let last = context.observer("last")?;
    last.join(room)?;
    let event = last.event("room")?;
    let mut wanted: Vec<u64> = crowd.iter().map(|guest| guest.user.id).collect();
    wanted.extend([watcher.user.id, last.user.id]);
    equal("the users in the roster", &ids(event.arg(0)), &sorted(&wanted))?;
    equal("online", &event.arg(1)["online"], &json!(105))
}

fn news(context: &Context) -> Outcome {
    let room = context.room()?;
    let (followers, full) = (crowd(context, 40)?, crowd(context, 4)?);
    for guest in &followers {
        guest.socket.emit("room", &[json!({ "roomid": room, "presence": "delta" })])?;
    }
    for guest in &full {
        guest.emit("room", json!({ "roomid": room }))?;
    }
    let wanted: BTreeSet<u64> = followers.iter().chain(&full).map(|guest| guest.user.id).collect();
    for guest in &followers {
        context.eventually("a delta member's roster", || {
            Ok((follow(&guest.socket.events(), room)?.0 == wanted).then_some(()))
        })?;
    }
    for guest in &full {
        context.eventually("a full member's roster", || {
            let last = last_roster(context, guest, room)?;
            Ok(last.iter().eq(&wanted).then_some(()))
        })?;
    }
    for guest in &followers {
        let mut told = BTreeSet::new();
        for event in guest.socket.events() {
            for entry in event.arg(0)["joined"].as_array().into_iter().flatten() {
                let user = entry["id"].as_u64();
                require(told.insert(user), "each user once in the changes", || {
                    format!("{user:?}")
                })?;
            }
        }
    }
    Ok(())
}

fn budget(context: &Context) -> Outcome {
    let room = context.room()?;
    let (crowd, movers) = (crowd(context, 40)?, crowd(context, 4)?);
    for guest in &crowd {
        guest.emit("room", json!({ "roomid": room }))?;
    }
    for guest in &crowd {
        guest.event("room")?;
    }
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    for index in 0..40 {
        let mover = &movers[index % movers.len()];
        let before = Instant::now();
        if index / movers.len() % 2 == 0 {
            mover.join(room)?
        } else {
            mover.leave(room)?
        };
        slowest = slowest.max(before.elapsed());
        let before = Instant::now();
        crowd[0].say(room, &format!("prompt {index}"))?;
        crowd[39].message_with(&format!("prompt {index}"))?;
        slowest = slowest.max(before.elapsed());
    }
    let took = start.elapsed();
    let bytes: usize = crowd
        .iter()
        .flat_map(|guest| guest.socket.events())
        .filter(|event| is_roster_of(event, room))
        .map(|event| event.args.iter().map(|arg| arg.to_string().len()).sum::<usize>() + 16)
        .sum();
    let allowed = 33_554_432.0 * took.as_secs_f64().max(10.0);
    require((bytes as f64) <= allowed, "roster traffic within 32 MiB/s", || {
        format!("{bytes} bytes in {took:?}")
    })?;
    require(slowest < Duration::from_secs(3), "prompt acks and messages", || {
        format!("the slowest took {slowest:?}")
    })?;
    for mover in &movers {
        mover.leave(room)?;
    }
    let wanted = sorted(&crowd.iter().map(|guest| guest.user.id).collect::<Vec<_>>());
    let dead = crowd.iter().find_map(|guest| guest.socket.ending());
    require(dead.is_none(), "no session lost", || format!("{dead:?}"))?;
    equal("the roster at rest", &last_roster(context, &crowd[30], room)?, &wanted)
}
