//! Chapter 5: rosters and their broadcast.

use std::collections::BTreeMap;

use super::prelude::*;
use crate::cases::images::PNG;
use crate::client::state::Event;

cases! {
    roster "pres.roster" ["PRES-1", "PRES-2", "PRES-3", "CHAT-9"] over EVERY needs CHAT
        does "joins a room of three members and checks the roster, then checks it when the room is empty"
        expects "an object by user id with exactly id, name, avatar and src; {} when empty";
    meta "pres.meta" ["PRES-10", "PRES-11", "PRES-12", "PRES-13"] over EVERY needs CHAT
        does "checks the meta object of roster events between messages"
        expects "exactly room, seq, online and version; online is the number of users; seq is below that of the next message";
    version "pres.version" ["PRES-14", "PRES-15"] over EVERY needs CHAT
        does "records the versions while other users join and leave"
        expects "they grow with each change, never decrease, and one version stands for one roster";
    join_and_leave "pres.join-and-leave-told" ["PRES-20", "PRES-21", "PRES-24", "PRES-27"] over EVERY needs CHAT
        does "joins and leaves with several users, by roomout and by disconnecting"
        expects "each full member gets a roster with the user, then one without";
    only_members "pres.only-members" ["PRES-25"] over EVERY needs CHAT
        does "joins and leaves one room while a session in another room watches"
        expects "the other session gets no roster event";
    back_within_a_flush "pres.back-within-a-flush" ["PRES-26", "PRES-4"] over EVERY needs CHAT
        does "leaves and joins again at once"
        expects "other members may see the change or not; the last roster contains the user";
    avatar_change "pres.avatar-change" ["PRES-28", "REST-58"] over EVERY needs CHAT_OF_NEW_USERS
        does "changes the avatar of a present user"
        expects "the next roster after a join contains the new avatar";
}

fn roster(context: &Context) -> Outcome {
    let room = context.room()?;
    let guests = [context.guest("one")?, context.observer("two")?, context.observer("three")?];
    join_all(&guests, room)?;
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
    for guest in &guests {
        guest.leave(room)?;
    }
    let event = guests[2].event_where("the session's own roomout", |event| {
        event.name == "roomout" && event.arg(1)["online"] == 0
    })?;
    equal("an empty roster", event.arg(0), &json!({}))
}

fn meta(context: &Context) -> Outcome {
    let (room, watcher) = guest_in_room(context)?;
    // Other tabs of the same user: the roster does not change.
    let tabs = [context.chat(&watcher.user, "delta")?, context.chat(&watcher.user, "count")?];
    for (tab, mode) in tabs.iter().zip(["delta", "count"]) {
        tab.join_as(room, mode)?;
    }
    for index in 0..3 {
        watcher.say(room, &format!("number {index}"))?;
        let guest = observer_in(context, room, "guest")?;
        watcher.say_to(&watcher, room, &format!("then {index}"))?;
        let answer = guest.leave(room)?;
        let event = guest.event("roomout")?;
        has_fields(event.arg(1), json!({ "room": room, "seq": answer["seq"] }))?;
        watcher.roster_of(room, &[watcher.user.id])?;
    }
    let of_room = |event: &Event| match event.name.as_str() {
        "room" | "roomout" => event.arg(1)["room"] == json!(room),
        "presence" => event.arg(0)["room"] == json!(room),
        _ => true,
    };
    for chat in tabs.iter().chain([&watcher]) {
        let other = chat.socket.events().into_iter().find(|event| !of_room(event));
        nothing("nothing about another room", other)?;
    }
    let mut seq = 0;
    for event in watcher.socket.events() {
        if is_roster_of(&event, room) {
            has_exactly("the meta", event.arg(1), &["room", "seq", "online", "version"])?;
            let meta = event.arg(1);
            are_integers(meta, &["room", "seq", "online", "version"])?;
            let users = event.arg(0).as_object().map_or(0, serde_json::Map::len);
            has_fields(meta, json!({ "online": users }))?;
            let own = meta["seq"].as_u64().unwrap_or(0);
            require(own >= seq, &format!("seq of {seq} or more"), || meta.to_string())?;
            seq = own;
        } else if event.name == "message" && event.arg(0)["roomid"] == json!(room) {
            let own = event.arg(0)["seq"].as_u64().unwrap_or(0);
            require(own > seq, &format!("a message with a seq above {seq}"), || {
                format!("seq {own}")
            })?;
            seq = own;
        }
    }
    equal("the last seq", &seq, &(context.base(room) + 6))
}

fn version(context: &Context) -> Outcome {
    let (room, watcher) = guest_in_room(context)?;
    let guests = [context.observer("one")?, context.observer("two")?];
    for _ in 0..3 {
        join_all(&guests, room)?;
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

fn join_and_leave(context: &Context) -> Outcome {
    let room = context.room()?;
    let watchers = [context.guest("watcher")?, context.observer("second")?];
    let base = users_of(&watchers);
    join_all(&watchers, room)?;
    for round in 0..4 {
        let guest = observer_in(context, room, "guest")?;
        let with = [base.clone(), vec![guest.user.id]].concat();
        all_see(&watchers, room, &with)?;
        if round % 2 == 0 {
            guest.leave(room)?;
        } else {
            guest.socket.hang_up();
        }
        watchers.iter().try_for_each(|watcher| sees_leave(watcher, room, &base))?;
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
    never("no roster event of another room", &stranger.socket, |event| is_roster_of(event, room))
}

fn back_within_a_flush(context: &Context) -> Outcome {
    let (room, guest, watcher) = guest_and_witness_met(context)?;
    for _ in 0..5 {
        guest.emit("roomout", json!({ "roomid": room }))?;
        guest.emit("room", json!({ "roomid": room }))?;
    }
    guest.join(room)?;
    let wanted = sorted(&[guest.user.id, watcher.user.id]);
    equal("the last roster", &last_roster(context, &watcher, room), &wanted)
}

fn avatar_change(context: &Context) -> Outcome {
    let (room, guest, watcher) = guest_and_witness(context)?;
    let file = Some(("me.png", "image/png", PNG));
    let fields = &[("api_token", guest.user.token.as_str())];
    let answer = context.rest().upload("/api/file/avatar", fields, file)?;
    let url = answer.json()["data"]["url"].clone();
    require(url.is_string(), "a url", || answer.text())?;
    guest.leave(room)?;
    guest.join(room)?;
    let key = guest.user.id.to_string();
    let what = "a roster with the new avatar";
    watcher.event_where(what, |event| {
        is_roster_of(event, room) && event.arg(0)[&key]["avatar"] == url
    })?;
    Ok(())
}
