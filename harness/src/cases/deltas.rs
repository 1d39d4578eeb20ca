//! Chapter 5: delta and count members.

use std::collections::BTreeSet;

use super::prelude::*;
use crate::client::state::Event;

cases! {
    delta "delta.events" ["PRES-30", "PRES-31", "PRES-32", "PRES-33", "PRES-34"] over EVERY needs CHAT
        does "joins with presence delta while other users join and leave"
        expects "one snapshot, then presence events of exactly six fields that add up to the correct roster";
    delta_same_as_full "delta.same-as-full" ["PRES-35", "PRES-32"] over EVERY needs CHAT
        does "compares a delta member and a full member after a burst of joins and leaves"
        expects "both have the same roster";
    count "count.events" ["PRES-40", "PRES-41", "PRES-43"] over EVERY needs CHAT
        does "joins with presence count while other users join and leave"
        expects "presence events of exactly four fields, the last with the correct number, and no roster";
    mode_changes "pres.mode-changes" ["PRES-42"] over EVERY needs CHAT
        does "joins again with another presence value"
        expects "the answer and later events are of the new mode";
    many_deltas "pres.news" ["PRES-30", "PRES-35", "PRES-51", "PRES-57", "LIM-33"] over ONLY_E4W needs CHAT
        does "joins one room with 40 delta members and 4 full members at once"
        expects "each delta member gets one roster, then each other user at most once, and all rosters are correct";
}

/// Checks a delta member's events and adds them up: the roster, and the number of updates.
fn follow(events: &[Event], room: u64) -> Result<(BTreeSet<u64>, usize), Stop> {
    let mut users: Option<BTreeSet<u64>> = None;
    let mut deltas = 0;
    for event in events {
        if is_roster_of(event, room) {
            require(users.is_none(), "no roster after the snapshot", || shown(&event.args))?;
            equal("the snapshot's event", &event.name, &"room".to_owned())?;
            users = Some(roster_ids(event.arg(0)));
        } else if event.name == "presence" && event.arg(0)["room"] == json!(room) {
            let delta = event.arg(0);
            let fields = ["room", "seq", "version", "online", "joined", "left"];
            has_exactly("presence", delta, &fields)?;
            equal("the number of arguments", &event.args.len(), &1)?;
            let Some(users) = &mut users else {
                return fail("the snapshot before the first presence", delta.to_string());
            };
            let list = |key: &str| delta[key].as_array().cloned().unwrap_or_default();
            let entries = list("joined");
            let joined: Vec<u64> = entries.iter().filter_map(|e| e["id"].as_u64()).collect();
            let left: Vec<u64> = list("left").iter().filter_map(Value::as_u64).collect();
            let named: BTreeSet<u64> = joined.iter().chain(&left).copied().collect();
            require(named.len() == joined.len() + left.len(), "each user at most once", || {
                delta.to_string()
            })?;
            for entry in &entries {
                has_exactly("an entry of joined", entry, &["id", "name", "avatar", "src"])?;
            }
            for user in left {
                users.remove(&user);
            }
            users.extend(joined);
            has_fields(delta, json!({ "online": users.len() }))?;
            deltas += 1;
        }
    }
    Ok((users.unwrap_or_default(), deltas))
}

fn delta(context: &Context) -> Outcome {
    let (room, first) = watched_room(context)?;
    let guest = context.observer("guest")?;
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
    context.eventually("the updates add up to the correct roster", || {
        Ok(follow(&follower.socket.events(), room)?.0 == wanted)
    })?;
    let (_, deltas) = follow(&follower.socket.events(), room)?;
    require(deltas > 0, "presence events", || "none".to_owned())?;
    follower.leave(room)?;
    let event = follower.event("roomout")?;
    users_are("the session's own roomout", event.arg(0), &[guest.user.id])
}

fn delta_same_as_full(context: &Context) -> Outcome {
    let (room, full) = watched_room(context)?;
    let follower = context.guest("follower")?;
    follower.join_as(room, "delta")?;
    let crowd = crowd(context, 8)?;
    join_at_once(&crowd, room)?;
    for guest in &crowd[..5] {
        guest.emit("roomout", json!({ "roomid": room }))?;
    }
    let stay = users_of(&crowd[5..]);
    let wanted = sorted(&[stay, vec![full.user.id, follower.user.id]].concat());
    context.eventually("the full member's roster at rest", || {
        Ok(last_roster(context, &full, room) == wanted)
    })?;
    context.eventually("the delta member's roster at rest", || {
        let (users, _) = follow(&follower.socket.events(), room)?;
        Ok(users.into_iter().collect::<Vec<_>>() == wanted)
    })
}

fn count(context: &Context) -> Outcome {
    let (room, first) = watched_room(context)?;
    let guest = context.observer("guest")?;
    let counter = context.guest("counter")?;
    counter.join_as(room, "count")?;
    let event = counter.event("presence")?;
    equal("online in the answer", &event.arg(0)["online"], &json!(2))?;
    guest.join(room)?;
    counter.online(3)?;
    guest.leave(room)?;
    first.socket.hang_up();
    counter.online(1)?;
    for event in counter.socket.events().iter().filter(|event| event.name == "presence") {
        has_exactly("presence", event.arg(0), &["room", "seq", "version", "online"])?;
        has_fields(event.arg(0), json!({ "room": room }))?;
    }
    never("no roster", &counter.socket, |event| is_roster_of(event, room))?;
    counter.say_to(&counter, room, "a count member talks")?;
    counter.leave(room)?;
    let event = counter.event("roomout")?;
    users_are("an empty roster", event.arg(0), &[])
}

fn mode_changes(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join_as(room, "count")?;
    guest.event("presence")?;
    guest.join(room)?;
    guest.event("room")?;
    let other = observer_in(context, room, "other")?;
    guest.roster_of(room, &[guest.user.id, other.user.id])?;
    guest.join_as(room, "count")?;
    guest.event("presence")?;
    guest.socket.skip();
    other.leave(room)?;
    let event = guest.event("presence")?;
    has_fields(event.arg(0), json!({ "online": 1 }))
}

fn many_deltas(context: &Context) -> Outcome {
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
            Ok(follow(&guest.socket.events(), room)?.0 == wanted)
        })?;
    }
    for guest in &full {
        context.eventually("a full member's roster", || {
            Ok(last_roster(context, guest, room).iter().eq(&wanted))
        })?;
    }
    for guest in &followers {
        let mut joined = BTreeSet::new();
        for event in guest.socket.events() {
            for entry in event.arg(0)["joined"].as_array().into_iter().flatten() {
                let user = entry["id"].as_u64();
                require(joined.insert(user), "each user at most once in the updates", || {
                    shown(&user)
                })?;
            }
        }
    }
    Ok(())
}
