//! Chapter 4: messages, order, durability.

use super::prelude::*;

cases! {
    reaches_members "msg.reaches-members" ["CHAT-37", "CHAT-38", "CHAT-49", "CHAT-52"] over EVERY needs CHAT
        does "sends a message in a room of three members while another user is outside and a third has left"
        expects "one event with exactly nine fields to each member, and nothing outside the room";
    author "msg.author" ["CHAT-39", "CHAT-40", "CHAT-9", "REST-46"] over EVERY needs CHAT
        does "sends a message with forged name and avatar, and compares what author, others and history show"
        expects "the author gets their e-mail, others get u and the id; name and avatar come from the server";
    text_unchanged "msg.text-unchanged" ["CHAT-41", "CHAT-43"] over EVERY needs CHAT
        does "sends markup, blanks, control characters, combining and astral characters, and \"0\""
        expects "every text is delivered unchanged";
    types "msg.types" ["CHAT-42"] over EVERY needs CHAT
        does "sends msg and img missing, null and of other types"
        expects "missing and null count as \"\"; other types are invalid_argument";
    empty "msg.empty" ["CHAT-43", "CHAT-53"] over EVERY needs CHAT
        does "sends messages without text and image"
        expects "invalid_argument; \"0\" and a blank are accepted";
    length "msg.length" ["CHAT-44", "LIM-9"] over EVERY needs CHAT
        does "sends 2000 characters, then 2001"
        expects "the first is accepted, the second is too_large";
    time "msg.time" ["CHAT-48", "LIM-25"] over EVERY needs CHAT
        does "sends RFC 3339 times and other values as time"
        expects "RFC 3339 times are kept; others are replaced by the server's time";
    not_member "msg.not-member" ["CHAT-51", "CHAT-53"] over EVERY needs CHAT
        does "sends a message from outside the room while another session of the user is in it"
        expects "not_member; nothing is delivered or stored, and no seq is used";
    refused_no_trace "msg.refused-leaves-no-trace" ["CHAT-53", "CHAT-60"] over EVERY needs CHAT
        does "sends refused messages between accepted ones"
        expects "seq 1, 2, 3 for the accepted messages, none for the refused";
    one_order "msg.one-order" ["CHAT-60", "CHAT-61", "CHAT-62"] over EVERY needs CHAT
        does "sends 25 messages from each of four members at the same time"
        expects "each member gets all 100 messages once, in the order of seq, and those of each author in the order sent";
    event_order "msg.event-order" ["CHAT-63"] over EVERY needs CHAT
        does "sends room, message, roomout and message without waiting"
        expects "the first message is accepted, the second refused as not_member";
    ack_equals_event "msg.ack-equals-event" ["CHAT-64", "CHAT-49"] over EVERY needs CHAT
        does "sends messages with ack ids"
        expects "id and seq of each ack equal those of the event; ids are unique";
    acked_is_stored "msg.acked-is-stored" ["CHAT-65", "REST-47"] over EVERY needs CHAT
        does "requests the history directly after an ack"
        expects "it contains the message with the same id and seq";
    none_from_before "msg.none-from-before" ["CHAT-69"] over EVERY needs CHAT
        does "joins a room with history"
        expects "no message from before the join arrives";
}

const FIELDS: [&str; 9] =
    ["userid", "username", "src", "msg", "img", "roomid", "time", "id", "seq"];

fn reaches_members(context: &Context) -> Outcome {
    let room = context.room()?;
    let members = [context.guest("one")?, context.observer("two")?, context.observer("three")?];
    let (outside, left) = (context.guest("outside")?, context.observer("left")?);
    join_all(&members, room)?;
    left.join(room)?;
    left.leave(room)?;
    let answer = members[0].say(room, "to the members")?;
    for member in &members {
        let event = member.message_with("to the members")?;
        has_exactly("the message", &event, &FIELDS)?;
        are_integers(&event, &["roomid", "id", "seq"])?;
        has_fields(&event, json!({ "roomid": room, "seq": answer["seq"] }))?;
    }
    context.pause(QUIET);
    for member in &members {
        equal("the copies of the message", &member.messages(room).len(), &1)?;
    }
    for session in [&outside, &left] {
        never("no message outside the room", &session.socket, |event| event.name == "message")?;
    }
    Ok(())
}

fn author(context: &Context) -> Outcome {
    let (room, one, two) = guest_and_witness(context)?;
    let mut arg = message(room, "who wrote this?");
    arg["username"] = json!("forged");
    arg["userid"] = json!("forged@example.com");
    arg["src"] = json!("https://evil.example/x.png");
    arg["id"] = json!(1);
    accepts(&one.ask("message", arg)?)?;
    let own = one.message_with("who wrote this?")?;
    let seen = two.message_with("who wrote this?")?;
    equal("userid for the author", &own["userid"], &json!(one.user.email))?;
    equal("userid for others", &seen["userid"], &json!(one.user.public_id()))?;
    for event in [&own, &seen] {
        has_fields(event, json!({ "username": one.user.name, "src": one.user.avatar }))?;
    }
    for (user, event) in [(&one.user, &own), (&two.user, &seen)] {
        let page = context.rest().history(&user.token, room, 1, 0)?;
        let row = last_row(&page);
        for key in FIELDS {
            equal(&format!("{key} in the history"), &row[key], &event[key])?;
        }
    }
    Ok(())
}

