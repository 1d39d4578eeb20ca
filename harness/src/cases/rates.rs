//! Chapter 4 and 8: limits on rate and size of events.

use super::prelude::*;

cases! {
    burst "msg.burst" ["LIM-22"] over EVERY needs CHAT
        does "sends 25 messages at once"
        expects "all are accepted";
    rate_limit "msg.rate-limit" ["LIM-20", "ERR-12", "ERR-14", "ERR-13"] over EIO4 needs CHAT
        does "sends 400 messages at once"
        expects "some are rate_limited; the session stays open and can send again later";
    shared_rate "msg.shared-rate" ["LIM-32", "LIM-20"] over ONLY_E4W needs CHAT
        does "sends 200 messages at once on each of two sessions of one user"
        expects "the second session has little of the burst left";
    join_rate_limit "room.rate-limit" ["LIM-21", "ERR-12"] over EIO4 needs CHAT
        does "joins and leaves 150 times at once"
        expects "some are rate_limited, the session stays open";
    big_event "msg.big-event" ["LIM-30"] over EVERY needs CHAT
        does "sends an event of 70000 bytes without an image"
        expects "too_large";
    limits_are_private "msg.limits-are-private" ["LIM-26", "ERR-7"] over EIO4 needs CHAT
        does "floods from one session while another sends messages"
        expects "the other session is neither refused nor delayed much";
}

fn burst(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    let messages = (0..25).map(|n| ("message", message(room, &format!("{n}"))));
    guest.ask_all(messages)?.iter().try_for_each(accepts)
}

/// Sends events without waiting: some are rate-limited, the first ones are not.
fn flood<'a>(guest: &mut Chat, events: impl Iterator<Item = (&'a str, Value)>) -> Outcome {
    guest.wait *= 3;
    let answers = guest.ask_all(events)?;
    stays_open("the session stays open", &guest.socket)?;
    let (count, mut limited) = (answers.len(), 0);
    for answer in &answers {
        match answer["code"].as_str() {
            None => {}
            Some("rate_limited") => limited += 1,
            Some(other) => return fail("ok or rate_limited", other),
        }
    }
    if limited == 0 {
        return skip(format!("{count} events at once are accepted: the limit is lifted"));
    }
    require(limited < count / 2 + count / 3, "the burst is accepted", || {
        format!("{limited} of {count} are refused")
    })
}

fn rate_limit(context: &Context) -> Outcome {
    let (room, mut guest) = guest_in_room(context)?;
    flood(&mut guest, (0..400).map(|n| ("message", message(room, &format!("{n}")))))?;
    context.pause(Duration::from_millis(1_500));
    guest.say(room, "later")?;
    Ok(())
}

fn shared_rate(context: &Context) -> Outcome {
    let (room, user) = (context.room()?, context.user()?);
    let mut accepted = Vec::new();
    // Both are there before the first speaks: connecting takes time, in which the rate refills.
    let sessions = [context.chat(&user, "first")?, context.chat(&user, "second")?];
    for session in &sessions {
        session.join(room)?;
    }
    for session in &sessions {
        let messages = (0..200).map(|n| ("message", message(room, &format!("{n}"))));
        let answers = session.ask_all(messages)?;
        accepted.push(answers.iter().filter(|answer| answer["ok"] == json!(true)).count());
    }
    if accepted[0] == 200 {
        return skip("200 messages at once are accepted: the limit is lifted");
    }
    require(accepted[1] < accepted[0] / 2, "one burst for both sessions", || {
        format!("{} and {} messages are accepted", accepted[0], accepted[1])
    })
}

fn join_rate_limit(context: &Context) -> Outcome {
    let room = context.room()?;
    let mut guest = context.guest("guest")?;
    flood(&mut guest, (0..150).map(|_| ("room", json!({ "roomid": room }))))
}

fn big_event(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
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
    stays_open("the other session stays open", &calm.socket)
}
