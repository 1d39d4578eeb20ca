//! Chapter 6: unread numbers.

use super::prelude::*;

cases! {
    never_there "unread.never-there" ["UNR-2", "UNR-3", "UNR-1"] over EVERY needs CHAT_OF_NEW_USERS
        does "requests the unread number of a room the user never joined"
        expects "the number of all its messages";
    reading "unread.reading" ["UNR-4", "UNR-12"] over EVERY needs CHAT_OF_NEW_USERS
        does "requests the unread number while a session of the user is in the room"
        expects "0, also for the author";
    mark "unread.mark" ["UNR-5", "UNR-2", "CHAT-50"] over EVERY needs CHAT_OF_NEW_USERS
        does "leaves by roomout, by close, by FIN and by RST, then receives messages"
        expects "exactly the messages after the leave are unread";
    last_session "unread.last-session" ["UNR-5", "UNR-15", "CHAT-71"] over EVERY needs CHAT_OF_NEW_USERS
        does "leaves with one of two sessions, receives messages with the other, then leaves with it"
        expects "the read mark is that of the last leave";
    updates "unread.updates" ["UNR-7", "UNR-8", "UNR-10"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends messages in a room that another user is not in"
        expects "that user's session gets count events with changed rooms only; the last number is correct";
    window "unread.window" ["UNR-9", "LIM-18"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends messages continuously for two seconds"
        expects "at most one update per unread window; the last is not late";
    own_numbers "unread.own-numbers" ["UNR-11"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends messages in a room watched by users with different read marks and by an anonymous session"
        expects "each user gets their own number, the anonymous session none";
    author "unread.author" ["UNR-12"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends messages as a member whose second session is outside the room"
        expects "no unread number above 0 for the room";
    entering "unread.entering" ["UNR-13"] over EVERY needs CHAT_OF_NEW_USERS
        does "joins a room with unread messages"
        expects "the user's other session gets a count of 0";
    exact "unread.exact" ["UNR-15", "UNR-2", "REST-30"] over NONE needs CHAT_OF_NEW_USERS
        does "mixes joins, leaves and messages of three users in two rooms, then requests all unread numbers"
        expects "seq minus read mark for every user and room, in the login answer and in /api/rooms";
}

/// The user's unread number, requested by a login on that session.
fn unread_by_login(chat: &Chat, room: u64) -> Result<Value, Stop> {
    let answer = chat.ask("login", json!({}))?;
    Ok(answer["count"][format!("room{room}")].clone())
}

fn unread_by_rest(context: &Context, user: &User, room: u64) -> Result<Value, Stop> {
    let rooms = context.rest().rooms(&user.token)?;
    let found = rooms.iter().find(|entry| entry["id"] == json!(room));
    Ok(found.map_or(Value::Null, |entry| entry["unread"].clone()))
}

fn is_unread(context: &Context, chat: &Chat, room: u64, wanted: u64) -> Outcome {
    let wanted = json!(wanted);
    settles("the number in the login answer", &wanted, || unread_by_login(chat, room))?;
    settles("the number in /api/rooms", &wanted, || unread_by_rest(context, &chat.user, room))
}

/// Numbers are exact at rest (UNR-15), and a change may be sent as late as UNR-10 allows.
fn settles(what: &str, wanted: &Value, ask: impl Fn() -> Result<Value, Stop>) -> Outcome {
    let deadline = Instant::now() + Duration::from_millis(1_000);
    loop {
        let outcome = equal(what, &ask()?, wanted);
        if outcome.is_ok() || Instant::now() >= deadline {
            return outcome;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lets pending updates pass, so that later events are those of what follows.
fn at_rest(context: &Context, chat: &Chat) -> usize {
    context.pause(Duration::from_millis(700));
    chat.socket.event_count()
}

/// Waits until the last count of the room since event `from` is this.
fn is_counted(context: &Context, chat: &Chat, from: usize, room: u64, wanted: u64) -> Outcome {
    context.eventually(&format!("a count of {wanted}"), || {
        Ok(counts(chat, from, room).last() == Some(&wanted))
    })
}

fn talker(context: &Context, room: u64, messages: u64) -> Result<Chat, Stop> {
    let talker = observer_in(context, room, "talker")?;
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
    is_unread(context, &guest, room, context.base(room) + 5)
}

fn reading(context: &Context) -> Outcome {
    let room = context.room()?;
    let talker = talker(context, room, 3)?;
    let guest = guest_in(context, room)?;
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
        // A server does not detect the end of a poll that was answered just before.
        guest.message_with("number 0")?;
        guest.end_by(way, room)?;
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

/// The values of count events for the room since event `from`.
fn counts(chat: &Chat, from: usize, room: u64) -> Vec<u64> {
    let key = format!("room{room}");
    let events = chat.socket.events_since(from);
    let counts = events.iter().filter(|event| event.name == "count");
    counts.filter_map(|event| event.arg(0)[&key].as_u64()).collect()
}

fn updates(context: &Context) -> Outcome {
    let (room, quiet_room) = (context.room()?, context.room()?);
    let talker = talker(context, room, 1)?;
    talker.join(quiet_room)?;
    let guest = context.guest("guest")?;
    let base = context.base(room);
    is_unread(context, &guest, room, base + 1)?;
    let from = at_rest(context, &guest);
    // In Engine.IO 3 the talker left the first room for the quiet one.
    talker.join(room)?;
    talk(&talker, room, 6)?;
    is_counted(context, &guest, from, room, base + 7)?;
    let numbers = counts(&guest, from, room);
    require(numbers.is_sorted() && !numbers.contains(&(base + 1)), "growing numbers", || {
        format!("{numbers:?}")
    })?;
    let about_quiet = counts(&guest, from, quiet_room).pop();
    nothing("nothing about a room whose number did not change", about_quiet)
}

fn window(context: &Context) -> Outcome {
    let room = context.room()?;
    let talker = talker(context, room, 0)?;
    let guest = context.guest("guest")?;
    let from = at_rest(context, &guest);
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_millis(2_000) {
        talker.emit("message", message(room, &format!("{sent}")))?;
        sent += 1;
        context.pause(Duration::from_millis(40));
    }
    let last = Instant::now();
    is_counted(context, &guest, from, room, context.base(room) + sent)?;
    within("the last number within the window and 250 ms", last, Duration::from_millis(2_000))?;
    // A target may be configured with a shorter window than the default, but hardly below 100 ms.
    let updates = counts(&guest, from, room).len();
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
    let (early_from, late_from) = (at_rest(context, &early), late.socket.event_count());
    talk(&talker, room, 1)?;
    is_counted(context, &early, early_from, room, 3)?;
    is_counted(context, &late, late_from, room, 1)?;
    is_unread(context, &early, room, 3)?;
    is_unread(context, &late, room, 1)?;
    context.pause(QUIET);
    never("nothing for the anonymous session", &anonymous, |_| true)
}

fn author(context: &Context) -> Outcome {
    let room = context.room()?;
    let author = context.guest("author")?;
    let outside = context.chat(&author.user, "outside")?;
    author.join(room)?;
    let (from, from_outside) = (at_rest(context, &author), outside.socket.event_count());
    talk(&author, room, 3)?;
    context.pause(Duration::from_millis(900));
    for (chat, from) in [(&author, from), (&outside, from_outside)] {
        let unread = counts(chat, from, room).into_iter().find(|&number| number > 0);
        nothing("no unread number for the author", unread)?;
    }
    is_unread(context, &outside, room, 0)
}

fn entering(context: &Context) -> Outcome {
    let room = context.room()?;
    let _talker = talker(context, room, 3)?;
    let guest = context.guest("guest")?;
    let tab = context.chat(&guest.user, "tab")?;
    is_unread(context, &tab, room, context.base(room) + 3)?;
    let from = at_rest(context, &tab);
    guest.join(room)?;
    is_counted(context, &tab, from, room, 0)
}

fn exact(context: &Context) -> Outcome {
    let rooms = [context.room()?, context.room()?];
    let users = [context.guest("one")?, context.guest("two")?, context.guest("three")?];
    let mut marks = [[0u64; 2]; 3];
    let mut inside = [[false; 2]; 3];
    let mut seqs = rooms.map(|room| context.base(room));
    // A fixed walk through every pair of states; the property test does this at random.
    let steps = (0..90usize).map(|step| (step * 7 % 3, step * 5 % 2, step * 11 % 4));
    for (who, which, what) in steps {
        let (user, room) = (&users[who], rooms[which]);
        match what {
            0 if !inside[who][which] => {
                user.join(room)?;
                inside[who][which] = true;
            }
            1 if inside[who][which] => {
                user.leave(room)?;
                inside[who][which] = false;
                marks[who][which] = seqs[which];
            }
            _ if inside[who][which] => {
                user.say(room, "x")?;
                seqs[which] += 1;
            }
            _ => {}
        }
    }
    for (who, user) in users.iter().enumerate() {
        for (which, room) in rooms.iter().enumerate() {
            let wanted = if inside[who][which] { 0 } else { seqs[which] - marks[who][which] };
            if seqs[which] > 0 {
                is_unread(context, user, *room, wanted)?;
            }
        }
    }
    accepts(&users[0].ask("login", json!({}))?)
}
