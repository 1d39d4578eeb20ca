//! Chapter 4: messages, order, durability.

use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::support::*;
use crate::capabilities::Need;
use crate::case::{Case, case};
use crate::client::chat::message;
use crate::combo::{EIO4, EVERY};
use crate::context::{Context, QUIET};
use crate::outcome::{Outcome, equal, fail, require};

const CHAT: &[Need] = &[Need::Chat];

pub const CASES: &[Case] = &[
    case(
        "msg.reaches-members",
        &["CHAT-37", "CHAT-38", "CHAT-49", "CHAT-52"],
        EVERY,
        CHAT,
        (
            "sends a message in a room of three, with another user outside",
            "one event with exactly nine members to each member, nothing outside",
        ),
        reaches_members,
    ),
    case(
        "msg.author",
        &["CHAT-39", "CHAT-40", "CHAT-9", "REST-46"],
        EVERY,
        CHAT,
        (
            "sends a message with a forged name and avatar, looks at it on both sides and in the history",
            "the e-mail for the author alone, u and his id for others; name and avatar of the server",
        ),
        author,
    ),
    case(
        "msg.text-unchanged",
        &["CHAT-41", "CHAT-43"],
        EVERY,
        CHAT,
        (
            "sends markup, blanks, control characters, combining and astral characters, \"0\"",
            "every text comes out as it went in",
        ),
        text_unchanged,
    ),
    case(
        "msg.types",
        &["CHAT-42"],
        EVERY,
        CHAT,
        (
            "sends msg and img missing, null and of other types",
            "\"\" for the first two, invalid_argument else",
        ),
        types,
    ),
    case(
        "msg.empty",
        &["CHAT-43", "CHAT-53"],
        EVERY,
        CHAT,
        ("sends messages without text and image", "invalid_argument; \"0\" and a blank are sent"),
        empty,
    ),
    case(
        "msg.length",
        &["CHAT-44", "LIM-9"],
        EVERY,
        CHAT,
        ("sends 2000 characters, then 2001", "the first is sent, the second too_large"),
        length,
    ),
    case(
        "msg.image",
        &["CHAT-45", "REST-54", "CHAT-46"],
        EVERY,
        CHAT,
        (
            "sends data URLs of the four image types, then the URL that comes out of one",
            "the event carries a path below /storage/images/ that serves the bytes",
        ),
        image,
    ),
    case(
        "msg.bad-image",
        &["CHAT-47"],
        EVERY,
        CHAT,
        (
            "sends other URLs, other types, text in image clothes, bad base64",
            "image_invalid for each, nothing is sent",
        ),
        bad_image,
    ),
    case(
        "msg.big-image",
        &["CHAT-47", "LIM-10"],
        EIO4,
        CHAT,
        ("sends an image of 3 MiB and one byte", "too_large, if the payload limit lets it through"),
        big_image,
    ),
    case(
        "msg.time",
        &["CHAT-48", "LIM-25"],
        EVERY,
        CHAT,
        (
            "sends RFC 3339 times and other things as time",
            "the first as they are, the server's time for the rest",
        ),
        time,
    ),
    case(
        "msg.not-member",
        &["CHAT-51", "CHAT-53"],
        EVERY,
        CHAT,
        (
            "posts from outside, while another session of the user is inside",
            "not_member, nothing sent or stored, no seq taken",
        ),
        not_member,
    ),
    case(
        "msg.refused-leaves-no-trace",
        &["CHAT-53", "CHAT-60"],
        EVERY,
        CHAT,
        (
            "sends refused messages between good ones",
            "seq 1, 2, 3 for the good, none for the refused",
        ),
        refused_no_trace,
    ),
    case(
        "msg.one-order",
        &["CHAT-60", "CHAT-61", "CHAT-62"],
        EVERY,
        CHAT,
        (
            "lets four members send 25 messages each, all at once",
            "each member gets all 100 once, in the order of seq, each author's in the order sent",
        ),
        one_order,
    ),
    case(
        "msg.event-order",
        &["CHAT-63"],
        EVERY,
        CHAT,
        (
            "sends room, message, roomout, message in one go",
            "the first message is sent, the second refused as not_member",
        ),
        event_order,
    ),
    case(
        "msg.ack-equals-event",
        &["CHAT-64", "CHAT-49"],
        EVERY,
        CHAT,
        (
            "sends messages with ack ids",
            "id and seq of each ack equal those of the event; ids are unique",
        ),
        ack_equals_event,
    ),
    case(
        "msg.acked-is-stored",
        &["CHAT-65", "REST-47"],
        EVERY,
        CHAT,
        (
            "asks for the history right after an ack",
            "the message is in it, with the same id and seq",
        ),
        acked_is_stored,
    ),
    case(
        "msg.none-from-before",
        &["CHAT-69"],
        EVERY,
        CHAT,
        ("joins a room with a history", "no message from before the join"),
        none_from_before,
    ),
    case(
        "msg.burst",
        &["LIM-22"],
        EVERY,
        CHAT,
        ("sends 25 messages at once", "all are accepted"),
        burst,
    ),
    case(
        "msg.rate-limit",
        &["LIM-20", "ERR-12", "ERR-14", "ERR-13"],
        EIO4,
        CHAT,
        (
            "sends 400 messages at once",
            "some are rate_limited, the session stays open, and works again later",
        ),
        rate_limit,
    ),
    case(
        "room.rate-limit",
        &["LIM-21", "ERR-12"],
        EIO4,
        CHAT,
        ("joins and leaves 150 times at once", "some are rate_limited, the session stays open"),
        join_rate_limit,
    ),
    case(
        "msg.big-event",
        &["LIM-30"],
        EVERY,
        CHAT,
        ("sends an event of 70000 bytes without an image", "too_large"),
        big_event,
    ),
    case(
        "msg.limits-are-private",
        &["LIM-26", "ERR-7"],
        EIO4,
        CHAT,
        (
            "floods from one session while another talks",
            "the other is neither refused nor delayed much",
        ),
        limits_are_private,
    ),
];

