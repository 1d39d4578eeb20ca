//! Chapter 4: joining and leaving rooms.

use super::prelude::*;
use crate::client::state::Event;

cases! {
    room_ids "room.ids" ["CHAT-18", "CHAT-49"] over EVERY needs CHAT
        does "joins by number and by string of digits"
        expects "both mean the same room";
    bad_ids "room.bad-ids" ["CHAT-19", "LIM-25"] over EVERY needs CHAT
        does "joins and leaves with room ids that are missing, false, 0, negative, fractional, too long or of other types"
        expects "invalid_argument for each";
    unknown "room.unknown" ["CHAT-20", "LIM-16"] over EVERY needs CHAT
        does "leaves, and sends a message to, a room that does not exist"
        expects "unknown_room";
    defaults "room.defaults" ["CHAT-21", "LIM-28"] over NONE needs CHAT
        does "requests the list of rooms"
        expects "it contains 1 and 2";
    join "room.join" ["CHAT-22", "CHAT-23", "CHAT-24", "PRES-10", "PRES-22", "PRES-23"] over EVERY needs CHAT
        does "joins a room, with and without ack id"
        expects "one event room whose roster contains the user; the ack";
    join_is_effective "room.join-is-effective" ["CHAT-25", "CHAT-69"] over EVERY needs CHAT
        does "joins, leaves and joins again while another member sends messages"
        expects "every message after the seq of the ack, and none before";
    repeated "room.repeated" ["CHAT-26", "PRES-22"] over EVERY needs CHAT
        does "joins the same room twice"
        expects "the second join is answered to that session only; online does not change";
    many "room.many" ["CHAT-27"] over EIO4 needs CHAT
        does "joins three rooms on Engine.IO 4"
        expects "messages of all three rooms arrive";
    one_at_a_time "room.one-at-a-time" ["CHAT-28", "CHAT-29", "CHAT-50"] over EIO3 needs CHAT
        does "joins a second room on Engine.IO 3"
        expects "the session leaves the first room: its members get roomout, the session gets nothing more about it";
    room_limit "room.limit" ["CHAT-30", "LIM-11"] over EIO4 needs CHAT
        does "joins one room after the other"
        expects "room_limit beyond the limit; after leaving a room another can be joined";
    presence_values "room.presence-values" ["CHAT-31"] over EVERY needs CHAT
        does "joins with valid and invalid presence values"
        expects "valid values are accepted, others are invalid_argument";
    leave "room.leave" ["CHAT-32", "CHAT-33", "CHAT-34", "PRES-21"] over EVERY needs CHAT
        does "leaves a room, with and without another session of the same user in it"
        expects "roomout with the roster after the leave, to the session and to the other members";
    leave_outside "room.leave-outside" ["CHAT-35"] over EVERY needs CHAT
        does "leaves a room without being a member, with and without ack id"
        expects "the ack, or roomout with {}, to that session only; the room does not change";
    nothing_after_leave "room.nothing-after-leave" ["CHAT-36"] over EVERY needs CHAT
        does "leaves while another member sends messages continuously"
        expects "no message of the room after roomout";
}

fn room_ids(context: &Context) -> Outcome {
    let room = context.room()?;
    let (one, two) = (context.guest("one")?, context.guest("two")?);
    one.join(room)?;
    accepts(&two.ask("room", json!({ "roomid": room.to_string() }))?)?;
    one.roster_of(room, &[one.user.id, two.user.id])?;
    accepts(&two.ask("message", json!({ "roomid": room.to_string(), "msg": "by string" }))?)?;
    let event = one.message_with("by string")?;
    has_fields(&event, json!({ "roomid": room }))
}

fn bad_ids(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let numbers = each(json!([0, -1, 1.5, 1_000_000_000]));
    let texts =
        each(json!(["", "0", "-1", "1.5", " 1", "1 ", "+1", "0x1", "one", "1000000000", "١"]));
    let others = each(json!([false, null, true, [1], { "id": 1 }]));
    let ids = [numbers, texts, others].concat();
    let args = ids.into_iter().map(|id| json!({ "roomid": id }));
    for arg in args.chain([json!({})]) {
        for name in ["room", "roomout"] {
            refuses_event(&guest, name, &arg, "invalid_argument")?;
        }
    }
    Ok(())
}

fn unknown(context: &Context) -> Outcome {
    let room = unknown_room(context.run.fresh_room());
    let guest = context.guest("guest")?;
    let said = guest.ask("message", message(room, "no such room"))?;
    let left = guest.ask("roomout", json!({ "roomid": room }))?;
    if context.capabilities().rooms_on_demand {
        // A server may treat any room as existing: then the session is not a member of it.
        refuses_as(&said, "unknown_room or not_member")?;
        return require(
            left["ok"] == json!(true) || left["code"] == json!("unknown_room"),
            "ok as for a session that is not a member, or unknown_room",
            || left.to_string(),
        );
    }
    refuses(&said, "unknown_room")?;
    refuses(&left, "unknown_room")?;
    refuses(&guest.ask("room", json!({ "roomid": room }))?, "unknown_room")
}

