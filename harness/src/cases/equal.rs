//! Equal things are not the same thing: texts, events, names.

use std::collections::BTreeSet;

use super::prelude::*;

cases! {
    texts "equal.texts" ["CHAT-54", "CHAT-61", "CHAT-65"] over EVERY needs CHAT
        does "sends one text again and again, without acks and with them"
        expects "each is a message of its own: every member gets all of them, and the history has them";
    at_once "equal.at-once" ["CHAT-54", "CHAT-61", "SIO-40"] over EVERY needs CHAT
        does "sends one text several times in one payload, and from two sessions of a user and another user at once"
        expects "as many messages as were sent, each with an id and a seq of its own";
    events "equal.events" ["CHAT-26", "CHAT-35", "SIO-40", "PRES-29"] over EVERY needs CHAT
        does "repeats each event of the chat without a change"
        expects "each is answered and acked, and nobody else gets an event";
    names "equal.names" ["PRES-1", "PRES-4", "PRES-21", "CHAT-39"] over EVERY needs CHAT
        does "joins with two users of one name and leaves with one of them"
        expects "the roster has both, then the other one; messages name the author who sent them";
}

const TEXT: &str = "the same again";

/// Every member and the history have `count` messages of the one text, all different messages.
fn all_have(context: &Context, members: &[&Chat], room: u64, count: usize) -> Outcome {
    let base = context.base(room);
    let wanted: Vec<u64> = (base + 1..=base + count as u64).collect();
    for member in members {
        let name = &member.user.name;
        context.eventually(&format!("{count} equal messages at {name}"), || {
            Ok(member.seqs(room).len() >= count)
        })?;
        equal("the seq of the messages", &member.seqs(room), &wanted)?;
        let texts: BTreeSet<String> = member.texts(room).into_iter().collect();
        equal("the texts", &texts, &BTreeSet::from([TEXT.to_owned()]))?;
    }
    let page = context.rest().history(&members[0].user.token, room, 1, 0)?;
    equal("the messages stored", &page["total"], &json!(base + count as u64))?;
    let rows = page["data"].as_array().cloned().unwrap_or_default();
    let ids: BTreeSet<u64> = rows.iter().filter_map(|row| row["id"].as_u64()).collect();
    let listed = rows.iter().filter(|row| row["msg"] == TEXT).count();
    let shown = count.min(20);
    require(listed >= shown && ids.len() == rows.len(), "each of them in the history", || {
        page.to_string()
    })
}

fn texts(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let third = observer_in(context, room, "third")?;
    for _ in 0..5 {
        guest.emit("message", message(room, TEXT))?;
    }
    for _ in 0..5 {
        guest.say(room, TEXT)?;
    }
    // Slow enough for what a server might merge in between.
    for _ in 0..2 {
        context.pause(QUIET);
        guest.emit("message", message(room, TEXT))?;
    }
    all_have(context, &[&guest, &witness, &third], room, 12)
}

fn at_once(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness(context)?;
    let tab = context.chat(&guest.user, "tab")?;
    let other = observer_in(context, room, "other")?;
    tab.join(room)?;
    context.step("four equal packets in one payload, or one after the other without waiting");
    let packet = format!("42[\"message\",{}]", message(room, TEXT));
    match context.combo.transport {
        Transport::Polling => {
            let packets: Vec<Packet> =
                (0..4).map(|_| Packet::message(packet[1..].to_owned())).collect();
            let payload = throng_codec::payload::encode_text(context.combo.protocol, &packets);
            guest.socket.send_text(&payload)?;
        }
        Transport::Websocket => {
            (0..4).try_for_each(|_| guest.socket.send_text(&packet))?;
        }
    }
    all_have(context, &[&guest, &tab, &witness, &other], room, 4)?;
    context.step("three equal messages of each of three sessions at the same time");
    let authors = [&guest, &tab, &other];
    let answers = together(&authors, |_, author| {
        author.ask_all((0..3).map(|_| ("message", message(room, TEXT))))
    });
    for answer in answers {
        answer?.iter().try_for_each(accepts)?;
    }
    all_have(context, &[&guest, &tab, &witness, &other], room, 13)
}

fn events(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness_met(context)?;
    guest.event("room")?;
    let seen = witness.socket.event_count();
    let from = guest.socket.event_count();
    context.step("five equal joins");
    let join = || ("room", json!({ "roomid": room }));
    guest.ask_all([join(), join(), join(), join(), join()])?.iter().try_for_each(accepts)?;
    let answered = || {
        let events = guest.socket.events_since(from);
        events.iter().filter(|event| is_roster_of(event, room)).count()
    };
    // One event may answer several joins (PRES-29).
    context.eventually("an event `room`", || Ok(answered() > 0))?;
    guest.ask_all([("login", json!({})), ("login", json!({}))])?.iter().try_for_each(accepts)?;
    no_roster_since(context, &witness, seen, room)?;
    require(answered() <= 5, "at most one event `room` for each", || answered().to_string())?;
    context.step("five equal leaves");
    let leave = || ("roomout", json!({ "roomid": room }));
    guest.ask_all([leave(), leave(), leave(), leave(), leave()])?.iter().try_for_each(accepts)?;
    witness.roster_of(room, &[witness.user.id])?;
    let seen = witness.socket.event_count();
    no_roster_since(context, &witness, seen, room)
}

fn names(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let local = context.run.fresh_email().replace("@example.com", "");
    let namesake = |host: &str| context.user_named(&format!("{local}@{host}.example"));
    let (one, two) = (namesake("one")?, namesake("two")?);
    equal("the name", &two.name, &one.name)?;
    let (first, second) = (context.chat(&one, "first")?, context.chat(&two, "second")?);
    join_all([&first, &second], room)?;
    witness.roster_of(room, &[witness.user.id, one.id, two.id])?;
    for author in [&first, &second] {
        let answer = author.say(room, TEXT)?;
        for member in [&first, &second, &witness] {
            let own = member.user.id == author.user.id;
            let wanted = if own { author.user.email.clone() } else { author.user.public_id() };
            let event = member.message_of(&answer)?;
            equal("userid", &event.arg(0)["userid"], &json!(wanted))?;
        }
    }
    first.leave(room)?;
    sees_leave(&witness, room, &[witness.user.id, two.id])?;
    second.say_to(&witness, room, "still here")?;
    Ok(())
}
