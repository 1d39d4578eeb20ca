//! Chapter 4 and 8: limits on rate and size of events.

use super::prelude::*;

cases! {
    burst "msg.burst" ["LIM-22"] over EVERY needs CHAT
        does "sends 25 messages at once"
        expects "all are accepted";
    rate_limit "msg.rate-limit" ["LIM-20", "ERR-12", "ERR-14"] over EIO4 needs CHAT
        does "sends 400 messages at once"
        expects "some are rate_limited; the session stays open and can send again later";
    refused_count "msg.refused-count" ["ERR-13"] over ONLY_E4W needs CHAT
        does "sends 200 messages at once to a room that the user is not in, and then to one they are in"
        expects "where the second are limited, the first were";
    shared_rate "msg.shared-rate" ["LIM-32", "LIM-20"] over ONLY_E4W needs CHAT
        does "sends 200 messages at once on each of two sessions of one user"
        expects "the second session has little of the burst left";
    join_rate_limit "room.rate-limit" ["LIM-21", "ERR-12"] over EIO4 needs CHAT
        does "joins 150 times at once"
        expects "some are rate_limited; the session stays open and can join again later";
    default_rates "lim.default-rates" ["LIM-28"] over ONLY_E4W needs CHAT
        does "sends 400 messages at once, and joins 150 times at once; and again after two seconds"
        expects "as many are accepted as LIM-20 and LIM-21 say by default, at once and per second";
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

/// A rate of the text.
struct EventRate {
    per_s: f64,
    burst: f64,
}

const MESSAGES: EventRate = EventRate { per_s: 20.0, burst: 60.0 };
const JOINS: EventRate = EventRate { per_s: 10.0, burst: 40.0 };
/// How long an answer may have been on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(200);
/// What a target accepts at once whatever its rate: LIM-22 of messages, less of joins.
const AT_ONCE: usize = 25;
const JOINS_AT_ONCE: usize = 10;

/// How many events were accepted that were sent without waiting, and how long that took.
struct Flood {
    sent: usize,
    accepted: usize,
    took: Duration,
    /// The longest wait that a refusal asked for.
    retry_after: Duration,
}

impl Flood {
    fn is_limited(&self) -> bool {
        self.accepted < self.sent
    }

    /// After this time the next event is accepted.
    fn wait(&self) -> Duration {
        self.retry_after.clamp(Duration::from_millis(1_500), Duration::from_secs(5))
    }
}

/// Sends events without waiting: each is accepted, or refused for its rate, and the session stays open.
fn flood<'a>(
    guest: &mut Chat,
    events: impl Iterator<Item = (&'a str, Value)>,
) -> Result<Flood, Stop> {
    guest.wait *= 3;
    let begun = Instant::now();
    let answers = guest.ask_all(events)?;
    let took = begun.elapsed();
    stays_open("the session stays open", &guest.socket)?;
    let (mut accepted, mut retry_after) = (0, Duration::ZERO);
    for answer in &answers {
        match answer["code"].as_str() {
            None => accepted += 1,
            Some("rate_limited") => {
                let wait = Duration::from_millis(answer["retry_after_ms"].as_u64().unwrap_or(0));
                retry_after = retry_after.max(wait);
            }
            Some(other) => return fail("ok or rate_limited", other),
        }
    }
    Ok(Flood { sent: answers.len(), accepted, took, retry_after })
}

/// A flood that is limited, of which the first events are accepted whatever the target's rate is.
fn limited_flood<'a>(
    guest: &mut Chat,
    events: impl Iterator<Item = (&'a str, Value)>,
    at_once: usize,
) -> Result<Flood, Stop> {
    let flood = flood(guest, events)?;
    let Flood { sent, accepted, .. } = flood;
    if !flood.is_limited() {
        return skip(format!("{sent} events at once are accepted: the limit is lifted"));
    }
    require(accepted >= at_once, &format!("at least {at_once} are accepted"), || {
        format!("{accepted} of {sent} are accepted")
    })?;
    Ok(flood)
}

fn messages(room: u64, count: usize) -> impl Iterator<Item = (&'static str, Value)> {
    (0..count).map(move |n| ("message", message(room, &format!("{n}"))))
}

fn joins(room: u64, count: usize) -> impl Iterator<Item = (&'static str, Value)> {
    (0..count).map(move |_| ("room", json!({ "roomid": room })))
}

fn rate_limit(context: &Context) -> Outcome {
    let (room, mut guest) = guest_in_room(context)?;
    let flood = limited_flood(&mut guest, messages(room, 400), AT_ONCE)?;
    context.pause(flood.wait());
    guest.say(room, "later")?;
    Ok(())
}

fn refused_count(context: &Context) -> Outcome {
    let (room, guest) = (context.room()?, context.guest("guest")?);
    let limited = || -> Result<bool, Stop> {
        let messages = (0..200).map(|n| ("message", message(room, &format!("{n}"))));
        let answers = guest.ask_all(messages)?;
        Ok(answers.iter().any(|answer| answer["code"] == json!("rate_limited")))
    };
    if limited()? {
        return Ok(());
    }
    guest.join(room)?;
    if limited()? {
        return fail("refused messages count against the rate", "200 refused ones did not");
    }
    skip("200 messages at once are accepted: the limit is lifted")
}

/// The default rates, as an exact server has them: what is there at once, and what comes back meanwhile.
fn default_rates(context: &Context) -> Outcome {
    let (room, mut guest) = guest_in_room(context)?;
    has_rate("messages", &MESSAGES, &flood(&mut guest, messages(room, 400))?)?;
    refills(context, "messages", &MESSAGES, || flood(&mut guest, messages(room, 120)))?;
    let mut guest = context.guest("another")?;
    has_rate("joins", &JOINS, &flood(&mut guest, joins(room, 150))?)?;
    refills(context, "joins", &JOINS, || flood(&mut guest, joins(room, 60)))
}

/// Now that a burst is used up: as much comes back as the rate says.
fn refills(
    context: &Context,
    what: &str,
    rate: &EventRate,
    flood: impl FnOnce() -> Result<Flood, Stop>,
) -> Outcome {
    const REST: Duration = Duration::from_secs(2);
    let begun = Instant::now();
    context.pause(REST);
    let Flood { accepted, .. } = flood()?;
    let earned = |time: Duration| rate.per_s * time.as_secs_f64();
    // The burst may have ended with a part of one left, and its last answer was on its way for a while.
    let least = earned(REST).floor() as usize - 1;
    let most = (earned(begun.elapsed()) + earned(ON_ITS_WAY)).ceil() as usize + 1;
    require((least..=most).contains(&accepted), &format!("{least} to {most} {what}"), || {
        format!("{accepted} are accepted {:?} after the burst", begun.elapsed())
    })
}

fn has_rate(what: &str, rate: &EventRate, flood: &Flood) -> Outcome {
    let Flood { sent, accepted, took, .. } = flood;
    if !flood.is_limited() {
        return skip(format!("{sent} {what} at once are accepted: the limit is lifted"));
    }
    let least = rate.burst as usize;
    // What was accepted last may have been sent when the last one was answered.
    let most = (rate.burst + rate.per_s * took.as_secs_f64()).ceil() as usize + 1;
    require((least..=most).contains(accepted), &format!("{least} to {most} {what}"), || {
        format!("{accepted} are accepted in {took:?}")
    })
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
    let flood = limited_flood(&mut guest, joins(room, 150), JOINS_AT_ONCE)?;
    context.pause(flood.wait());
    guest.join(room).map(drop)?;
    Ok(())
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
