//! Chapter 12: joins, leaves and the ends of sessions.

use super::scenes::*;
use crate::cases::prelude::*;

cases! {
    join "events.join" ["EVT-2", "EVT-10", "EVT-12"] over EVERY needs EVENTS
        does "joins a room with another session, and both send a message"
        expects "each receives the other's message once, with its room, sender and text";
    acks "events.acks" ["EVT-1"] over EVERY needs EVENTS
        does "joins, joins again, sends, and leaves twice, where there is a leave"
        expects "one acknowledgement for each";
    leave "events.leave" ["EVT-3"] over EVERY needs LEAVE
        does "leaves a room, in which another member then sends a message"
        expects "it reaches who is still a member, and not who left";
    twice "events.twice" ["EVT-5"] over EVERY needs EVENTS
        does "joins a room twice, receives a message, and leaves once, where there is a leave"
        expects "the message arrives once, and the next one not at all";
    leave_outside "events.leave-outside" ["EVT-6"] over EVERY needs LEAVE
        does "leaves a room that it is not in, while it is in another one"
        expects "the members of both rooms receive what is sent to them as before";
    two_rooms "events.two-rooms" ["EVT-7", "EVT-11"] over EVERY needs EVENTS
        does "is in two rooms with one other member each, then leaves one, where there is a leave"
        expects "it receives the messages of both, each of the others of one; then only those of the room that it is in";
    many_rooms "events.many-rooms" ["EVT-7", "EVT-11"] over EIO4 needs EVENTS
        does "joins 40 rooms, and a member of each sends a message there"
        expects "all of them arrive, each once; each of the others receives its own room's only";
    many_visits "events.many-visits" ["EVT-2", "EVT-9", "EVT-10"] over ONLY_E4W needs EVENTS
        does "40 sessions, one after the other, join a room, send a message, receive one and close; another stays"
        expects "each is a member like the first, and the one that stays receives all their messages";
    rejoin "events.rejoin" ["EVT-8"] over EVERY needs LEAVE
        does "joins, leaves and joins again; another member sends a message before, between and after"
        expects "the first and the last arrive once each; the one between, when it was no member, does not arrive";
    sessions "events.sessions" ["EVT-9"] over EVERY needs EVENTS
        does "is in a room with two sessions; one closes"
        expects "both receive what is sent before, and the other one goes on receiving";
    repeats "events.repeats" ["EVT-3", "EVT-8"] over EVERY needs LEAVE
        does "sends ten joins and leaves in turn without waiting, then one more join"
        expects "it receives the next message once, and after a leave none";
    after_rest "events.after-rest" ["EVT-2", "EVT-3", "EVT-4", "EVT-10"] over EVERY needs EVENTS
        does "leaves the members of a room alone for a while (--soak), after one of them has ended and one has left, where there is a leave"
        expects "then every message reaches all that stayed, and nobody else";
    end_of_one "events.end-of-one" ["EVT-4"] over EVERY needs EVENTS
        does "three members send on while a fourth ends in each of several ways"
        expects "every message reaches the others";
}

fn join(context: &Context) -> Outcome {
    let room = context.room_name();
    let (guest, watcher) = (context.member("guest")?, context.watcher("watcher")?);
    all_join(&[&watcher, &guest], &room)?;
    for (sender, receiver) in [(&watcher, &guest), (&guest, &watcher)] {
        reaches(context, sender, &room, &[receiver], "EVT-2")?;
    }
    Ok(())
}

fn acks(context: &Context) -> Outcome {
    let room = context.room_name();
    let guest = context.member("guest")?;
    let mut asked = vec![guest.send_join(&room)?, guest.send_join(&room)?];
    asked.push(guest.send_text(&room, &context.fresh_text())?);
    if context.run.lacks(LEAVE).is_none() {
        asked.extend([guest.send_leave(&room)?, guest.send_leave(&room)?]);
    }
    asked.iter().try_for_each(|id| guest.answer(*id).map(drop))?;
    context.pause(QUIET);
    guest.fence()?;
    let mut acked: Vec<u64> = guest.socket.acks().iter().map(|(id, ..)| *id).collect();
    acked.sort_unstable();
    equal("the list of acknowledged requests", &acked, &asked)
}

