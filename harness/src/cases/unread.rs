//! Chapter 6: unread numbers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::*;
use crate::capabilities::CHAT;
use crate::case::cases;
use crate::client::chat::{Chat, message};
use crate::client::rest::User;
use crate::combo::{EVERY, NONE};
use crate::context::{Context, QUIET};
use crate::outcome::{Outcome, Stop, equal, require};

cases! {
    never_there "unread.never-there" ["UNR-2", "UNR-3", "UNR-1"] over EVERY needs CHAT
        does "asks for the number in a room the user never was in"
        expects "all its messages";
    reading "unread.reading" ["UNR-4", "UNR-12"] over EVERY needs CHAT
        does "asks for the number while a session of the user is inside"
        expects "0, for the author as well";
    mark "unread.mark" ["UNR-5", "UNR-2", "CHAT-50"] over EVERY needs CHAT
        does "leaves by roomout, by closing, by a lost connection, and counts what is sent afterwards"
        expects "exactly the messages after the leave";
    last_session "unread.last-session" ["UNR-5", "UNR-15", "CHAT-71"] over EVERY needs CHAT
        does "lets one of two sessions leave, reads on with the other, then leaves with it"
        expects "the mark is that of the last leave";
    updates "unread.updates" ["UNR-7", "UNR-8", "UNR-10"] over EVERY needs CHAT
        does "sends messages in a room that another user is not in"
        expects "his session gets count events that end with the right number, naming changed rooms only";
    window "unread.window" ["UNR-9", "LIM-18"] over EVERY needs CHAT
        does "sends a stream of messages for two seconds"
        expects "at most one update per unread window, the first and last not late";
    own_numbers "unread.own-numbers" ["UNR-11"] over EVERY needs CHAT
        does "lets users with different marks, and an anonymous session, watch one room"
        expects "each gets his own number, the anonymous one none";
    author "unread.author" ["UNR-12"] over EVERY needs CHAT
        does "sends messages as a member with a second session outside"
        expects "no count above 0 for the room";
    entering "unread.entering" ["UNR-13"] over EVERY needs CHAT
        does "enters a room with unread messages"
        expects "the user's other session gets a count with 0";
    exact "unread.exact" ["UNR-15", "UNR-2", "REST-30"] over NONE needs CHAT
        does "mixes joins, leaves and messages of three users in two rooms, then asks everybody"
        expects "seq minus mark for every user and room, in the login answer and in /api/rooms";
}

/// The user's number for the room, by a login on that session.
fn unread_by_login(chat: &Chat, room: u64) -> Result<Value, Stop> {
    let answer = chat.ask("login", json!({}))?;
    Ok(answer["count"][format!("room{room}")].clone())
}

fn unread_by_rest(context: &Context, user: &User, room: u64) -> Result<Value, Stop> {
    let rooms = context.rest().rooms(&user.token)?;
    let found = rooms.iter().find(|entry| entry["id"] == json!(room));
    Ok(found.map_or(Value::Null, |entry| entry["unread"].clone()))
}

/// Numbers are exact at rest (UNR-15), and a change may be told as late as UNR-10 says.
fn is_unread(context: &Context, chat: &Chat, room: u64, wanted: u64) -> Outcome {
    let wanted = json!(wanted);
    let by_login = settled(context, &wanted, || unread_by_login(chat, room))?;
    equal("the number in the login answer", &by_login, &wanted)?;
    let by_rest = settled(context, &wanted, || unread_by_rest(context, &chat.user, room))?;
    equal("the number in /api/rooms", &by_rest, &wanted)
}

fn settled(
    context: &Context,
    wanted: &Value,
    ask: impl Fn() -> Result<Value, Stop>,
) -> Result<Value, Stop> {
    let deadline = Instant::now() + Duration::from_millis(1_000);
    loop {
        let observed = ask()?;
        if observed == *wanted || Instant::now() >= deadline {
            return Ok(observed);
        }
        context.pause(Duration::from_millis(50));
    }
}

fn talker(context: &Context, room: u64, messages: u64) -> Result<Chat, Stop> {
    let talker = context.observer("talker")?;
    talker.join(room)?;
    talk(&talker, room, messages)?;
    Ok(talker)
}