const FIELDS: [&str; 9] =
    ["userid", "username", "src", "msg", "img", "roomid", "time", "id", "seq"];

fn reaches_members(context: &Context) -> Outcome {
    let room = context.room()?;
    let members = [context.guest("one")?, context.observer("two")?, context.observer("three")?];
    let outside = context.guest("outside")?;
    for member in &members {
        member.join(room)?;
    }
    let answer = members[0].say(room, "to the members")?;
    for member in &members {
        let event = member.message_with("to the members")?;
        has_exactly("the message", &event, &FIELDS)?;
        let integers = ["roomid", "id", "seq"].iter().all(|key| event[*key].is_u64());
        require(integers, "roomid, id and seq as integers", || event.to_string())?;
        equal("roomid", &event["roomid"], &json!(room))?;
        equal("seq", &event["seq"], &answer["seq"])?;
    }
    context.pause(QUIET);
    for member in &members {
        equal("the copies of the message", &member.messages(room).len(), &1)?;
    }
    let stray = outside.socket.events().into_iter().find(|event| event.name == "message");
    require(stray.is_none(), "nothing outside the room", || format!("{stray:?}"))
}

fn author(context: &Context) -> Outcome {
    let room = context.room()?;
    let (one, two) = (context.guest("one")?, context.observer("two")?);
    one.join(room)?;
    two.join(room)?;
    let mut arg = message(room, "who wrote this?");
    arg["username"] = json!("the pope");
    arg["userid"] = json!("pope@example.com");
    arg["src"] = json!("https://evil.example/x.png");
    arg["id"] = json!(1);
    accepts(&one.ask("message", arg)?)?;
    let own = one.message_with("who wrote this?")?;
    let seen = two.message_with("who wrote this?")?;
    equal("userid for the author", &own["userid"], &json!(one.user.email))?;
    equal("userid for others", &seen["userid"], &json!(one.user.public_id()))?;
    for event in [&own, &seen] {
        equal("username", &event["username"], &json!(one.user.name))?;
        equal("src", &event["src"], &json!(one.user.avatar))?;
    }
    for (user, event) in [(&one.user, &own), (&two.user, &seen)] {
        let page = context.rest().history(&user.token, room, 1, 0)?;
        let row = &page["data"][0];
        for key in FIELDS {
            equal(&format!("{key} in the history"), &row[key], &event[key])?;
        }
    }
    Ok(())
}

