//! The lanes between shards: two bounded queues of each ordered pair.

use std::collections::VecDeque;

use throng_engine::{App, Effects, Input, LaneSlots, ShardId};

/// All lanes among the shards of one process, by sender and receiver.
pub struct Lanes<A: App> {
    requests: Vec<Vec<VecDeque<A::Request>>>,
    deliveries: Vec<Vec<VecDeque<A::Delivery>>>,
    /// Whose request each receiver takes next.
    next_peer: Vec<usize>,
    /// Items that a lane holds.
    max: usize,
}

fn square<T>(len: usize) -> Vec<Vec<VecDeque<T>>> {
    (0..len).map(|_| (0..len).map(|_| VecDeque::new()).collect()).collect()
}

impl<A: App> Lanes<A> {
    pub fn new(shards: usize, max: usize) -> Lanes<A> {
        Lanes {
            requests: square(shards),
            deliveries: square(shards),
            next_peer: vec![0; shards],
            max,
        }
    }

    /// What `from` may send in this turn.
    pub fn free_slots(&self, from: usize, commands: u32, signals: u32) -> LaneSlots {
        LaneSlots {
            requests: self.requests[from].iter().map(|lane| self.free(lane)).collect(),
            deliveries: self.deliveries[from].iter().map(|lane| self.free(lane)).collect(),
            commands,
            signals,
        }
    }

    fn free<T>(&self, lane: &VecDeque<T>) -> u32 {
        (self.max - lane.len()) as u32
    }

    /// Puts what a turn of `from` has emitted into the lanes. True if that is anything.
    ///
    /// # Panics
    /// When it is more than fits.
    pub fn push(&mut self, from: usize, effects: &mut Effects<A>) -> bool {
        let is_moving = !(effects.requests.is_empty() && effects.deliveries.is_empty());
        for (to, request) in effects.requests.drain(..) {
            self.requests[from][usize::from(to.0)].push_back(request);
        }
        for (to, delivery) in effects.deliveries.drain(..) {
            self.deliveries[from][usize::from(to.0)].push_back(delivery);
        }
        let requests = self.requests[from].iter().map(VecDeque::len);
        let deliveries = self.deliveries[from].iter().map(VecDeque::len);
        for len in requests.chain(deliveries) {
            assert!(len <= self.max, "a lane of shard {from} holds {len} of {}", self.max);
        }
        is_moving
    }

    /// Takes the next delivery to `to`.
    pub fn next_delivery(&mut self, to: usize) -> Option<Input<'static, A>> {
        let mut rows = self.deliveries.iter_mut().enumerate();
        rows.find_map(|(from, row)| {
            let delivery = row[to].pop_front()?;
            Some(Input::Delivery { from: ShardId(from as u8), delivery })
        })
    }

    /// Takes the next request to `to`: one of each peer in turn.
    pub fn next_request(&mut self, to: usize) -> Option<Input<'static, A>> {
        let peers = self.requests.len();
        let first = self.next_peer[to];
        (first..first + peers).map(|peer| peer % peers).find_map(|from| {
            let request = self.requests[from][to].pop_front()?;
            self.next_peer[to] = from + 1;
            Some(Input::Request { from: ShardId(from as u8), request })
        })
    }

    /// Whether any delivery waits for `to`.
    pub fn has_deliveries(&self, to: usize) -> bool {
        self.deliveries.iter().any(|row| !row[to].is_empty())
    }

    /// Whether any request waits for `to`.
    pub fn has_requests(&self, to: usize) -> bool {
        self.requests.iter().any(|row| !row[to].is_empty())
    }

    /// Whether less than a quarter of a lane of `from` is free: its peer does not ring when it
    /// empties the lane.
    pub fn is_nearly_full(&self, from: usize) -> bool {
        let requests = self.requests[from].iter().map(VecDeque::len);
        let deliveries = self.deliveries[from].iter().map(VecDeque::len);
        requests.chain(deliveries).any(|len| self.max - len < self.max.div_ceil(4))
    }

    pub fn is_empty(&self) -> bool {
        let requests = self.requests.iter().flatten().all(VecDeque::is_empty);
        requests && self.deliveries.iter().flatten().all(VecDeque::is_empty)
    }
}