fn leave(context: &Context) -> Outcome {
    let room = context.room_name();
    let guest = context.member("guest")?;
    let (sender, stays) = (context.watcher("sender")?, context.watcher("stays")?);
    all_join(&[&sender, &guest, &stays], &room)?;
    reaches(context, &sender, &room, &[&guest, &stays], "EVT-2")?;
    leaves(&guest, &room)?;
    let text = reaches(context, &sender, &room, &[&stays], "EVT-10")?;
    does_not_reach(context, "EVT-3", &guest, &text)
}

fn twice(context: &Context) -> Outcome {
    let room = context.room_name();
    let (guest, sender) = (context.member("guest")?, context.watcher("sender")?);
    joins(&sender, &room)?;
    joins(&guest, &room)?;
    // The second may be refused: that changes nothing either.
    guest.join(&room)?;
    reaches(context, &sender, &room, &[&guest], "EVT-5")?;
    if context.run.lacks(LEAVE).is_some() {
        return Ok(());
    }
    leaves(&guest, &room)?;
    let text = says(context, &sender, &room)?;
    does_not_reach(context, "EVT-5", &guest, &text)
}

fn leave_outside(context: &Context) -> Outcome {
    let (room, own) = (context.room_name(), context.room_name());
    let guest = context.member("guest")?;
    let (sender, stays) = (context.watcher("sender")?, context.watcher("stays")?);
    all_join(&[&sender, &stays], &room)?;
    all_join(&[&sender, &guest], &own)?;
    context.step("leaves the room that it is not in");
    // Refused or not.
    guest.leave(&room)?;
    reaches(context, &sender, &room, &[&stays], "EVT-6")?;
    reaches(context, &sender, &own, &[&guest], "EVT-6")?;
    context.step("leaves a room that does not exist");
    guest.leave(&context.room_name())?;
    reaches(context, &sender, &own, &[&guest], "EVT-6").map(drop)
}

fn two_rooms(context: &Context) -> Outcome {
    let (one, two) = (context.room_name(), context.room_name());
    let guest = context.member("guest")?;
    let (in_one, in_two) = (context.watcher("in-one")?, context.watcher("in-two")?);
    all_join(&[&in_one, &guest], &one)?;
    all_join(&[&in_two, &guest], &two)?;
    let first = reaches(context, &in_one, &one, &[&guest], "EVT-7")?;
    let second = reaches(context, &in_two, &two, &[&guest], "EVT-7")?;
    does_not_reach(context, "EVT-11", &in_two, &first)?;
    does_not_reach(context, "EVT-11", &in_one, &second)?;
    let third = reaches(context, &guest, &one, &[&in_one], "EVT-7")?;
    let fourth = reaches(context, &guest, &two, &[&in_two], "EVT-7")?;
    does_not_reach(context, "EVT-11", &in_two, &third)?;
    does_not_reach(context, "EVT-11", &in_one, &fourth)?;
    if context.run.lacks(LEAVE).is_some() {
        return Ok(());
    }
    leaves(&guest, &one)?;
    let gone = says(context, &in_one, &one)?;
    reaches(context, &in_two, &two, &[&guest], "EVT-7")?;
    does_not_reach(context, "EVT-3", &guest, &gone)
}

fn many_rooms(context: &Context) -> Outcome {
    const ROOMS: usize = 40;
    let guest = context.member("guest")?;
    let mut rooms = Vec::new();
    for index in 0..ROOMS {
        let room = context.room_name();
        if guest.join(&room)?.is_refused {
            return skip(format!("the target refuses the join of room {}", index + 1));
        }
        let member = context.watcher(&format!("member-{index}"))?;
        joins(&member, &room)?;
        rooms.push((room, member));
    }
    let mut texts = Vec::new();
    for (room, member) in &rooms {
        texts.push(reaches(context, member, room, &[&guest], "EVT-7")?);
    }
    for (index, (_, member)) in rooms.iter().enumerate() {
        member.fence()?;
        let stray = member
            .deliveries()
            .into_iter()
            .find(|delivered| delivered.text != texts[index] && texts.contains(&delivered.text));
        nothing("EVT-11: no message of one room reaches a member of another", stray)?;
    }
    Ok(())
}

fn many_visits(context: &Context) -> Outcome {
    const VISITS: usize = 40;
    let room = context.room_name();
    let stays = context.watcher("stays")?;
    joins(&stays, &room)?;
    for visit in 0..VISITS {
        let guest = context.member(&format!("visit-{visit}"))?;
        joins(&guest, &room)?;
        let text = context.fresh_text();
        if stays.say(&room, &text)?.is_refused {
            return skip(format!("the target refuses message {} of a session", visit + 1));
        }
        arrives("EVT-2", "the visitor", &guest, &text)?;
        reaches(context, &guest, &room, &[&stays], "EVT-10")?;
        guest.socket.close();
    }
    Ok(())
}