fn text_unchanged(context: &Context) -> Outcome {
    let room = context.room()?;
    let (one, two) = (context.guest("one")?, context.observer("two")?);
    one.join(room)?;
    two.join(room)?;
    for text in [
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
    ] {
        let answer = one.say(room, text)?;
        let event = two.socket.wait_event(context.wait(), "the message", |event| {
            event.name == "message" && event.arg(0)["seq"] == answer["seq"]
        })?;
        equal("msg", &event.arg(0)["msg"], &json!(text))?;
    }
    let page = context.rest().history(&two.user.token, room, 1, 0)?;
    equal("msg in the history", &page["data"][0]["msg"], &json!("<b>&lt;&amp;</b>"))
}

fn types(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    accepts(&guest.ask("message", json!({ "roomid": room, "msg": "no img" }))?)?;
    equal("img", &guest.message_with("no img")?["img"], &json!(""))?;
    accepts(&guest.ask("message", json!({ "roomid": room, "msg": "null img", "img": null }))?)?;
    equal("img", &guest.message_with("null img")?["img"], &json!(""))?;
    for bad in [json!(1), json!(true), json!(false), json!([]), json!({}), json!(0)] {
        let as_msg = json!({ "roomid": room, "msg": bad, "img": "" });
        let as_img = json!({ "roomid": room, "msg": "x", "img": bad });
        for arg in [as_msg, as_img] {
            let answer = guest.ask("message", arg.clone())?;
            require(answer["code"] == json!("invalid_argument"), "invalid_argument", || {
                format!("{answer} for {arg}")
            })?;
        }
    }
    Ok(())
}

fn empty(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
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
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    for character in ["x", "é", "😀"] {
        let exact = character.repeat(2_000);
        accepts(&guest.ask("message", message(room, &exact))?)?;
        guest.message_with(&exact)?;
        refuses(&guest.ask("message", message(room, &character.repeat(2_001)))?, "too_large")?;
    }
    Ok(())
}

pub const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";
pub const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
pub const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\
\xff\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0?\0\x7f\xff\xd9";
pub const WEBP: &[u8] =
    b"RIFF\x1a\0\0\0WEBPVP8L\r\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0";

fn data_url(kind: &str, bytes: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", BASE64.encode(bytes))
}

fn image(context: &Context) -> Outcome {
    let room = context.room()?;
    let (one, two) = (context.guest("one")?, context.observer("two")?);
    one.join(room)?;
    two.join(room)?;
    let mut url = String::new();
    for (kind, bytes) in [("png", PNG), ("gif", GIF), ("jpeg", JPEG), ("webp", WEBP)] {
        context.step(format!("sends a {kind}"));
        let arg = json!({ "roomid": room, "msg": "", "img": data_url(kind, bytes) });
        let answer = one.ask("message", arg)?;
        accepts(&answer)?;
        let event = two.socket.wait_event(context.wait(), "the message", |event| {
            event.name == "message" && event.arg(0)["seq"] == answer["seq"]
        })?;
        url = event.arg(0)["img"].as_str().unwrap_or("").to_owned();
        require(url.starts_with("/storage/images/"), "a path below /storage/images/", || {
            url.clone()
        })?;
        let file = context.get(&url)?;
        status(&file, 200)?;
        require(file.body == bytes, "the bytes that were sent", || format!("{:?}", file.body))?;
        header(&file, "Content-Type", &format!("image/{kind}"))?;
    }
    context.step("sends a path of the server as img");
    let answer = one.ask("message", json!({ "roomid": room, "msg": "", "img": url }))?;
    accepts(&answer)?;
    let event = two.socket.wait_event(context.wait(), "the message", |event| {
        event.name == "message" && event.arg(0)["seq"] == answer["seq"]
    })?;
    equal("img", &event.arg(0)["img"], &json!(url))
}

