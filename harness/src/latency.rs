//! Latency and completeness: messages at a fixed rate, each timed from the moment it was due.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::client::chat::{Chat, is_roster_of, message, roster_ids};
use crate::client::options::Options;
use crate::context::Context;
use crate::outcome::Stop;

pub struct Plan {
    pub clients: usize,
    pub rate: f64,
    pub time: Duration,
}

pub struct Measured {
    /// Message latency in microseconds, per delivery, from the intended time of sending.
    pub deliveries: Histogram<u64>,
    pub acks: Histogram<u64>,
    /// From a join or leave to the roster event at each member.
    pub rosters: Histogram<u64>,
    pub sent: u64,
    pub expected: u64,
    pub delivered: u64,
    pub duplicates: u64,
}

impl Measured {
    pub fn is_complete(&self) -> bool {
        self.delivered == self.expected && self.duplicates == 0
    }

    pub fn to_json(&self) -> Value {
        json!({
            "sent": self.sent,
            "expected": self.expected,
            "delivered": self.delivered,
            "duplicates": self.duplicates,
            "deliveries_us": quantiles(&self.deliveries),
            "acks_us": quantiles(&self.acks),
            "rosters_us": quantiles(&self.rosters),
        })
    }
}

fn quantiles(histogram: &Histogram<u64>) -> Value {
    json!({
        "count": histogram.len(),
        "p50": histogram.value_at_quantile(0.5),
        "p90": histogram.value_at_quantile(0.9),
        "p99": histogram.value_at_quantile(0.99),
        "p999": histogram.value_at_quantile(0.999),
        "max": histogram.max(),
    })
}

pub fn measure(context: &Context, plan: &Plan, options: &Options) -> Result<Measured, Stop> {
    let room = context.room()?;
    let members: Vec<Chat> = (0..plan.clients.max(2))
        .map(|index| {
            let user = context.user()?;
            let chat = context.chat_over(&user, &format!("member{index}"), options.clone())?;
            chat.emit("room", json!({ "roomid": room }))?;
            Ok::<Chat, Stop>(chat)
        })
        .collect::<Result<_, _>>()?;
    for member in &members {
        member.event("room")?;
    }
    let mut measured = Measured {
        deliveries: histogram()?,
        acks: histogram()?,
        rosters: histogram()?,
        sent: 0,
        expected: 0,
        delivered: 0,
        duplicates: 0,
    };
    talk(plan, room, &members, &mut measured)?;
    come_and_go(context, plan, room, &members, options, &mut measured)?;
    Ok(measured)
}

fn histogram() -> Result<Histogram<u64>, Stop> {
    Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|why| Stop::Error(why.to_string()))
}

/// Sends at a fixed rate, independent of the answers, and compares each arrival with its due time.
fn talk(plan: &Plan, room: u64, members: &[Chat], measured: &mut Measured) -> Result<(), Stop> {
    let count = (plan.rate * plan.time.as_secs_f64()).ceil().max(1.0) as u64;
    let start = Instant::now() + Duration::from_millis(20);
    let due = |index: u64| start + Duration::from_secs_f64(index as f64 / plan.rate);
    let senders = members.len().min(4);
    let mut ids: Vec<(usize, u64, u64)> = Vec::new();
    for index in 0..count {
        thread::sleep(due(index).saturating_duration_since(Instant::now()));
        let who = index as usize % senders;
        let text = format!("latency {index}");
        let id = members[who].socket.emit_with_id("message", &[message(room, &text)])?;
        ids.push((who, id, index));
    }
    measured.sent = count;
    measured.expected = count * members.len() as u64;
    let last = format!("latency {}", count - 1);
    for member in members {
        // A member without the last message is counted as incomplete below.
        let _ = member.message_with(&last);
    }
    thread::sleep(Duration::from_millis(100));
    for (who, id, index) in ids {
        let acks = members[who].socket.acks();
        if let Some((_, _, at)) = acks.iter().find(|(got, ..)| *got == id) {
            record(&mut measured.acks, *at, due(index));
        }
    }
    for member in members {
        let mut seen: HashMap<u64, u32> = HashMap::new();
        for event in member.socket.events().iter().filter(|event| event.name == "message") {
            let text = event.arg(0)["msg"].as_str().unwrap_or("");
            let index = text.strip_prefix("latency ").and_then(|n| n.parse::<u64>().ok());
            let Some(index) = index else { continue };
            let copies = seen.entry(index).or_default();
            *copies += 1;
            if *copies > 1 {
                measured.duplicates += 1;
            } else {
                measured.delivered += 1;
                record(&mut measured.deliveries, event.at, due(index));
            }
        }
    }
    Ok(())
}

fn record(histogram: &mut Histogram<u64>, at: Instant, due: Instant) {
    histogram.saturating_record(at.saturating_duration_since(due).as_micros().max(1) as u64);
}

/// The fan-out of joins and leaves: from the request to the roster event at every member.
fn come_and_go(
    context: &Context,
    plan: &Plan,
    room: u64,
    members: &[Chat],
    options: &Options,
    measured: &mut Measured,
) -> Result<(), Stop> {
    let user = context.user()?;
    let visitor = context.chat_over(&user, "visitor", options.clone())?;
    let rounds = (plan.time.as_secs_f64() * 4.0).clamp(4.0, 40.0) as usize;
    for round in 0..rounds {
        let inside = round % 2 == 0;
        let before: Vec<usize> = members.iter().map(|member| member.socket.event_count()).collect();
        let name = if inside { "room" } else { "roomout" };
        let due = Instant::now();
        visitor.emit(name, json!({ "roomid": room }))?;
        let mut missing = Vec::new();
        for (member, from) in members.iter().zip(before) {
            let shows = |event: &crate::client::state::Event| {
                is_roster_of(event, room)
                    && roster_ids(event.arg(0)).contains(&visitor.user.id) == inside
            };
            let deadline = due + Duration::from_secs(3);
            let found = loop {
                let found = member.socket.events_since(from).into_iter().find(|e| shows(e));
                if found.is_some() || Instant::now() > deadline {
                    break found;
                }
                thread::sleep(Duration::from_millis(2));
            };
            match found {
                Some(event) => record(&mut measured.rosters, event.at, due),
                None => missing.push(member.user.id),
            }
        }
        if !missing.is_empty() {
            let what = if inside { "join" } else { "leave" };
            return Err(Stop::Fail {
                expected: format!("a roster event at every member after a {what}"),
                observed: format!("none within 3 s at {missing:?}"),
            });
        }
        thread::sleep(Duration::from_millis(60));
    }
    Ok(())
}