fn rejoin(context: &Context) -> Outcome {
    let room = context.room_name();
    let (guest, sender) = (context.member("guest")?, context.watcher("sender")?);
    let stays = context.watcher("stays")?;
    all_join(&[&sender, &stays, &guest], &room)?;
    let first = reaches(context, &sender, &room, &[&guest], "EVT-2")?;
    leaves(&guest, &room)?;
    // It has been delivered before the next join.
    let between = reaches(context, &sender, &room, &[&stays], "EVT-10")?;
    joins(&guest, &room)?;
    let second = reaches(context, &sender, &room, &[&guest], "EVT-8")?;
    does_not_reach(context, "EVT-3", &guest, &between)?;
    comes_once(&[&guest], &first)?;
    comes_once(&[&guest], &second)
}

fn sessions(context: &Context) -> Outcome {
    let room = context.room_name();
    let (one, two) = (context.member("one")?, context.member("two")?);
    let sender = context.watcher("sender")?;
    all_join(&[&sender, &one, &two], &room)?;
    require(one.id != two.id, "sessions with ids of their own", || one.id.clone())?;
    reaches(context, &sender, &room, &[&one, &two], "EVT-9")?;
    reaches(context, &one, &room, &[&two, &sender], "EVT-9")?;
    one.socket.close();
    // The end is a request of its own: the server handles it some time before this.
    context.pause(QUIET);
    reaches(context, &sender, &room, &[&two], "EVT-9").map(drop)
}

fn repeats(context: &Context) -> Outcome {
    const TURNS: usize = 10;
    let room = context.room_name();
    let (guest, sender) = (context.member("guest")?, context.watcher("sender")?);
    joins(&sender, &room)?;
    let mut asked = Vec::new();
    for _ in 0..TURNS {
        asked.push(guest.send_join(&room)?);
        asked.push(guest.send_leave(&room)?);
    }
    asked.push(guest.send_join(&room)?);
    for id in asked {
        is_accepted("the request", &guest.answer(id)?)?;
    }
    reaches(context, &sender, &room, &[&guest], "EVT-8")?;
    leaves(&guest, &room)?;
    let text = says(context, &sender, &room)?;
    does_not_reach(context, "EVT-3", &guest, &text)
}

fn end_of_one(context: &Context) -> Outcome {
    let room = context.room_name();
    let (one, two, three) =
        (context.watcher("one")?, context.watcher("two")?, context.member("three")?);
    all_join(&[&one, &two, &three], &room)?;
    for way in ["41", "close", "FIN"] {
        let mut leaving = context.watcher(way)?;
        joins(&leaving, &room)?;
        context.step(format!("a fourth ends with {way}"));
        leaving.socket.end_by(way)?;
        for (sender, others) in [(&one, [&two, &three]), (&three, [&one, &two])] {
            reaches(context, sender, &room, &others, "EVT-10")?;
        }
    }
    Ok(())
}

fn after_rest(context: &Context) -> Outcome {
    let soak = context.run.soak;
    if soak.is_zero() {
        return skip("--soak is 0");
    }
    let room = context.room_name();
    let stay = [context.member("one")?, context.watcher("two")?, context.member("three")?];
    let (ending, leaving) = (context.watcher("ending")?, context.watcher("leaving")?);
    let stay = stay.each_ref();
    all_join(&stay, &room)?;
    all_join(&[&ending, &leaving], &room)?;
    reaches(context, stay[0], &room, &[stay[1], stay[2], &leaving], "EVT-10")?;
    ending.socket.close();
    let has_left = context.run.lacks(LEAVE).is_none();
    if has_left {
        leaves(&leaving, &room)?;
    }
    context.step(format!("nothing happens for {soak:?}"));
    context.pause(soak);
    for sender in 0..stay.len() {
        let mut others = stay.to_vec();
        let sender = others.remove(sender);
        if !has_left {
            others.push(&leaving);
        }
        let text = reaches(context, sender, &room, &others, "EVT-2")?;
        if has_left {
            does_not_reach(context, "EVT-3", &leaving, &text)?;
        }
    }
    Ok(())
}
