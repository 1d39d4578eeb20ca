//! Chapter 4: messages that their author sends again.

use super::prelude::*;

cases! {
    again "cid.again" ["CHAT-91", "CHAT-93", "CHAT-96"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends a message with a cid, the same again with and without waiting, and again with another text"
        expects "each is acked like the first, the members get it once, and the next message has the next seq";
    others "cid.others" ["CHAT-92", "CHAT-49"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends the same cid as another user, in another room, and in other letters"
        expects "each is a message of its own";
    sessions "cid.sessions" ["CHAT-92", "CHAT-93"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends the same cid on three sessions of one user at the same time, and after a reconnect"
        expects "one message, and every ack names it";
    values "cid.values" ["CHAT-90"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends a cid of 1 and of 64 characters, and values that are none"
        expects "the first are accepted, the others are invalid_argument and not stored";
    refused "cid.refused" ["CHAT-94", "CHAT-53"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends a cid from outside the room, with a text that is too long, and then as it should be"
        expects "refusals, then a new message; its repetition is acked like it";
    history "cid.history" ["REST-48", "CHAT-38"] over NONE needs CHAT
        does "sends a message with a cid and one without, and reads the history as the author and as another"
        expects "the author gets the cid of the first, nobody else does, and no event has it";
}

fn with_cid(room: u64, text: &str, cid: &str) -> Value {
    let mut arg = message(room, text);
    arg["cid"] = json!(cid);
    arg
}

fn says(chat: &Chat, room: u64, text: &str, cid: &str) -> Result<Value, Stop> {
    let answer = chat.ask("message", with_cid(room, text, cid))?;
    accepts(&answer)?;
    Ok(answer)
}

/// The members have these texts of the room and no others.
fn have_heard<'a>(
    context: &Context,
    members: impl IntoIterator<Item = &'a Chat>,
    room: u64,
    texts: &[&str],
) -> Outcome {
    for member in members {
        context.eventually("the last message", || {
            Ok(member.texts(room).last().map(String::as_str) == texts.last().copied())
        })?;
        let wanted: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        equal("the texts", &member.texts(room), &wanted)?;
    }
    Ok(())
}

fn again(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let first = says(&guest, room, "once", "a-1")?;
    let base = context.base(room);
    has_fields(&first, json!({ "seq": base + 1 }))?;
    let same = with_cid(room, "once", "a-1");
    let answers = guest.ask_all(vec![("message", same); 3])?;
    for answer in &answers {
        equal("the ack of the same", answer, &first)?;
    }
    let other = says(&guest, room, "another text", "a-1")?;
    equal("the ack of another text", &other, &first)?;
    // Nothing has been answered when the second is sent.
    let both = guest.ask_all(vec![("message", with_cid(room, "twice", "a-2")); 2])?;
    both.iter().try_for_each(accepts)?;
    equal("the ack of the second", &both[1], &both[0])?;
    has_fields(&both[0], json!({ "seq": base + 2 }))?;
    has_fields(&guest.say(room, "the next")?, json!({ "seq": base + 3 }))?;
    context.pause(QUIET);
    have_heard(context, [&guest, &witness], room, &["once", "twice", "the next"])?;
    let page = context.rest().history(&guest.user.token, room, 1, 0)?;
    equal("the messages stored", &page["total"], &json!(base + 3))?;
    context.step("repeats the first from outside the room");
    guest.leave(room)?;
    refuses(&guest.ask("message", with_cid(room, "once", "a-1"))?, "not_member")
}

fn others(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let elsewhere = context.room()?;
    guest.join(elsewhere)?;
    guest.join(room)?;
    let own = says(&guest, room, "mine", "key")?;
    let theirs = says(&witness, room, "theirs", "key")?;
    let cased = says(&guest, room, "cased", "Key")?;
    let spaced = says(&guest, room, "spaced", "key ")?;
    for (index, answer) in (1..).zip([&own, &theirs, &cased, &spaced]) {
        has_fields(answer, json!({ "seq": context.base(room) + index }))?;
    }
    have_heard(context, [&witness], room, &["mine", "theirs", "cased", "spaced"])?;
    guest.join(elsewhere)?;
    // So that the ack of the message in the first room cannot be taken for that of this one.
    guest.say(elsewhere, "before")?;
    let there = says(&guest, elsewhere, "there", "key")?;
    has_fields(&there, json!({ "seq": context.base(elsewhere) + 2 }))?;
    require(there["id"] != own["id"], "another id", || there.to_string())?;
    guest.message_with("there").map(drop)?;
    Ok(())
}

fn sessions(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let user = context.user()?;
    let tabs: Vec<Chat> = (0..3)
        .map(|index| context.chat(&user, &format!("tab{index}")))
        .collect::<Result<_, _>>()?;
    join_all(&tabs, room)?;
    let answers =
        together(&tabs, |_, tab| tab.ask("message", with_cid(room, "at once", "from all")));
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    for answer in &answers {
        accepts(answer)?;
        equal("the ack of a session", answer, &answers[0])?;
    }
    for tab in &tabs {
        tab.socket.close();
    }
    let returned = context.chat(&user, "returned")?;
    returned.join(room)?;
    let answer = says(&returned, room, "at once", "from all")?;
    equal("the ack after a reconnect", &answer, &answers[0])?;
    has_fields(&returned.say(room, "the next")?, json!({ "seq": context.base(room) + 2 }))?;
    have_heard(context, [&witness], room, &["at once", "the next"])
}

fn values(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    let longest = "~".repeat(64);
    let all: String = (' '..='Z').collect();
    let base = context.base(room);
    for (index, cid) in (1..).zip(["x", " ", &longest, &all]) {
        let answer = says(&guest, room, &format!("with {cid}"), cid)?;
        has_fields(&answer, json!({ "seq": base + index }))?;
    }
    let too_long = "x".repeat(65);
    let none = json!([
        "",
        too_long,
        "é",
        "a\u{0}",
        "a\n",
        "\u{7f}",
        "😀",
        null,
        7,
        0,
        true,
        false,
        [],
        {},
        ["x"]
    ]);
    for bad in each(none) {
        let mut arg = message(room, "bad");
        arg["cid"] = bad;
        refuses_event(&guest, "message", &arg, "invalid_argument")?;
    }
    has_fields(&guest.say(room, "the next")?, json!({ "seq": base + 5 }))
}

fn refused(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let guest = context.guest("guest")?;
    witness.say(room, "before")?;
    refuses(&guest.ask("message", with_cid(room, "outside", "k"))?, "not_member")?;
    guest.join(room)?;
    let long = "x".repeat(3_000);
    refuses(&guest.ask("message", with_cid(room, &long, "k"))?, "too_large")?;
    refuses(&guest.ask("message", with_cid(room, "", "k"))?, "invalid_argument")?;
    let first = says(&guest, room, "at last", "k")?;
    let base = context.base(room);
    has_fields(&first, json!({ "seq": base + 2 }))?;
    equal("the ack of the same", &says(&guest, room, "at last", "k")?, &first)?;
    guest.leave(room)?;
    refuses(&guest.ask("message", with_cid(room, "at last", "k"))?, "not_member")?;
    has_fields(&witness.say(room, "the next")?, json!({ "seq": base + 3 }))?;
    have_heard(context, [&witness], room, &["before", "at last", "the next"])
}

fn history(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    says(&guest, room, "with", "h-1")?;
    guest.say(room, "without")?;
    says(&witness, room, "theirs", "h-1")?;
    for member in [&guest, &witness] {
        member.message_with("theirs")?;
        never("no event with a cid", &member.socket, |event| {
            event.name == "message" && event.arg(0).get("cid").is_some()
        })?;
    }
    for (reader, wanted) in [(&guest, [0]), (&witness, [2])] {
        let page = context.rest().history(&reader.user.token, room, 1, 0)?;
        let rows = page["data"].as_array().cloned().unwrap_or_default();
        let own = rows.len().checked_sub(3).map_or(&[][..], |first| &rows[first..]);
        equal("the messages", &own.len(), &3)?;
        for (index, row) in own.iter().enumerate() {
            let cid = if wanted.contains(&index) { Some(json!("h-1")) } else { None };
            equal(&format!("the cid of message {index}"), &row.get("cid").cloned(), &cid)?;
        }
    }
    Ok(())
}