fn defaults(context: &Context) -> Outcome {
    let user = context.user()?;
    let rooms = context.rest().rooms(&user.token)?;
    let has = |id: u64| rooms.iter().any(|room| room["id"] == json!(id));
    require(has(1) && has(2), "the rooms 1 and 2", || shown(&rooms))
}

fn join(context: &Context) -> Outcome {
    let room = context.room()?;
    let (one, two) = (context.guest("one")?, context.guest("two")?);
    one.emit("room", json!({ "roomid": room, "name": "ignored", "src": "ignored" }))?;
    let event = one.event("room")?;
    equal("the number of arguments", &event.args.len(), &2)?;
    users_are("the users", event.arg(0), &[one.user.id])?;
    has_exactly("the meta", event.arg(1), &["room", "seq", "online", "version"])?;
    has_fields(event.arg(1), json!({ "room": room, "online": 1 }))?;
    let answer = two.join(room)?;
    equal(
        "the ack",
        &answer,
        &json!({ "ok": true, "room": room, "online": 2, "seq": context.base(room) }),
    )?;
    let event = two.event("room")?;
    users_are("the users", event.arg(0), &[one.user.id, two.user.id])?;
    one.roster_of(room, &[one.user.id, two.user.id])?;
    two.say_to(&one, room, "I am a member")?;
    context.pause(QUIET);
    let rosters =
        |chat: &Chat| chat.socket.events().iter().filter(|event| event.name == "room").count();
    equal("the rosters that the second session got", &rosters(&two), &1)?;
    equal("the rosters that the first session got by `room`", &rosters(&one), &2)
}

fn join_is_effective(context: &Context) -> Outcome {
    let (room, talker) = watched_room(context)?;
    let guest = context.guest("guest")?;
    let mut allowed: Vec<(u64, u64)> = Vec::new();
    for round in 0..6 {
        talker.say(room, &format!("before {round}"))?;
        let seen = guest.socket.event_count();
        let from = guest.join(room)?["seq"].as_u64().unwrap_or(0);
        for index in 0..5 {
            talker.emit("message", message(room, &format!("round {round} number {index}")))?;
        }
        guest.message_with(&format!("round {round} number 4"))?;
        let to = guest.leave(room)?["seq"].as_u64().unwrap_or(0);
        allowed.push((from + 1, to));
        let events = guest.socket.events_since(seen);
        let messages = events.iter().filter(|event| event.name == "message");
        let observed: Vec<u64> =
            messages.filter_map(|event| event.arg(0)["seq"].as_u64()).collect();
        let wanted: Vec<u64> = (from + 1..=from + 5).collect();
        equal("the seq of the messages after the join", &observed, &wanted)?;
    }
    context.pause(QUIET);
    let seqs = guest.seqs(room);
    let stray = seqs.iter().find(|seq| !allowed.iter().any(|(from, to)| (from..=to).contains(seq)));
    require(stray.is_none(), "no message from outside the membership", || {
        format!("seq {}", shown(&stray))
    })
}

fn repeated(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness_met(context)?;
    context.pause(QUIET);
    let seen = witness.socket.event_count();
    guest.socket.skip();
    has_fields(&guest.join(room)?, json!({ "online": 2 }))?;
    let event = guest.event("room")?;
    users_are("the users", event.arg(0), &[guest.user.id, witness.user.id])?;
    no_roster_since(context, &witness, seen, room)?;
    guest.say_to(&guest, room, "once")?;
    context.pause(QUIET);
    equal("the copies of a message", &guest.messages(room).len(), &1)
}

fn many(context: &Context) -> Outcome {
    let rooms = [context.room()?, context.room()?, context.room()?];
    let (guest, talker) = (context.guest("guest")?, context.observer("talker")?);
    for room in rooms {
        talker.join(room)?;
        guest.join(room)?;
    }
    for room in rooms {
        talker.say_to(&guest, room, &format!("in {room}"))?;
    }
    talker.roster_of(rooms[0], &[guest.user.id, talker.user.id])?;
    Ok(())
}

