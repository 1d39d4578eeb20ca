//! Chapter 4 and 8: limits on rate and size of events.

use super::prelude::*;

cases! {
    burst "msg.burst" ["LIM-22"] over EVERY needs CHAT
        does "sends 25 messages at once"
        expects "all are accepted";
    rate_limit "msg.rate-limit" ["LIM-20", "ERR-12", "ERR-14", "ERR-13"] over EIO4 needs CHAT
        does "sends 400 messages at once"
        expects "some are rate_limited; the session stays open and can send again later";
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
    let ids: Vec<u64> = (0..25)
        .map(|index| guest.socket.emit_with_id("message", &[message(room, &format!("{index}"))]))
        .collect::<Result<_, _>>()?;
    for id in ids {
        accepts(&guest.socket.wait_ack(id, context.wait())?)?;
    }
    Ok(())
}

/// Sends events without waiting; returns the codes of their acks, `None` for an accepted event.
fn flood(
    context: &Context,
    guest: &Chat,
    events: impl Iterator<Item = (&'static str, Value)>,
) -> Result<Vec<Option<String>>, Stop> {
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

fn judge_flood(guest: &Chat, codes: &[Option<String>], what: &str) -> Outcome {
    stays_open("the session stays open", &guest.socket)?;
    let limited = codes.iter().filter(|code| code.as_deref() == Some("rate_limited")).count();
    let other = codes.iter().flatten().find(|code| *code != "rate_limited");
    nothing("ok or rate_limited", other)?;
    if limited == 0 {
        return skip(format!("{} {what} at once are accepted: the limit is lifted", codes.len()));
    }
    require(limited < codes.len() / 2 + codes.len() / 3, "the burst is accepted", || {
        format!("{limited} of {} are refused", codes.len())
    })
}

fn rate_limit(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
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