fn bad_image(context: &Context) -> Outcome {
    let room = context.room()?;
    let (one, two) = (context.guest("one")?, context.observer("two")?);
    one.join(room)?;
    two.join(room)?;
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>";
    for img in [
        "https://evil.example/x.png".to_owned(),
        "javascript:alert(1)".to_owned(),
        "x".to_owned(),
        "/etc/passwd".to_owned(),
        "/storage/../secret".to_owned(),
        format!("/storage/{}", "x".repeat(600)),
        data_url("svg+xml", svg),
        data_url("png", svg),
        data_url("jpeg", b"just text"),
        "data:image/png;base64,%%%%".to_owned(),
        "data:image/png;base64,".to_owned(),
        "data:text/html;base64,PGI+".to_owned(),
        "data:image/png,plain".to_owned(),
    ] {
        let answer = one.ask("message", json!({ "roomid": room, "msg": "", "img": img }))?;
        require(answer["code"] == json!("image_invalid"), "image_invalid", || {
            format!("{answer} for {}", &img[..img.len().min(60)])
        })?;
    }
    one.say(room, "the end")?;
    two.message_with("the end")?;
    equal("the messages heard", &two.messages(room).len(), &1)
}

fn big_image(context: &Context) -> Outcome {
    let max = max_payload(context)?;
    let mut bytes = PNG.to_vec();
    bytes.resize(3_145_728 + 1, 0);
    let img = data_url("png", &bytes);
    if img.len() + 200 > max {
        return crate::outcome::skip(format!(
            "maxPayload is {max}: an image above LIM-10 does not fit into a message"
        ));
    }
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    refuses(&guest.ask("message", json!({ "roomid": room, "msg": "", "img": img }))?, "too_large")
}