fn talk(talker: &Chat, room: u64, messages: u64) -> Outcome {
    for index in 0..messages {
        talker.say(room, &format!("number {index}"))?;
    }
    Ok(())
}

fn never_there(context: &Context) -> Outcome {
    let room = context.room()?;
    let _talker = talker(context, room, 5)?;
    let guest = context.guest("guest")?;
    is_unread(context, &guest, room, 5)
}

fn reading(context: &Context) -> Outcome {
    let room = context.room()?;
    let talker = talker(context, room, 3)?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    is_unread(context, &guest, room, 0)?;
    talk(&talker, room, 4)?;
    guest.message_with("number 3")?;
    is_unread(context, &guest, room, 0)?;
    is_unread(context, &talker, room, 0)?;
    let tab = context.chat(&guest.user, "tab")?;
    is_unread(context, &tab, room, 0)
}

fn mark(context: &Context) -> Outcome {
    let room = context.room()?;
    let talker = talker(context, room, 2)?;
    let user = context.user()?;
    for (count, way) in [(1, "roomout"), (2, "close"), (3, "FIN"), (4, "RST")] {
        context.step(way);
        let mut guest = context.chat(&user, "guest")?;
        guest.join(room)?;
        talker.roster_of(room, &[talker.user.id, user.id])?;
        talk(&talker, room, 1)?;
        // A poll that is cut while its answer is on the way tells the server nothing.
        guest.message_with("number 0")?;
        match way {
            "roomout" => drop(guest.leave(room)?),
            "close" => guest.socket.close(),
            "FIN" => guest.socket.hang_up(),
            _ => guest.socket.reset(),
        }
        talker.roster_of(room, &[talker.user.id])?;
        talk(&talker, room, count)?;
        let asking = context.chat(&user, "asking")?;
        is_unread(context, &asking, room, count)?;
        asking.socket.close();
    }
    Ok(())
}

fn last_session(context: &Context) -> Outcome {
    let room = context.room()?;
    let talker = talker(context, room, 2)?;
    let guest = context.guest("guest")?;
    let tab = context.chat(&guest.user, "tab")?;
    guest.join(room)?;
    tab.join(room)?;
    talk(&talker, room, 2)?;
    tab.leave(room)?;
    talk(&talker, room, 3)?;
    is_unread(context, &tab, room, 0)?;
    guest.leave(room)?;
    is_unread(context, &tab, room, 0)?;
    talk(&talker, room, 2)?;
    is_unread(context, &tab, room, 2)
}

/// The values that count events told for the room since `from`.
fn told(chat: &Chat, from: usize, room: u64) -> Vec<u64> {
    let key = format!("room{room}");
    chat.socket
        .events_since(from)
        .iter()
        .filter(|event| event.name == "count")
        .filter_map(|event| event.arg(0)[&key].as_u64())
        .collect()
}

fn updates(context: &Context) -> Outcome {
    let (room, quiet_room) = (context.room()?, context.room()?);
    let talker = talker(context, room, 1)?;
    talker.join(quiet_room)?;
    let guest = context.guest("guest")?;
    is_unread(context, &guest, room, 1)?;
    context.pause(Duration::from_millis(700));
    let from = guest.socket.event_count();
    // In Engine.IO 3 the talker left the first room for the quiet one.
    talker.join(room)?;
    talk(&talker, room, 6)?;
    context.eventually("a count of 7", || {
        Ok((told(&guest, from, room).last() == Some(&7)).then_some(()))
    })?;
    let numbers = told(&guest, from, room);
    require(numbers.is_sorted() && !numbers.contains(&1), "growing numbers above 1", || {
        format!("{numbers:?}")
    })?;
    let about_quiet = told(&guest, from, quiet_room);
    require(about_quiet.is_empty(), "nothing about a room whose number did not change", || {
        format!("{about_quiet:?}")
    })
}

