//! The model behind a network: answers take time or get lost, and commands are executed after their
//! timeout.

use std::collections::{BTreeMap, BTreeSet};

use throng_engine::Now;

use super::Redis;
use crate::order::{Failure, Order, OrderId, Outcome};

/// After this an order is answered as broken, even if it is executed later.
const TIMEOUT_MS: u64 = 2_000;
/// How often a blocked read is retried.
const LOOK_MS: u64 = 3;

/// What the server does with commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Executes them.
    Up,
    /// Refuses connections.
    Down,
    /// SIGSTOP: commands are accepted and executed later, after their timeout.
    Paused,
}

/// A Redis server and the network before it.
pub struct Server {
    pub redis: Redis,
    mode: Mode,
    /// The least and the greatest latency of a command, in each direction.
    pub latency_ms: (u64, u64),
    /// Clients that cannot reach it.
    cut: BTreeSet<u32>,
    events: BTreeMap<(Now, u64), Step>,
    pending: BTreeMap<u64, Pending>,
    next: u64,
    dice: u64,
}

enum Step {
    Do(u64),
    TimeOut(u64),
    Answer(u64, Result<Outcome, Failure>),
}

struct Pending {
    client: u32,
    id: OrderId,
    order: Order,
    block_until: Now,
    is_answered: bool,
    is_done: bool,
    /// It was sent while the client was cut off.
    is_lost: bool,
}

/// An answer to a client.
pub type Reply = (u32, OrderId, Result<Outcome, Failure>);

impl Server {
    pub fn new(seed: u64) -> Server {
        Server {
            redis: Redis::default(),
            mode: Mode::Up,
            latency_ms: (0, 2),
            cut: BTreeSet::new(),
            events: BTreeMap::new(),
            pending: BTreeMap::new(),
            next: 0,
            dice: seed,
        }
    }

    /// A client sends an order.
    pub fn give(&mut self, now: Now, client: u32, id: OrderId, order: Order) {
        let block_ms = if let Order::Read { block_ms, .. } = &order { *block_ms } else { 0 };
        self.next += 1;
        let number = self.next;
        let block_until = now.plus_ms(block_ms);
        let is_lost = self.cut.contains(&client);
        let (is_answered, is_done) = (false, false);
        let pending = Pending { client, id, order, block_until, is_answered, is_done, is_lost };
        self.pending.insert(number, pending);
        let at = now.plus_ms(self.latency());
        self.at(at, Step::Do(number));
        self.at(now.plus_ms(block_ms + TIMEOUT_MS), Step::TimeOut(number));
    }

    /// When [`Server::run`] has something to do next.
    pub fn next_at(&self) -> Option<Now> {
        self.events.keys().next().map(|(at, _)| *at)
    }

    /// Runs everything that is due at `now` and returns the answers.
    pub fn run(&mut self, now: Now) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Step::Do(number) => self.act(now, number),
                Step::TimeOut(number) => {
                    self.answer(number, Err(Failure::Broken { why: "timeout" }), &mut replies);
                }
                Step::Answer(number, outcome) => self.answer(number, outcome, &mut replies),
            }
        }
        replies
    }

    /// `Down` breaks every connection; some of the commands in flight were executed, some were not.
    pub fn set_mode(&mut self, now: Now, mode: Mode) {
        let was = std::mem::replace(&mut self.mode, mode);
        let open = self.pending.iter().filter(|(_, pending)| !pending.is_done);
        let numbers: Vec<u64> = open.map(|(number, _)| *number).collect();
        match mode {
            Mode::Down => {
                for number in numbers {
                    if was == Mode::Up && self.roll(2) == 0 {
                        self.do_now(now, number);
                    }
                    if let Some(pending) = self.pending.get_mut(&number) {
                        pending.is_done = true;
                    }
                    let down = Err(Failure::Broken { why: "down" });
                    self.at(now, Step::Answer(number, down));
                }
            }
            Mode::Up => {
                for number in numbers {
                    let at = now.plus_ms(self.roll(50));
                    self.at(at, Step::Do(number));
                }
            }
            Mode::Paused => {}
        }
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The client can no longer reach the server.
    pub fn cut(&mut self, client: u32) {
        self.cut.insert(client);
    }

    /// The client can reach the server again.
    pub fn mend(&mut self, client: u32) {
        self.cut.remove(&client);
    }

    fn act(&mut self, now: Now, number: u64) {
        // By design: the command was executed, answered and removed before this event.
        let Some(pending) = self.pending.get(&number) else { return };
        if pending.is_done {
            return;
        }
        let is_cut = self.cut.contains(&pending.client);
        match self.mode {
            Mode::Down => self.at(now, Step::Answer(number, Err(Failure::Broken { why: "down" }))),
            Mode::Paused => {}
            Mode::Up if pending.is_lost => self.finish(number),
            Mode::Up if is_cut => {
                // Some commands got through before the cut; their answers did not.
                if self.roll(2) == 0 {
                    self.do_now(now, number);
                }
                self.finish(number);
            }
            Mode::Up => {
                let Some(outcome) = self.do_now(now, number) else { return };
                let at = now.plus_ms(self.latency());
                self.at(at, Step::Answer(number, outcome));
            }
        }
    }

    /// `None`: a read that waits for entries.
    fn do_now(&mut self, now: Now, number: u64) -> Option<Result<Outcome, Failure>> {
        let pending = self.pending.get_mut(&number)?;
        let outcome = self.redis.run(now, &pending.order);
        let is_empty = matches!(&outcome, Ok(Outcome::Entries(entries)) if entries.is_empty());
        if is_empty && now < pending.block_until && !pending.is_answered {
            self.at(now.plus_ms(LOOK_MS), Step::Do(number));
            return None;
        }
        pending.is_done = true;
        Some(outcome)
    }

    fn answer(&mut self, number: u64, outcome: Result<Outcome, Failure>, replies: &mut Vec<Reply>) {
        // By design: a timeout may fire after the answer.
        let Some(pending) = self.pending.get_mut(&number) else { return };
        if !std::mem::replace(&mut pending.is_answered, true) {
            replies.push((pending.client, pending.id, outcome));
        }
        // Only a paused server executes commands after their timeout.
        if pending.is_done || self.mode == Mode::Down || self.cut.contains(&pending.client) {
            self.finish(number);
        }
    }

    fn finish(&mut self, number: u64) {
        // By design: it may be finished already.
        let Some(pending) = self.pending.get_mut(&number) else { return };
        pending.is_done = true;
        if pending.is_answered {
            self.pending.remove(&number);
        }
    }

    fn at(&mut self, at: Now, step: Step) {
        self.next += 1;
        self.events.insert((at, self.next), step);
    }

    fn latency(&mut self) -> u64 {
        let (least, most) = self.latency_ms;
        least + self.roll(most - least + 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.dice >> 33) % sides
    }
}