fn time(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    let send = |time: &Value| -> Result<Value, crate::outcome::Stop> {
        let arg = json!({ "roomid": room, "msg": "x", "time": time });
        let answer = guest.ask("message", arg)?;
        accepts(&answer)?;
        let event = guest.socket.wait_event(context.wait(), "the message", |event| {
            event.name == "message" && event.arg(0)["seq"] == answer["seq"]
        })?;
        Ok(event.arg(0)["time"].clone())
    };
    for time in
        ["2026-11-23T00:31:11.784Z", "2026-11-23T00:31:11Z", "1999-12-31T23:59:59.123456+05:30"]
    {
        equal("time", &send(&json!(time))?, &json!(time))?;
    }
    let long = format!("2026-11-23T00:31:11.{}Z", "1".repeat(60));
    for time in [
        json!("yesterday"),
        json!(""),
        json!(1_700_000_000),
        json!(null),
        json!("2026-13-45T99:99:99Z"),
        json!("<script>"),
        json!(long),
        json!({}),
    ] {
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
    equal("seq", &answer["seq"], &json!(1))?;
    inside.message_with("this tab")?;
    equal("the messages heard", &inside.messages(room).len(), &1)?;
    let page = context.rest().history(&user.token, room, 1, 0)?;
    equal("the messages stored", &page["total"], &json!(1))
}

fn refused_no_trace(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    guest.join(room)?;
    witness.join(room)?;
    let stranger = context.observer("stranger")?;
    for index in 1..=3u64 {
        let answer = guest.say(room, &format!("good {index}"))?;
        equal("seq", &answer["seq"], &json!(index))?;
        refuses(&stranger.ask("message", message(room, "from outside"))?, "not_member")?;
        refuses(&guest.ask("message", json!({ "roomid": room, "msg": "" }))?, "invalid_argument")?;
        refuses(&guest.ask("message", message(room, &"x".repeat(3_000)))?, "too_large")?;
        let bad = json!({ "roomid": room, "msg": "", "img": "x" });
        refuses(&guest.ask("message", bad)?, "image_invalid")?;
    }
    witness.message_with("good 3")?;
    let seqs: Vec<Value> = witness.messages(room).iter().map(|m| m["seq"].clone()).collect();
    equal("seq", &seqs, &vec![json!(1), json!(2), json!(3)])?;
    let page = context.rest().history(&guest.user.token, room, 1, 0)?;
    equal("the messages stored", &page["total"], &json!(3))
}

fn one_order(context: &Context) -> Outcome {
    let room = context.room()?;
    let members = [
        context.guest("one")?,
        context.observer("two")?,
        context.observer("three")?,
        context.observer("four")?,
    ];
    for member in &members {
        member.join(room)?;
    }
    std::thread::scope(|scope| {
        let sending: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(who, member)| {
                scope.spawn(move || {
                    (0..25).try_for_each(|index| {
                        member.emit("message", message(room, &format!("{who}.{index}")))
                    })
                })
            })
            .collect();
        sending.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    let wanted: Vec<u64> = (1..=100).collect();
    let mut orders = Vec::new();
    for member in &members {
        let seqs = context.eventually("100 messages", || {
            let messages = member.messages(room);
            Ok((messages.len() >= 100).then_some(messages))
        })?;
        let numbers: Vec<u64> = seqs.iter().filter_map(|m| m["seq"].as_u64()).collect();
        equal("the seq of the messages", &numbers, &wanted)?;
        orders.push(seqs.iter().map(|m| m["msg"].clone()).collect::<Vec<_>>());
    }
    require(orders.iter().all(|order| *order == orders[0]), "one order for all", || {
        "members got the messages in different orders".to_owned()
    })?;
    for who in 0..4 {
        let prefix = format!("{who}.");
        let own: Vec<String> = orders[0]
            .iter()
            .filter_map(|text| text.as_str())
            .filter(|text| text.starts_with(&prefix))
            .map(str::to_owned)
            .collect();
        let wanted: Vec<String> = (0..25).map(|index| format!("{who}.{index}")).collect();
        equal("the order of one author", &own, &wanted)?;
    }
    Ok(())
}

fn event_order(context: &Context) -> Outcome {
    let room = context.room()?;
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    witness.join(room)?;
    for round in 0..5 {
        let inside = format!("inside {round}");
        let join = guest.socket.emit_with_id("room", &[json!({ "roomid": room })])?;
        let first = guest.socket.emit_with_id("message", &[message(room, &inside)])?;
        let leave = guest.socket.emit_with_id("roomout", &[json!({ "roomid": room })])?;
        let second = guest.socket.emit_with_id("message", &[message(room, "outside")])?;
        accepts(&guest.socket.wait_ack(join, context.wait())?)?;
        accepts(&guest.socket.wait_ack(first, context.wait())?)?;
        accepts(&guest.socket.wait_ack(leave, context.wait())?)?;
        refuses(&guest.socket.wait_ack(second, context.wait())?, "not_member")?;
        witness.message_with(&inside)?;
    }
    Ok(())
}

fn ack_equals_event(context: &Context) -> Outcome {
    let (room, other) = (context.room()?, context.room()?);
    let (guest, witness) = (context.guest("guest")?, context.observer("witness")?);
    witness.join(room)?;
    guest.join(room)?;
    let mut ids = Vec::new();
    for index in 0..5 {
        let text = format!("number {index}");
        let answer = guest.say(room, &text)?;
        let event = witness.message_with(&text)?;
        equal("id", &answer["id"], &event["id"])?;
        equal("seq", &answer["seq"], &event["seq"])?;
        ids.push(event["id"].as_u64().unwrap_or(0));
    }
    witness.leave(room)?;
    witness.join(other)?;
    let answer = witness.say(other, "elsewhere")?;
    equal("seq in another room", &answer["seq"], &json!(1))?;
    ids.push(answer["id"].as_u64().unwrap_or(0));
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    require(ids.len() == count && !ids.contains(&0), "unique ids", || format!("{ids:?}"))
}

fn acked_is_stored(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    for index in 0..4 {
        let text = format!("number {index}");
        let answer = guest.say(room, &text)?;
        let page = context.rest().history(&guest.user.token, room, 1, 0)?;
        let rows = page["data"].as_array().cloned().unwrap_or_default();
        let Some(row) = rows.last() else {
            return fail("the message in the history", page.to_string());
        };
        equal("msg", &row["msg"], &json!(text))?;
        equal("id", &row["id"], &answer["id"])?;
        equal("seq", &row["seq"], &answer["seq"])?;
    }
    Ok(())
}

fn none_from_before(context: &Context) -> Outcome {
    let room = context.room()?;
    let (talker, guest) = (context.observer("talker")?, context.guest("guest")?);
    talker.join(room)?;
    for index in 0..5 {
        talker.say(room, &format!("before {index}"))?;
    }
    guest.join(room)?;
    context.pause(QUIET);
    talker.say(room, "after")?;
    guest.message_with("after")?;
    let texts: Vec<Value> = guest.messages(room).iter().map(|m| m["msg"].clone()).collect();
    equal("the messages", &texts, &vec![json!("after")])
}

fn burst(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    let ids: Vec<u64> = (0..25)
        .map(|index| guest.socket.emit_with_id("message", &[message(room, &format!("{index}"))]))
        .collect::<Result<_, _>>()?;
    for id in ids {
        accepts(&guest.socket.wait_ack(id, context.wait())?)?;
    }
    Ok(())
}

/// Sends events at once; the codes of their acks, `None` for an accepted one.
fn flood(
    context: &Context,
    guest: &crate::client::chat::Chat,
    events: impl Iterator<Item = (&'static str, Value)>,
) -> Result<Vec<Option<String>>, crate::outcome::Stop> {
    let ids: Vec<u64> = events
        .map(|(name, arg)| guest.socket.emit_with_id(name, &[arg]))
        .collect::<Result<_, _>>()?;
    ids.into_iter()
        .map(|id| {
            let answer = guest.socket.wait_ack(id, context.wait() * 3)?;
            Ok(answer["code"].as_str().map(str::to_owned))
        })
        .collect()
}

fn judge_flood(guest: &crate::client::chat::Chat, codes: &[Option<String>], what: &str) -> Outcome {
    require(guest.socket.is_open(), "the session stays open", || {
        format!("{:?}", guest.socket.ending())
    })?;
    let limited = codes.iter().filter(|code| code.as_deref() == Some("rate_limited")).count();
    let other = codes.iter().flatten().find(|code| *code != "rate_limited");
    require(other.is_none(), "ok or rate_limited", || format!("{other:?}"))?;
    if limited == 0 {
        return crate::outcome::skip(format!(
            "{} {what} at once are accepted: the limit is lifted",
            codes.len()
        ));
    }
    require(limited < codes.len() / 2 + codes.len() / 3, "the burst is accepted", || {
        format!("{limited} of {} are refused", codes.len())
    })
}

fn rate_limit(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    let codes =
        flood(context, &guest, (0..400).map(|n| ("message", message(room, &format!("{n}")))))?;
    judge_flood(&guest, &codes, "messages")?;
    context.pause(Duration::from_millis(1_500));
    guest.say(room, "later")?;
    Ok(())
}

fn join_rate_limit(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    let codes = flood(context, &guest, (0..150).map(|_| ("room", json!({ "roomid": room }))))?;
    judge_flood(&guest, &codes, "joins")
}

fn big_event(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    let mut arg = message(room, "short");
    arg["padding"] = json!("x".repeat(70_000));
    refuses(&guest.ask("message", arg)?, "too_large")?;
    arg = json!({ "roomid": room, "padding": "x".repeat(60_000) });
    accepts(&guest.ask("room", arg)?)
}

fn limits_are_private(context: &Context) -> Outcome {
    let (room, calm_room) = (context.room()?, context.room()?);
    let (flooder, calm) = (context.guest("flooder")?, context.observer("calm")?);
    flooder.join(room)?;
    calm.join(calm_room)?;
    for index in 0..200 {
        flooder.emit("message", message(room, &format!("{index}")))?;
    }
    for index in 0..5 {
        calm.say(calm_room, &format!("calm {index}"))?;
    }
    require(calm.socket.is_open(), "the other session goes on", || {
        format!("{:?}", calm.socket.ending())
    })
}