fn window(context: &Context) -> Outcome {
    let room = context.room()?;
    let talker = talker(context, room, 0)?;
    let guest = context.guest("guest")?;
    context.pause(Duration::from_millis(700));
    let from = guest.socket.event_count();
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_millis(2_000) {
        talker.emit("message", message(room, &format!("{sent}")))?;
        sent += 1;
        context.pause(Duration::from_millis(40));
    }
    let last = Instant::now();
    context.eventually("the last number", || {
        Ok((told(&guest, from, room).last() == Some(&sent)).then_some(()))
    })?;
    let late = last.elapsed();
    require(
        late < Duration::from_millis(2_000),
        "the last number within the window and 250 ms",
        || format!("after {late:?}"),
    )?;
    // A target may be set to a shorter window than the default; 100 ms is the least that helps.
    let updates = told(&guest, from, room).len();
    require(updates <= 22 && updates < sent as usize / 2, "updates that are coalesced", || {
        format!("{updates} updates for {sent} messages")
    })
}

fn own_numbers(context: &Context) -> Outcome {
    let room = context.room()?;
    let talker = talker(context, room, 4)?;
    let (early, late) = (context.observer("early")?, context.guest("late")?);
    early.join(room)?;
    early.leave(room)?;
    let anonymous = context.socket()?;
    talk(&talker, room, 2)?;
    late.join(room)?;
    late.leave(room)?;
    context.pause(Duration::from_millis(700));
    let (early_from, late_from) = (early.socket.event_count(), late.socket.event_count());
    talk(&talker, room, 1)?;
    context.eventually("3 for one and 1 for the other", || {
        let early_told = told(&early, early_from, room);
        let late_told = told(&late, late_from, room);
        Ok((early_told.last() == Some(&3) && late_told.last() == Some(&1)).then_some(()))
    })?;
    is_unread(context, &early, room, 3)?;
    is_unread(context, &late, room, 1)?;
    context.pause(QUIET);
    let events = anonymous.events();
    require(events.is_empty(), "nothing for the anonymous session", || format!("{events:?}"))
}

fn author(context: &Context) -> Outcome {
    let room = context.room()?;
    let author = context.guest("author")?;
    let outside = context.chat(&author.user, "outside")?;
    author.join(room)?;
    context.pause(Duration::from_millis(700));
    let (from, from_outside) = (author.socket.event_count(), outside.socket.event_count());
    talk(&author, room, 3)?;
    context.pause(Duration::from_millis(900));
    for (chat, from) in [(&author, from), (&outside, from_outside)] {
        let numbers = told(chat, from, room);
        require(
            numbers.iter().all(|&number| number == 0),
            "no unread number for the author",
            || format!("{numbers:?}"),
        )?;
    }
    is_unread(context, &outside, room, 0)
}

fn entering(context: &Context) -> Outcome {
    let room = context.room()?;
    let _talker = talker(context, room, 3)?;
    let guest = context.guest("guest")?;
    let tab = context.chat(&guest.user, "tab")?;
    is_unread(context, &tab, room, 3)?;
    context.pause(Duration::from_millis(700));
    let from = tab.socket.event_count();
    guest.join(room)?;
    context.eventually("a count of 0", || {
        Ok((told(&tab, from, room).last() == Some(&0)).then_some(()))
    })
}

fn exact(context: &Context) -> Outcome {
    let rooms = [context.room()?, context.room()?];
    let people = [context.guest("one")?, context.guest("two")?, context.guest("three")?];
    let mut marks = [[0u64; 2]; 3];
    let mut inside = [[false; 2]; 3];
    let mut seqs = [0u64; 2];
    // A fixed walk that meets every pair of states; the property test does this at random.
    let steps = (0..90usize).map(|step| (step * 7 % 3, step * 5 % 2, step * 11 % 4));
    for (who, which, what) in steps {
        let (person, room) = (&people[who], rooms[which]);
        match what {
            0 if !inside[who][which] => {
                person.join(room)?;
                inside[who][which] = true;
            }
            1 if inside[who][which] => {
                person.leave(room)?;
                inside[who][which] = false;
                marks[who][which] = seqs[which];
            }
            _ if inside[who][which] => {
                person.say(room, "x")?;
                seqs[which] += 1;
            }
            _ => {}
        }
    }
    for (who, person) in people.iter().enumerate() {
        for (which, room) in rooms.iter().enumerate() {
            let wanted = if inside[who][which] { 0 } else { seqs[which] - marks[who][which] };
            if seqs[which] > 0 {
                is_unread(context, person, *room, wanted)?;
            }
        }
    }
    accepts(&people[0].ask("login", json!({}))?)
}