const TEXTS: [&str; 11] = [
    "<b>&lt;&amp;</b>",
    "  blanks \t\n around  ",
    "0",
    " ",
    "e\u{301} is not \u{e9}",
    "\u{0}\u{7}\u{1b}[31m",
    "😀👩‍👩‍👧 你好 مرحبا",
    "\"quotes\" \\backslashes\\ /slashes/ \\u0041",
    "\u{feff}bom \u{2028}\u{2029} \u{fffd}",
    "' OR 1=1; DROP TABLE messages; --",
    "${x} {{y}} %s %00",
];

fn text_unchanged(context: &Context) -> Outcome {
    let (room, one, two) = guest_and_witness(context)?;
    for text in TEXTS {
        let answer = one.say(room, text)?;
        let event = two.message_of(&answer)?;
        has_fields(event.arg(0), json!({ "msg": text }))?;
    }
    let page = context.rest().history(&two.user.token, room, 1, 0)?;
    let rows = page["data"].as_array().cloned().unwrap_or_default();
    let first = rows.len().checked_sub(TEXTS.len()).and_then(|first| rows.get(first));
    let first = first.map_or(Value::Null, |row| row["msg"].clone());
    equal("msg in the history", &first, &json!(TEXTS[0]))
}

fn types(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    accepts(&guest.ask("message", json!({ "roomid": room, "msg": "no img" }))?)?;
    has_fields(&guest.message_with("no img")?, json!({ "img": "" }))?;
    accepts(&guest.ask("message", json!({ "roomid": room, "msg": "null img", "img": null }))?)?;
    has_fields(&guest.message_with("null img")?, json!({ "img": "" }))?;
    for bad in each(json!([1, true, false, [], {}, 0])) {
        let as_msg = json!({ "roomid": room, "msg": bad, "img": "" });
        let as_img = json!({ "roomid": room, "msg": "x", "img": bad });
        for arg in [as_msg, as_img] {
            refuses_event(&guest, "message", &arg, "invalid_argument")?;
        }
    }
    Ok(())
}

fn empty(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    for arg in [
        json!({ "roomid": room, "msg": "", "img": "" }),
        json!({ "roomid": room }),
        json!({ "roomid": room, "msg": null, "img": null }),
    ] {
        refuses(&guest.ask("message", arg)?, "invalid_argument")?;
    }
    for text in ["0", " ", "\u{200b}"] {
        let answer = guest.ask("message", message(room, text))?;
        require(answer["ok"] == json!(true), &format!("{text:?} is sent"), || answer.to_string())?;
    }
    Ok(())
}

fn length(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    for character in ["x", "é", "😀"] {
        let exact = character.repeat(2_000);
        accepts(&guest.ask("message", message(room, &exact))?)?;
        guest.message_with(&exact)?;
        refuses(&guest.ask("message", message(room, &character.repeat(2_001)))?, "too_large")?;
    }
    Ok(())
}

fn time(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    let send = |time: &Value| -> Result<Value, Stop> {
        let arg = json!({ "roomid": room, "msg": "x", "time": time });
        let answer = guest.ask("message", arg)?;
        accepts(&answer)?;
        let event = guest.message_of(&answer)?;
        Ok(event.arg(0)["time"].clone())
    };
    for time in
        ["2026-11-23T00:31:11.784Z", "2026-11-23T00:31:11Z", "1999-12-31T23:59:59.123456+05:30"]
    {
        equal("time", &send(&json!(time))?, &json!(time))?;
    }
    let long = format!("2026-11-23T00:31:11.{}Z", "1".repeat(60));
    let month_13 = "2026-13-45T99:99:99Z";
    for time in each(json!(["yesterday", "", 1_700_000_000, null, month_13, "<script>", long, {}]))
    {
        let observed = send(&time)?;
        let text = observed.as_str().unwrap_or("");
        let shape: String =
            text.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
        require(shape == "dddd-dd-ddTdd:dd:dd.dddZ", "YYYY-MM-DDTHH:MM:SS.mmmZ", || {
            format!("{observed} for {time}")
        })?;
    }
    Ok(())
}

fn not_member(context: &Context) -> Outcome {
    let room = context.room()?;
    let user = context.user()?;
    let (inside, outside) = (context.observer("inside")?, context.chat(&user, "outside")?);
    let tab = context.chat(&user, "tab")?;
    inside.join(room)?;
    refuses(&outside.ask("message", message(room, "stranger"))?, "not_member")?;
    tab.join(room)?;
    refuses(&outside.ask("message", message(room, "not this tab"))?, "not_member")?;
    let answer = tab.say(room, "this tab")?;
    has_fields(&answer, json!({ "seq": context.base(room) + 1 }))?;
    inside.message_with("this tab")?;
    equal("the messages received", &inside.messages(room).len(), &1)?;
    let page = context.rest().history(&user.token, room, 1, 0)?;
    equal("the messages stored", &page["total"], &json!(context.base(room) + 1))
}

