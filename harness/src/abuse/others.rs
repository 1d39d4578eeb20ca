//! The users who use the target while it is abused: a room of their own, and messages at a fixed rate.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::control::echo_times;
use super::plan::Plan;
use crate::client::chat::{Chat, message};
use crate::client::options::{Options, Transport};
use crate::client::transcript::Transcript;
use crate::combo::{Combo, E4P, E4W};
use crate::context::Context;
use crate::outcome::Stop;

const MESSAGES_PER_S: f64 = 4.0;
/// One in so many users is on polling, whose requests take another way through a server.
const POLLING_ONE_IN: usize = 5;
/// One in so many messages of a user on polling is a large one.
const LARGE_ONE_IN: usize = 4;
/// A large message has an image of so many bytes: with it no body fits what a server grants to anyone.
const IMAGE_BYTES: usize = 70_000;
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";

/// What a delivery is compared with: its own kind at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    Websocket,
    /// The sender or the receiver is on polling.
    Polling,
    /// A large message.
    Large,
}

impl Way {
    pub const ALL: [Way; 3] = [Way::Websocket, Way::Polling, Way::Large];

    pub fn name(self) -> &'static str {
        match self {
            Way::Websocket => "over WebSocket",
            Way::Polling => "over polling",
            Way::Large => "of large messages",
        }
    }

    /// The quantile that is judged: large messages are too few for the highest.
    pub fn quantile(self) -> f64 {
        match self {
            Way::Websocket | Way::Polling => 0.99,
            Way::Large => 0.5,
        }
    }
}

pub struct Others {
    room: u64,
    members: Vec<Chat>,
    wait: Duration,
}

struct Sent {
    text: String,
    member: usize,
    due: Instant,
    is_large: bool,
    /// The id of its acknowledgement; `None` if it could not be sent.
    ack: Option<u64>,
}

/// What the others saw of their messages.
#[derive(Default)]
pub struct Talk {
    times: HashMap<Way, Vec<Duration>>,
    machine: Vec<Duration>,
    pub expected: u64,
    pub missing: u64,
    pub doubled: u64,
    pub out_of_order: u64,
    /// Refusals and failures to send, each once.
    pub refused: Vec<String>,
}

impl Talk {
    pub fn latency(&self, way: Way) -> Option<Duration> {
        quantile(self.times.get(&way)?, way.quantile())
    }

    /// What the machine alone took, at the same quantile.
    pub fn machine(&self, way: Way) -> Duration {
        quantile(&self.machine, way.quantile()).unwrap_or_default()
    }
}

fn quantile(times: &[Duration], quantile: f64) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let last = times.len().checked_sub(1)?;
    Some(times[(last as f64 * quantile).round() as usize])
}

impl Others {
    /// Connects them and has them join a room.
    pub fn join(context: &Context, plan: &Plan) -> Result<Others, Stop> {
        let users = {
            let mut users = context.run.others.lock().expect("no case panics while it registers");
            while users.len() < plan.users {
                users.push(context.user()?);
            }
            users[..plan.users].to_vec()
        };
        let room = match context.capabilities().rooms_on_demand {
            true => context.run.fresh_room(),
            false => {
                let rooms = context.rest_at(0).rooms(&users[0].token)?;
                let first = rooms.first().and_then(|room| room["id"].as_u64());
                first.ok_or_else(|| Stop::Skip("the target has no room".to_owned()))?
            }
        };
        // Their frames would hide the few lines that matter.
        let log = Transcript::default().log("other");
        let mut members = Vec::new();
        for (index, user) in users.iter().enumerate() {
            let Combo { protocol, transport } = way_of(context, index);
            let options = Options::new(protocol, transport);
            let target = &context.run.nodes[0];
            let chat = Chat::connect(target, options, user, &log, context.wait())?;
            chat.join(room)?;
            members.push(chat);
        }
        Ok(Others { room, members, wait: context.wait() })
    }

    /// Each user sends at a fixed rate; ends when every message has arrived, or is given up.
    pub fn talk(&self, name: &str, time: Duration) -> Result<Talk, Stop> {
        let before: Vec<usize> =
            self.members.iter().map(|chat| chat.socket.event_count()).collect();
        let sent = Mutex::new(Vec::new());
        let machine = thread::scope(|scope| {
            let machine = scope.spawn(|| echo_times(time));
            let start = Instant::now();
            for member in 0..self.members.len() {
                let sent = &sent;
                scope.spawn(move || self.send(name, member, start, time, sent));
            }
            machine.join().expect("the echo does not panic")
        });
        let machine = machine.map_err(|why| Stop::Error(format!("no echo: {why}")))?;
        let sent = sent.into_inner().expect("no sender panics");
        self.settle(&before, sent.len());
        Ok(self.judge(&before, &sent, machine))
    }

