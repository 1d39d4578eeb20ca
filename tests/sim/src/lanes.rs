//! The mesh as it promises to be: two bounded first-in-first-out lanes between each ordered pair
//! of shards, which never lose, repeat or reorder. Canaries break the promise here.

use std::collections::{BTreeSet, VecDeque};

use throng_chat::lane::{Delivery, Request};
use throng_engine::{LaneSlots, SessionId};

use crate::canary::Canary;

enum Item {
    Request(Request),
    Delivery(Delivery),
}

/// All that travels from one shard to another.
#[derive(Default)]
struct Pair {
    requests: VecDeque<Request>,
    deliveries: VecDeque<Delivery>,
    /// Both, in the order sent: only with [`Canary::OneLane`].
    mixed: VecDeque<Item>,
}

pub struct Lanes {
    pairs: Vec<Vec<Pair>>,
    /// Shards of one node; only they have lanes between them.
    group: usize,
    max: u32,
    canary: Option<Canary>,
    sent: u64,
    /// Sessions that have ended, for [`Canary::WrongGeneration`].
    pub ended: BTreeSet<SessionId>,
    pub depth_max: usize,
}

impl Lanes {
    pub fn new(nodes: usize, group: usize, max: u32, canary: Option<Canary>) -> Lanes {
        let shards = nodes * group;
        let row = || (0..shards).map(|_| Pair::default()).collect();
        Lanes {
            pairs: (0..shards).map(|_| row()).collect(),
            group,
            max,
            canary,
            sent: 0,
            ended: BTreeSet::new(),
            depth_max: 0,
        }
    }

    /// What `from` may send in this turn.
    pub fn free_slots(&self, from: usize, commands: u32, signals: u32) -> LaneSlots {
        let free = |len: usize| {
            let extra = u32::from(self.canary == Some(Canary::LaneTooRoomy));
            (self.max + extra).saturating_sub(len as u32)
        };
        let first = from - from % self.group;
        let row = &self.pairs[from][first..first + self.group];
        if self.canary == Some(Canary::OneLane) {
            let mixed: Vec<u32> = row.iter().map(|pair| free(pair.mixed.len())).collect();
            let requests = mixed.iter().map(|free| free / 2).collect();
            let deliveries = mixed.iter().map(|free| free - free / 2).collect();
            return LaneSlots { requests, deliveries, commands, signals };
        }
        LaneSlots {
            requests: row.iter().map(|pair| free(pair.requests.len())).collect(),
            deliveries: row.iter().map(|pair| free(pair.deliveries.len())).collect(),
            commands,
            signals,
        }
    }

    pub fn push_request(&mut self, from: usize, to: usize, request: Request) -> Result<(), String> {
        if self.canary == Some(Canary::DropLeave)
            && matches!(request, Request::Leave { answer: None, .. })
            && self.strikes(3)
        {
            return Ok(());
        }
        let pair = &mut self.pairs[from][to];
        let len = if self.canary == Some(Canary::OneLane) {
            pair.mixed.push_back(Item::Request(request));
            pair.mixed.len()
        } else {
            pair.requests.push_back(request);
            pair.requests.len()
        };
        self.check(len, "request", from, to)
    }

    pub fn push_delivery(
        &mut self,
        from: usize,
        to: usize,
        delivery: Delivery,
    ) -> Result<(), String> {
        let delivery = if self.canary.is_some() {
            match self.spoil(from, to, delivery) {
                Some(delivery) => delivery,
                None => return Ok(()),
            }
        } else {
            delivery
        };
        let pair = &mut self.pairs[from][to];
        let len = if self.canary == Some(Canary::OneLane) {
            pair.mixed.push_back(Item::Delivery(delivery));
            pair.mixed.len()
        } else {
            pair.deliveries.push_back(delivery);
            let len = pair.deliveries.len();
            if self.canary == Some(Canary::SwapDeliveries) && len > 1 && self.strikes(4) {
                self.pairs[from][to].deliveries.swap(len - 1, len - 2);
            }
            len
        };
        self.check(len, "delivery", from, to)
    }

    fn check(&mut self, len: usize, which: &str, from: usize, to: usize) -> Result<(), String> {
        self.depth_max = self.depth_max.max(len);
        if len > self.max as usize {
            return Err(format!("the {which} lane {from} to {to} holds {len} of {}", self.max));
        }
        Ok(())
    }

    pub fn pop_request(&mut self, from: usize, to: usize) -> Option<Request> {
        let pair = &mut self.pairs[from][to];
        if matches!(pair.mixed.front(), Some(Item::Request(_)))
            && let Some(Item::Request(request)) = pair.mixed.pop_front()
        {
            return Some(request);
        }
        pair.requests.pop_front()
    }

    pub fn pop_delivery(&mut self, from: usize, to: usize) -> Option<Delivery> {
        let pair = &mut self.pairs[from][to];
        if matches!(pair.mixed.front(), Some(Item::Delivery(_)))
            && let Some(Item::Delivery(delivery)) = pair.mixed.pop_front()
        {
            return Some(delivery);
        }
        pair.deliveries.pop_front()
    }

    /// The process of these shards is no more.
    pub fn clear(&mut self, shards: std::ops::Range<usize>) {
        for from in shards.clone() {
            for to in shards.clone() {
                self.pairs[from][to] = Pair::default();
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.held() == 0
    }

    pub fn held(&self) -> usize {
        let pairs = self.pairs.iter().flatten();
        pairs.map(|pair| pair.requests.len() + pair.deliveries.len() + pair.mixed.len()).sum()
    }

    /// What waits for `to`.
    pub fn waits_for(&self, to: usize) -> bool {
        self.pairs.iter().any(|row| {
            let pair = &row[to];
            !(pair.requests.is_empty() && pair.deliveries.is_empty() && pair.mixed.is_empty())
        })
    }

    /// True once in `every` calls.
    fn strikes(&mut self, every: u64) -> bool {
        self.sent += 1;
        self.sent.is_multiple_of(every)
    }

    /// Applies the canary to one delivery; `None` if it is lost.
    fn spoil(&mut self, from: usize, to: usize, mut delivery: Delivery) -> Option<Delivery> {
        let is_lost = match (self.canary?, &mut delivery) {
            (Canary::DropFanOut, Delivery::FanOut { .. }) => self.strikes(7),
            (Canary::DropRoster, Delivery::Roster { .. }) => self.strikes(5),
            (Canary::DropMemberRoster, Delivery::MemberRoster { .. })
            | (Canary::DropReading, Delivery::Reading { .. })
            | (Canary::DropTip, Delivery::Tip { .. }) => self.strikes(4),
            (Canary::DoubleFanOut, Delivery::FanOut { room, messages }) => {
                let twin = Delivery::FanOut { room: *room, messages: messages.clone() };
                if self.strikes(7) {
                    self.pairs[from][to].deliveries.push_back(twin);
                }
                false
            }
            (Canary::LoseAck, Delivery::Joined { ack, .. }) => {
                if self.strikes(4) {
                    *ack = None;
                }
                false
            }
            (
                Canary::WrongGeneration,
                Delivery::Joined { session, .. } | Delivery::PublishRefused { session, .. },
            ) => {
                if self.ended.contains(session) {
                    *session =
                        SessionId::new(session.shard(), session.slot(), session.generation() + 1);
                }
                false
            }
            _ => false,
        };
        (!is_lost).then_some(delivery)
    }
}