fn refused_no_trace(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let stranger = context.observer("stranger")?;
    for index in 1..=3u64 {
        let answer = guest.say(room, &format!("good {index}"))?;
        has_fields(&answer, json!({ "seq": context.base(room) + index }))?;
        refuses(&stranger.ask("message", message(room, "from outside"))?, "not_member")?;
        refuses(&guest.ask("message", json!({ "roomid": room, "msg": "" }))?, "invalid_argument")?;
        refuses(&guest.ask("message", message(room, &"x".repeat(3_000)))?, "too_large")?;
        let bad = json!({ "roomid": room, "msg": "", "img": "x" });
        refuses(&guest.ask("message", bad)?, "image_invalid")?;
    }
    witness.message_with("good 3")?;
    let base = context.base(room);
    equal("seq", &witness.seqs(room), &(base + 1..=base + 3).collect())?;
    let page = context.rest().history(&guest.user.token, room, 1, 0)?;
    equal("the messages stored", &page["total"], &json!(base + 3))
}

fn one_order(context: &Context) -> Outcome {
    let room = context.room()?;
    let members = [
        context.guest("one")?,
        context.observer("two")?,
        context.observer("three")?,
        context.observer("four")?,
    ];
    join_all(&members, room)?;
    let sent = together(&members, |who, member| {
        (0..25)
            .try_for_each(|index| member.emit("message", message(room, &format!("{who}.{index}"))))
    });
    sent.into_iter().collect::<Result<(), _>>()?;
    let base = context.base(room);
    let wanted: Vec<u64> = (base + 1..=base + 100).collect();
    let mut orders = Vec::new();
    for member in &members {
        context.eventually("100 messages", || Ok(member.seqs(room).len() >= 100))?;
        equal("the seq of the messages", &member.seqs(room), &wanted)?;
        orders.push(member.texts(room));
    }
    require(orders.iter().all(|order| *order == orders[0]), "one order for all", || {
        "members got the messages in different orders".to_owned()
    })?;
    for who in 0..4 {
        let prefix = format!("{who}.");
        let own: Vec<String> =
            orders[0].iter().filter(|text| text.starts_with(&prefix)).cloned().collect();
        let wanted: Vec<String> = (0..25).map(|index| format!("{who}.{index}")).collect();
        equal("the order of one author", &own, &wanted)?;
    }
    Ok(())
}

fn event_order(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let guest = context.guest("guest")?;
    for round in 0..5 {
        let inside = format!("inside {round}");
        let answers = guest.ask_all([
            ("room", json!({ "roomid": room })),
            ("message", message(room, &inside)),
            ("roomout", json!({ "roomid": room })),
            ("message", message(room, "outside")),
        ])?;
        answers[..3].iter().try_for_each(accepts)?;
        refuses(&answers[3], "not_member")?;
        witness.message_with(&inside)?;
    }
    Ok(())
}

fn ack_equals_event(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let other = context.room()?;
    let mut ids = Vec::new();
    for index in 0..5 {
        let text = format!("number {index}");
        let answer = guest.say(room, &text)?;
        let event = witness.message_with(&text)?;
        has_fields(&answer, json!({ "id": event["id"], "seq": event["seq"] }))?;
        ids.push(event["id"].as_u64().unwrap_or(0));
    }
    witness.leave(room)?;
    witness.join(other)?;
    let answer = witness.say(other, "elsewhere")?;
    equal("seq in another room", &answer["seq"], &json!(context.base(other) + 1))?;
    ids.push(answer["id"].as_u64().unwrap_or(0));
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    require(ids.len() == count && !ids.contains(&0), "unique ids", || format!("{ids:?}"))
}

fn acked_is_stored(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    for index in 0..4 {
        let text = format!("number {index}");
        let answer = guest.say(room, &text)?;
        let page = context.rest().history(&guest.user.token, room, 1, 0)?;
        let rows = page["data"].as_array().cloned().unwrap_or_default();
        let Some(row) = rows.last() else {
            return fail("the message in the history", page.to_string());
        };
        has_fields(row, json!({ "msg": text, "id": answer["id"], "seq": answer["seq"] }))?;
    }
    Ok(())
}

fn none_from_before(context: &Context) -> Outcome {
    let (room, talker) = watched_room(context)?;
    let guest = context.guest("guest")?;
    for index in 0..5 {
        talker.say(room, &format!("before {index}"))?;
    }
    guest.join(room)?;
    context.pause(QUIET);
    talker.say_to(&guest, room, "after")?;
    equal("the messages", &guest.texts(room), &vec!["after".to_owned()])
}
