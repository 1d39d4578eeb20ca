//! More than a few of anything, and large numbers.

use std::collections::BTreeMap;

use super::prelude::*;

cases! {
    rooms "many.rooms" ["CHAT-103", "CHAT-27", "CHAT-25", "CHAT-80"] over EIO4 needs CHAT
        does "joins 34 rooms with one session, leaves some of them, and ends"
        expects "messages, rosters and leaves of each room as if it were the only one";
    sessions "many.sessions" ["CHAT-103", "CHAT-70", "CHAT-71", "CHAT-72"] over EVERY needs CHAT
        does "joins with 34 sessions of one user, or with 10, and leaves with one after the other"
        expects "each gets each message while it is a member; the user is present until the last leaves";
    members "many.members" ["CHAT-103", "CHAT-37", "PRES-4"] over EVERY needs CHAT
        does "joins one room with 35 users, or with 11, who all send messages and leave one after the other"
        expects "everybody gets every message; each roster has exactly who is there";
    deltas "many.deltas" ["CHAT-103", "PRES-32", "PRES-30"] over ONLY_E4W needs CHAT
        does "watches in mode delta while another user joins and leaves 18 times"
        expects "a change for each of the 36";
    visits "many.visits" ["CHAT-103", "CHAT-22", "CHAT-25", "CHAT-80", "TRN-44"] over EVERY needs CHAT
        does "connects, joins, sends a message and closes with one user, 34 times or 10 times"
        expects "each time as the first time";
    acks "many.acks" ["CHAT-103", "SIO-40", "CHAT-62", "CHAT-64"] over EVERY needs CHAT
        does "sends 40 messages with acks without waiting"
        expects "40 acks, each with the seq of its message, in the order sent";
    pages "many.pages" ["CHAT-103", "REST-42", "REST-44", "REST-45", "UNR-2", "UNR-3", "UNR-7"] over NONE needs CHAT_OF_NEW_USERS
        does "sends 300 messages with six users, reads all pages of the history, and the unread number of another user"
        expects "each message once on 15 pages; 300 are unread, in the count as well";
    numbers "many.large-numbers" ["CHAT-103", "SIO-11", "CHAT-18", "REST-41", "REST-45"] over EVERY needs CHAT
        does "uses ack ids up to 9007199254740991, the largest room, and pages of the history beyond any"
        expects "acks of the same ids, the room as any other, and pages without messages";
}

fn rooms(context: &Context) -> Outcome {
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    let rooms: Vec<u64> = (0..34).map(|_| context.room()).collect::<Result<_, _>>()?;
    for room in &rooms {
        witness.join(*room)?;
        guest.join(*room)?;
    }
    for (index, room) in rooms.iter().enumerate() {
        guest.say_to(&witness, *room, &format!("from the guest {index}"))?;
        guest.message_with(&format!("from the guest {index}"))?;
    }
    let (left, kept): (Vec<_>, Vec<_>) = rooms.iter().partition(|room| *room % 3 == 0);
    for room in &left {
        guest.leave(*room)?;
    }
    for (index, room) in rooms.iter().enumerate() {
        witness.say(*room, &format!("later {index}"))?;
    }
    for room in &rooms {
        let count = if kept.contains(room) { 2 } else { 1 };
        let what = format!("{count} messages of room {room}");
        context.eventually(&what, || Ok(guest.messages(*room).len() >= count))?;
        equal("the messages of a room", &guest.messages(*room).len(), &count)?;
    }
    guest.socket.close();
    for room in &rooms {
        context.eventually(&format!("a roster of room {room} with the witness alone"), || {
            Ok(witness.roster(*room) == [witness.user.id])
        })?;
    }
    Ok(())
}

/// More than 32 once, and fewer where the protocol or the transport alone is another.
fn few_or_many(context: &Context) -> usize {
    if context.combo == E4W { 34 } else { 10 }
}

fn sessions(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let user = context.user()?;
    let mut tabs: Vec<Chat> = (0..few_or_many(context))
        .map(|index| context.chat(&user, &format!("tab{index}")))
        .collect::<Result<_, _>>()?;
    join_all(&tabs, room)?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    while let Some(tab) = tabs.pop() {
        let text = format!("to {} more", tabs.len());
        witness.say(room, &text)?;
        tab.message_with(&text)?;
        all_hear(&tabs, &text)?;
        if tabs.len().is_multiple_of(2) {
            tab.leave(room)?;
        } else {
            tab.socket.close();
        }
        if !tabs.is_empty() {
            let online = &witness.join(room)?["online"];
            equal("online while sessions of the user are there", online, &json!(2))?;
        }
    }
    witness.roster_of(room, &[witness.user.id])?;
    Ok(())
}

fn members(context: &Context) -> Outcome {
    let (room, watcher) = guest_in_room(context)?;
    let mut crowd = crowd(context, few_or_many(context))?;
    join_all(&crowd, room)?;
    let mut inside = [users_of(&crowd), vec![watcher.user.id]].concat();
    watcher.roster_of(room, &inside)?;
    while let Some(member) = crowd.pop() {
        let text = format!("before {} are left", crowd.len() + 1);
        member.say(room, &text)?;
        member.message_with(&text)?;
        watcher.message_with(&text)?;
        all_hear(&crowd, &text)?;
        if crowd.len().is_multiple_of(2) {
            member.leave(room)?;
        } else {
            member.socket.hang_up();
        }
        inside.retain(|id| *id != member.user.id);
        watcher.roster_of(room, &inside)?;
    }
    Ok(())
}