fn one_at_a_time(context: &Context) -> Outcome {
    let (first, second) = (context.room()?, context.room()?);
    let (witness, other) = (context.guest("witness")?, context.guest("other")?);
    witness.join(first)?;
    other.join(second)?;
    let guest = context.guest("guest")?;
    guest.join(first)?;
    witness.roster_of(first, &[witness.user.id, guest.user.id])?;
    guest.join(second)?;
    sees_leave(&witness, first, &[witness.user.id])?;
    other.roster_of(second, &[other.user.id, guest.user.id])?;
    // The acknowledgement may arrive before the roster.
    guest.roster_of(second, &[other.user.id, guest.user.id])?;
    witness.say(first, "in the old room")?;
    other.say_to(&guest, second, "in the new room")?;
    context.pause(QUIET);
    let events = guest.socket.events();
    let mut later = events.iter().skip_while(|event| !is_roster_of(event, second));
    let about_old = later.find(|event| {
        is_roster_of(event, first) || event.name == "message" && event.arg(0)["roomid"] == first
    });
    nothing("nothing more about the old room", about_old)?;
    refuses(&guest.ask("message", message(first, "back there"))?, "not_member")
}

fn room_limit(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let first = context.room()?;
    guest.join(first)?;
    for _ in 0..140 {
        let room = context.room()?;
        let answer = guest.ask("room", json!({ "roomid": room }))?;
        match answer["code"].as_str() {
            None => {}
            Some("rate_limited") => context.pause(Duration::from_millis(150)),
            Some("room_limit") => {
                guest.leave(first)?;
                return accepts(&guest.ask("room", json!({ "roomid": room }))?);
            }
            Some(_) => return fail("room_limit", answer.to_string()),
        }
    }
    skip("one session may join more than 140 rooms: the limit is lifted")
}

fn presence_values(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    for value in each(json!(["full", "delta", "count", null])) {
        accepts(&guest.ask("room", json!({ "roomid": room, "presence": value }))?)?;
        guest.leave(room)?;
    }
    for value in each(json!(["Full", "", "none", 1, true, false, ["full"]])) {
        let arg = json!({ "roomid": room, "presence": value });
        refuses_event(&guest, "room", &arg, "invalid_argument")?;
    }
    refuses(&guest.ask("message", message(room, "outside"))?, "not_member")
}

fn leave(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let tab = context.chat(&guest.user, "tab")?;
    tab.join(room)?;
    witness.roster_of(room, &[guest.user.id, witness.user.id])?;
    context.step("the tab leaves, the user stays");
    has_fields(&tab.leave(room)?, json!({ "online": 2 }))?;
    let event = tab.event("roomout")?;
    users_are("the users", event.arg(0), &[guest.user.id, witness.user.id])?;
    context.step("the last session leaves");
    let answer = guest.leave(room)?;
    let seq = context.base(room);
    equal("the ack", &answer, &json!({ "ok": true, "room": room, "online": 1, "seq": seq }))?;
    let event = guest.event("roomout")?;
    users_are("the users for the session that left", event.arg(0), &[witness.user.id])?;
    let answers = |event: &&Event| event.name == "roomout";
    context.pause(QUIET);
    equal("the roomouts", &guest.socket.events().iter().filter(answers).count(), &1)?;
    has_exactly("the meta", event.arg(1), &["room", "seq", "online", "version"])?;
    sees_leave(&witness, room, &[witness.user.id])?;
    refuses(&guest.ask("message", message(room, "outside"))?, "not_member")
}

fn leave_outside(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let guest = context.guest("guest")?;
    context.pause(QUIET);
    let seen = witness.socket.event_count();
    let answer = guest.leave(room)?;
    let seq = context.base(room);
    equal("the ack", &answer, &json!({ "ok": true, "room": room, "online": 1, "seq": seq }))?;
    guest.emit("roomout", json!({ "roomid": room }))?;
    let event = guest.event("roomout")?;
    equal("the roster", event.arg(0), &json!({}))?;
    has_fields(event.arg(1), json!({ "room": room }))?;
    no_roster_since(context, &witness, seen, room)
}

fn nothing_after_leave(context: &Context) -> Outcome {
    let (room, talker) = watched_room(context)?;
    let guest = context.guest("guest")?;
    for round in 0..4 {
        guest.join(room)?;
        talker.say_to(&guest, room, &format!("sync {round}"))?;
        for index in 0..5 {
            talker.emit("message", message(room, &format!("{round}.{index}")))?;
        }
        let seen = guest.socket.event_count();
        guest.emit("roomout", json!({ "roomid": room }))?;
        for index in 5..10 {
            talker.emit("message", message(room, &format!("{round}.{index}")))?;
        }
        talker.message_with(&format!("{round}.9"))?;
        guest.event("roomout")?;
        context.pause(QUIET);
        let events = guest.socket.events_since(seen);
        let out = events.iter().position(|event| event.name == "roomout").unwrap_or(0);
        let late = events[out..].iter().find(|event| event.name == "message");
        nothing("no message after roomout", late)?;
    }
    Ok(())
}
