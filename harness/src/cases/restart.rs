//! What is there after the server was killed and started again.

use super::prelude::*;

cases! {
    messages "restart.messages" ["CHAT-65", "CHAT-67", "CHAT-60", "CHAT-49"] over NONE needs RESTART
        does "kills the server right after an ack, starts it, and sends another message"
        expects "every acked message as it was, and the next seq";
    nobody "restart.nobody-present" ["CHAT-83", "CHAT-80"] over NONE needs RESTART
        does "kills the server while users are in a room, starts it, and joins with one of them"
        expects "that user alone is in the room";
    again "restart.cid" ["CHAT-95", "CHAT-91"] over NONE needs RESTART_OF_NEW_USERS
        does "sends a message with a cid, kills the server, starts it, and sends the message again"
        expects "the id and seq of the first, and no second message";
    accounts "restart.accounts" ["REST-14", "REST-20"] over NONE needs RESTART_OF_NEW_USERS
        does "logs out one token of two, kills the server and starts it"
        expects "the other token and the password as before; the first is not valid";
    unread "restart.unread" ["UNR-14", "UNR-2"] over NONE needs RESTART_OF_NEW_USERS
        does "leaves a room, lets three messages follow, kills the server more than 2 s later, and starts it"
        expects "three are unread";
    sessions "restart.sessions" ["TRN-13", "CHAT-83"] over NONE needs RESTART
        does "kills the server while sessions are open, starts it, and uses the sid of one"
        expects "the sid is unknown, and a new session is served";
}

fn restart(context: &Context) -> Outcome {
    context.step("the server is killed and started");
    context.command_node("down", 0)?;
    context.command_node("up", 0)
}

/// A room with a message in it, on a server that stores messages.
fn room_with_message(context: &Context) -> Result<(u64, Chat, Value), Stop> {
    let (room, guest) = guest_in_room(context)?;
    let answer = guest.say(room, "before the restart")?;
    let page = context.rest().history(&guest.user.token, room, 1, 0)?;
    if last_row(&page)["seq"] != answer["seq"] {
        return skip("the target stores no messages (CHAT-68)");
    }
    Ok((room, guest, answer))
}

fn messages(context: &Context) -> Outcome {
    let (room, guest, _) = room_with_message(context)?;
    for round in 0..3 {
        let member = context.chat(&guest.user, &format!("member{round}"))?;
        member.join(room)?;
        let texts = (0..5).map(|index| format!("round {round}, {index}"));
        let answers = member.ask_all(texts.map(|text| ("message", message(room, &text))))?;
        answers.iter().try_for_each(accepts)?;
        let before = context.rest().history(&guest.user.token, room, 1, 0)?;
        restart(context)?;
        let after = context.rest().history(&guest.user.token, room, 1, 0)?;
        equal("the history", &after, &before)?;
        let last = last_row(&after);
        has_fields(last, json!({ "id": answers[4]["id"], "seq": answers[4]["seq"] }))?;
        let member = context.chat(&guest.user, "later")?;
        let joined = member.join(room)?;
        equal("seq of the join", &joined["seq"], &last["seq"])?;
        let answer = member.say(room, "after the restart")?;
        let next = last["seq"].as_u64().map(|seq| seq + 1);
        equal("the next seq", &answer["seq"].as_u64(), &next)?;
        let is_new = answer["id"].as_u64() > last["id"].as_u64()
            || before["data"]
                .as_array()
                .is_some_and(|rows| rows.iter().all(|row| row["id"] != answer["id"]));
        require(is_new, "an id that no message had", || answer.to_string())?;
    }
    Ok(())
}

fn nobody(context: &Context) -> Outcome {
    let room = context.room()?;
    let crowd = crowd(context, 4)?;
    join_all(&crowd, room)?;
    restart(context)?;
    let online = || {
        let rooms = context.rest().rooms(&crowd[0].user.token)?;
        let entry = rooms.iter().find(|entry| entry["id"] == json!(room));
        Ok::<_, Stop>(entry.map_or(json!(0), |entry| entry["online"].clone()))
    };
    // What nodes share may outlive one of them by its lease (NODE-20).
    let deadline = Instant::now() + context.run.lease;
    while online()? != json!(0) && Instant::now() < deadline {
        context.pause(Duration::from_millis(100));
    }
    equal("online in /api/rooms", &online()?, &json!(0))?;
    let first = context.chat(&crowd[0].user, "first")?;
    has_fields(&first.join(room)?, json!({ "online": 1 }))?;
    let event = first.event("room")?;
    users_are("the roster", event.arg(0), &[first.user.id])
}

fn again(context: &Context) -> Outcome {
    let (room, guest, _) = room_with_message(context)?;
    let mut arg = message(room, "with a cid");
    arg["cid"] = json!("before the restart");
    let first = guest.ask("message", arg.clone())?;
    accepts(&first)?;
    restart(context)?;
    let member = context.chat(&guest.user, "later")?;
    member.join(room)?;
    let second = member.ask("message", arg)?;
    has_fields(&second, json!({ "ok": true, "id": first["id"], "seq": first["seq"] }))?;
    let answer = member.say(room, "another")?;
    equal("the next seq", &answer["seq"].as_u64(), &first["seq"].as_u64().map(|seq| seq + 1))?;
    equal("the messages received", &member.texts(room), &vec!["another".to_owned()])
}

fn accounts(context: &Context) -> Outcome {
    let user = context.user()?;
    let rest = context.rest();
    let other = rest.login(&user.email)?;
    rest.post("/api/logout", &json!({ "api_token": other.token }))?;
    restart(context)?;
    let answer = rest.get_as("/api/user", &user.token)?;
    has_fields(
        &answer.json(),
        json!({ "id": user.id, "name": user.name, "email": user.email, "avatar": user.avatar }),
    )?;
    status(&rest.get_as("/api/user", &other.token)?, 401)?;
    equal("the id by a login", &rest.login(&user.email)?.id, &user.id)?;
    let taken = rest.post_registration(&user.email)?.json();
    equal("a second registration", &taken["errno"], &json!(1))?;
    let next = context.user()?;
    require(next.id != user.id, "an id that no user had", || next.id.to_string())
}

fn unread(context: &Context) -> Outcome {
    let (room, talker, _) = room_with_message(context)?;
    let reader = context.guest("reader")?;
    reader.join(room)?;
    reader.leave(room)?;
    for index in 0..3 {
        talker.say(room, &format!("unread {index}"))?;
    }
    // After a crash a mark may be one of the last 2 s before it (UNR-14).
    context.pause(Duration::from_millis(2_500));
    restart(context)?;
    let later = context.chat(&reader.user, "later")?;
    context.eventually("three unread", || {
        let counts = later.ask("login", json!({}))?["count"].clone();
        Ok(counts[format!("room{room}")] == json!(3))
    })
}

fn sessions(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let (room, guest) = guest_in_room(context)?;
    restart(context)?;
    require(guest.socket.wait_end(context.wait()).is_some(), "the session ends", || {
        "it is open".to_owned()
    })?;
    refused(&context.get(&poller.path())?, UNKNOWN_SID)?;
    let later = context.chat(&guest.user, "later")?;
    later.join(room)?;
    later.say_to(&later, room, "a new session")?;
    Ok(())
}