    /// Sessions that have ended, each with the reason.
    pub fn ended(&self) -> Vec<String> {
        let endings = self.members.iter().filter_map(|chat| chat.socket.ending());
        endings.map(|ending| format!("{} {}", ending.code, ending.why)).collect()
    }

    fn transport(&self, member: usize) -> Transport {
        self.members[member].socket.transport()
    }

    fn send(
        &self,
        name: &str,
        member: usize,
        start: Instant,
        time: Duration,
        sent: &Mutex<Vec<Sent>>,
    ) {
        let chat = &self.members[member];
        let interval = Duration::from_secs_f64(1.0 / MESSAGES_PER_S);
        // Evenly over the interval, so that the room's rate is steady.
        let mut due = start + interval.mul_f64(member as f64 / self.members.len() as f64);
        let mut index = 0;
        while due < start + time {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let text = format!("{name} {member} {index}");
            let polls = self.transport(member) == Transport::Polling;
            let is_large = polls && index % LARGE_ONE_IN == 0;
            let ack = chat.socket.emit_with_id("message", &[self.message(&text, is_large)]).ok();
            let is_sent = ack.is_some();
            let mut sent = sent.lock().expect("no sender panics");
            sent.push(Sent { text, member, due, is_large, ack });
            // One failure is enough to fail; more of them take long each.
            if !is_sent {
                return;
            }
            drop(sent);
            index += 1;
            due += interval;
        }
    }

    fn message(&self, text: &str, is_large: bool) -> Value {
        let mut message = message(self.room, text);
        if is_large {
            let mut bytes = PNG.to_vec();
            bytes.resize(IMAGE_BYTES, 0);
            // Each image is another one.
            bytes.extend_from_slice(text.as_bytes());
            message["img"] = json!(format!("data:image/png;base64,{}", BASE64.encode(&bytes)));
        }
        message
    }

    fn settle(&self, before: &[usize], count: usize) {
        let deadline = Instant::now() + self.wait;
        let mine = |member: usize| {
            let events = self.members[member].socket.events_since(before[member]);
            events.iter().filter(|event| event.name == "message").count()
        };
        while Instant::now() < deadline && (0..self.members.len()).any(|at| mine(at) < count) {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn judge(&self, before: &[usize], sent: &[Sent], machine: Vec<Duration>) -> Talk {
        let mut talk = Talk { machine, ..Talk::default() };
        for message in sent {
            let answer = message.ack.map(|id| {
                let acks = self.members[message.member].socket.acks();
                acks.into_iter().find(|(got, ..)| *got == id).map(|(_, answer, _)| answer)
            });
            let why = match answer {
                None => "could not be sent".to_owned(),
                // Its deliveries say whether it is missing.
                Some(None) => continue,
                Some(Some(answer)) if answer[0]["ok"] == json!(true) => continue,
                Some(Some(answer)) => format!("answered {}", answer[0]),
            };
            if !talk.refused.contains(&why) {
                talk.refused.push(why);
            }
        }
        for (member, chat) in self.members.iter().enumerate() {
            let mut arrived: HashMap<String, (Instant, u64)> = HashMap::new();
            let mut last_seq = 0;
            for event in chat.socket.events_since(before[member]) {
                let (body, text) = (event.arg(0), event.arg(0)["msg"].as_str().unwrap_or(""));
                if event.name != "message" || body["roomid"] != self.room {
                    continue;
                }
                let seq = body["seq"].as_u64().unwrap_or(last_seq + 1);
                talk.out_of_order += u64::from(seq <= last_seq);
                last_seq = seq;
                arrived.entry(text.to_owned()).or_insert((event.at, 0)).1 += 1;
            }
            for message in sent {
                talk.expected += 1;
                let Some((at, copies)) = arrived.get(&message.text) else {
                    talk.missing += 1;
                    continue;
                };
                talk.doubled += copies - 1;
                let either = [self.transport(message.member), self.transport(member)];
                let way = match message.is_large {
                    true => Way::Large,
                    false if either.contains(&Transport::Polling) => Way::Polling,
                    false => Way::Websocket,
                };
                let times = talk.times.entry(way).or_default();
                times.push(at.saturating_duration_since(message.due));
            }
        }
        talk
    }
}

/// How the user with this number speaks to the target.
fn way_of(context: &Context, index: usize) -> Combo {
    let capabilities = context.capabilities();
    let polls = index % POLLING_ONE_IN == POLLING_ONE_IN - 1;
    let wanted = if polls { E4P } else { E4W };
    let other = if polls { E4W } else { E4P };
    let found = [wanted, other].into_iter().find(|combo| capabilities.speaks(*combo));
    found.or(capabilities.preferred()).unwrap_or(E4W)
}