fn deltas(context: &Context) -> Outcome {
    let (room, watcher, mover) =
        (context.room()?, context.guest("watcher")?, context.observer("mover")?);
    watcher.join_as(room, "delta")?;
    for turn in 0..18 {
        context.step(format!("turn {turn}"));
        mover.join(room)?;
        let id = json!(mover.user.id);
        watcher.event_where("a change with who joined", |event| {
            event.name == "presence" && event.arg(0)["joined"][0]["id"] == id
        })?;
        mover.leave(room)?;
        watcher.event_where("a change with who left", |event| {
            event.name == "presence" && event.arg(0)["left"][0] == id
        })?;
    }
    Ok(())
}

fn visits(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let user = context.user()?;
    for visit in 0..few_or_many(context) {
        context.step(format!("visit {visit}"));
        let guest = context.chat(&user, &format!("visit{visit}"))?;
        guest.join(room)?;
        witness.roster_of(room, &[witness.user.id, user.id])?;
        guest.say_to(&witness, room, &format!("visit {visit}"))?;
        guest.message_with(&format!("visit {visit}"))?;
        guest.socket.close();
        witness.roster_of(room, &[witness.user.id])?;
    }
    Ok(())
}

fn acks(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let texts: Vec<String> = (0..40).map(|index| format!("number {index}")).collect();
    let events = texts.iter().map(|text| ("message", message(room, text)));
    let answers = guest.ask_all(events)?;
    for (index, answer) in (1..).zip(&answers) {
        has_fields(answer, json!({ "ok": true, "seq": context.base(room) + index }))?;
    }
    witness.message_with("number 39")?;
    equal("the messages", &witness.texts(room), &texts)?;
    let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
    let received: Vec<Value> =
        witness.messages(room).iter().map(|event| event["id"].clone()).collect();
    equal("the ids of the acks", &ids, &received.iter().collect())
}

/// Each user sends fewer than LIM-20 takes at once.
const EACH: u64 = 50;
const AUTHORS: u64 = 6;

fn pages(context: &Context) -> Outcome {
    let room = context.room()?;
    let reader = context.guest("reader")?;
    let authors = crowd(context, AUTHORS as usize)?;
    join_all(&authors, room)?;
    let sent = together(&authors, |who, author| {
        let texts = (0..EACH).map(|index| message(room, &format!("{who}.{index}")));
        author.ask_all(texts.map(|arg| ("message", arg)))
    });
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    for (who, answers) in sent.into_iter().enumerate() {
        for (index, answer) in answers?.iter().enumerate() {
            accepts(answer)?;
            texts.insert(answer["seq"].as_u64().unwrap_or(0), format!("{who}.{index}"));
        }
    }
    let all = AUTHORS * EACH;
    equal("the seqs of the acks", &(texts.len() as u64), &all)?;
    let (base, rest) = (context.base(room), context.rest());
    let total = base + all;
    for page in 1..=all / 20 {
        let answer = rest.history(&reader.user.token, room, page, total)?;
        let rows = answer["data"].as_array().cloned().unwrap_or_default();
        equal("the messages on a page", &rows.len(), &20)?;
        for row in rows {
            let text = row["seq"].as_u64().and_then(|seq| texts.remove(&seq));
            require(text.as_deref() == row["msg"].as_str(), "each message once", || {
                row.to_string()
            })?;
        }
    }
    equal("the messages on no page", &texts.len(), &0)?;
    context.eventually(&format!("{total} unread"), || {
        let counts = reader.ask("login", json!({}))?["count"].clone();
        Ok(counts[format!("room{room}")] == json!(total))
    })?;
    let key = format!("room{room}");
    reader.event_where(&format!("a count of {total}"), |event| {
        event.name == "count" && event.arg(0)[&key] == json!(total)
    })?;
    Ok(())
}

fn numbers(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    for (index, id) in
        [2_147_483_647u64, 2_147_483_648, 4_294_967_295, 4_294_967_296, 9_007_199_254_740_991]
            .into_iter()
            .enumerate()
    {
        let text = format!("with the ack id {id}");
        guest.socket.send_message(format!("2{id}[\"message\",{}]", message(room, &text)))?;
        let answer = guest.socket.wait_ack(id, context.wait())?;
        has_fields(&answer, json!({ "ok": true, "seq": context.base(room) + 1 + index as u64 }))?;
        witness.message_with(&text)?;
    }
    let rest = context.rest();
    for page in [1_000u64, 2_147_483_648, 4_294_967_296, 9_007_199_254_740_991] {
        let answer = rest.history(&guest.user.token, room, page, 0)?;
        let is_empty = answer["data"].as_array().is_some_and(Vec::is_empty);
        let is_fault = answer["errno"] == json!(1);
        require(is_empty || is_fault, "a page without messages", || answer.to_string())?;
    }
    if !context.capabilities().rooms_on_demand {
        return Ok(());
    }
    context.step("room 999999999, as a number and as a string");
    const LARGEST: u64 = 999_999_999;
    let joined = guest.join(LARGEST)?;
    equal("room", &joined["room"], &json!(LARGEST))?;
    accepts(&witness.ask("room", json!({ "roomid": LARGEST.to_string() }))?)?;
    // Others may be in it too.
    let answer = guest.say(LARGEST, &format!("in the largest room, besides {room}"))?;
    let event = witness.message_of(&answer)?;
    equal("roomid", &event.arg(0)["roomid"], &json!(LARGEST))
}
