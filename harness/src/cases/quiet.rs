//! A server at rest: it answers at once, and time alone changes nothing.

use super::prelude::*;
use crate::client::state::Event;

cases! {
    prompt "quiet.prompt" ["CHAT-100"] over EVERY needs REST
        does "sends 16 messages, four joins and four leaves in two seconds, and nothing else"
        expects "each ack and each delivery comes within a second, and within what --slo says";
    kept "quiet.kept" ["CHAT-101", "CHAT-102"] over EVERY needs CHAT
        does "leaves members of every mode and one outside alone for a while (--soak), then goes on"
        expects "no event meanwhile, and everything afterwards as before";
}

const MESSAGES: u32 = 16;
const VISITS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(80);
const LONGEST: Duration = Duration::from_secs(1);

/// Times from a request, and what came.
#[derive(Default)]
struct Times(Vec<(Duration, String)>);

impl Times {
    fn note(&mut self, start: Instant, end: Instant, what: &str) {
        self.0.push((end.saturating_duration_since(start), what.to_owned()));
    }

    fn ack(&mut self, start: Instant, what: &str) {
        self.note(start, Instant::now(), what);
    }

    fn event(&mut self, start: Instant, event: &Event, what: &str) {
        self.note(start, event.at, what);
    }
}

/// The machine may be busy: late answers count if they are late each time.
const ROUNDS: usize = 3;

fn prompt(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness_met(context)?;
    let tab = context.chat(&guest.user, "tab")?;
    tab.join(room)?;
    let visitor = context.guest("visitor")?;
    let mut outcome = Ok(());
    for _ in 0..ROUNDS {
        outcome = is_prompt(context, room, [&guest, &tab, &witness], &visitor);
        if !matches!(outcome, Err(Stop::Fail { .. })) {
            break;
        }
    }
    outcome
}

fn is_prompt(context: &Context, room: u64, members: [&Chat; 3], visitor: &Chat) -> Outcome {
    let [guest, _, witness] = members;
    let mut times = Times::default();
    for index in 0..MESSAGES {
        context.pause(PAUSE);
        let start = Instant::now();
        let answer = guest.say(room, &format!("message {index}"))?;
        times.ack(start, "the ack of a message");
        for member in members {
            times.event(start, &member.message_of(&answer)?, "a delivery");
        }
    }
    for _ in 0..VISITS {
        context.pause(PAUSE);
        let start = Instant::now();
        visitor.join(room)?;
        times.ack(start, "the ack of a join");
        let inside = [witness.user.id, guest.user.id, visitor.user.id];
        times.event(start, &witness.roster_of(room, &inside)?, "the roster after a join");
        context.pause(PAUSE);
        let start = Instant::now();
        visitor.leave(room)?;
        times.ack(start, "the ack of a leave");
        let left = [witness.user.id, guest.user.id];
        times.event(start, &witness.roster_of(room, &left)?, "the roster after a leave");
    }
    let mut times = times.0;
    times.sort_by_key(|(time, _)| *time);
    let (longest, what) = times.last().cloned().unwrap_or_default();
    context.step(format!("of {} answers the slowest, {what}, took {longest:?}", times.len()));
    require(longest <= LONGEST, &format!("each within {LONGEST:?}"), || {
        format!("{what} took {longest:?}")
    })?;
    for slo in &context.run.slo {
        let rank = (slo.quantile * times.len() as f64).ceil() as usize;
        let (time, what) = &times[rank.clamp(1, times.len()) - 1];
        require(*time <= slo.bound, &slo.to_string(), || format!("{time:?} ({what})"))?;
    }
    Ok(())
}

fn kept(context: &Context) -> Outcome {
    let soak = context.run.soak;
    if soak.is_zero() {
        return skip("--soak is 0");
    }
    let (room, guest, witness) = guest_and_witness_met(context)?;
    let key = format!("room{room}");
    let (follower, counter) = (context.observer("follower")?, context.observer("counter")?);
    follower.join_as(room, "delta")?;
    counter.join_as(room, "count")?;
    let outside = context.observer("outside")?;
    // Its user may have been in the room for another case.
    let unread = counted(&outside, &key)?.as_u64().unwrap_or(0);
    let members = [witness.user.id, guest.user.id, follower.user.id, counter.user.id];
    witness.roster_of(room, &members)?;
    let tab = context.chat(&guest.user, "tab")?;
    guest.say_to(&witness, room, "before the rest")?;
    let is_counted =
        |event: &Event, number: u64| event.name == "count" && event.arg(0)[&key] == json!(number);
    let base = context.base(room);
    outside.event_where("a count of it", |event| is_counted(event, unread + 1))?;
    // What is due to everybody has come.
    context.pause(Duration::from_secs(1));
    let everybody = [&guest, &witness, &follower, &counter, &outside, &tab];
    let before: Vec<usize> = everybody.iter().map(|chat| chat.socket.event_count()).collect();
    context.step(format!("nothing happens for {soak:?}"));
    context.pause(soak);
    for (chat, from) in everybody.iter().zip(before) {
        let events = chat.socket.events_since(from);
        let what = format!("no event for {} while nothing happens (CHAT-102)", chat.user.name);
        // Other cases send messages in other rooms.
        let is_of_others =
            |event: &&Event| event.name == "count" && event.arg(0).get(&key).is_none();
        nothing(&what, events.iter().find(|event| !is_of_others(event)))?;
        let open = format!("the session of {} stays open", chat.user.name);
        nothing(&open, chat.socket.ending())?;
    }
    context.step("goes on");
    equal("the unread number", &counted(&outside, &key)?, &json!(unread + 1))?;
    equal("the unread number in a room", &counted(&tab, &key)?, &json!(0))?;
    for (index, author) in [&guest, &witness, &follower, &counter].into_iter().enumerate() {
        let text = format!("after the rest {index}");
        let answer = author.say(room, &text)?;
        equal("seq", &answer["seq"], &json!(base + 2 + index as u64))?;
        for member in [&guest, &witness, &follower, &counter] {
            member.message_with(&text)?;
        }
    }
    outside.event_where("a count of all", |event| is_counted(event, unread + 5))?;
    let visitor = observer_in(context, room, "visitor")?;
    let with_visitor = [&members[..], &[visitor.user.id]].concat();
    for member in [&guest, &witness, &visitor] {
        member.roster_of(room, &with_visitor)?;
    }
    counter.online(5)?;
    follower.event_where("the visitor in `joined`", |event| {
        event.name == "presence" && event.arg(0)["joined"][0]["id"] == visitor.user.id
    })?;
    guest.leave(room)?;
    witness.roster_of(room, &[&members[..1], &members[2..], &[visitor.user.id]].concat())?;
    counter.online(4)?;
    Ok(())
}

fn counted(chat: &Chat, key: &str) -> Result<Value, Stop> {
    Ok(chat.ask("login", json!({}))?["count"][key].clone())
}
