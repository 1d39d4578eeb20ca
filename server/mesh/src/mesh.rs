//! All lanes of a process: two for each ordered pair of shards, including each shard with itself.

use std::io;

use crate::bell::Bell;
use crate::lane::{Receiver, Sender, lane};
use crate::sync::Arc;

/// Slots per lane.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Slots of each request lane.
    pub request_lane_max: usize,
    /// Slots of each delivery lane.
    pub delivery_lane_max: usize,
}

/// One shard's ends of its lanes, each indexed by the peer.
pub struct LaneEnds<Request, Delivery> {
    /// Wakes this shard; rung by its peers.
    pub bell: Arc<Bell>,
    /// Requests to each shard.
    pub requests_out: Vec<Sender<Request>>,
    /// Requests from each shard.
    pub requests_in: Vec<Receiver<Request>>,
    /// Deliveries to each shard.
    pub deliveries_out: Vec<Sender<Delivery>>,
    /// Deliveries from each shard.
    pub deliveries_in: Vec<Receiver<Delivery>>,
}

impl<Request, Delivery> LaneEnds<Request, Delivery> {
    /// No lane to this shard holds an item.
    pub fn is_idle(&self) -> bool {
        self.deliveries_in.iter().all(Receiver::is_empty)
            && self.requests_in.iter().all(Receiver::is_empty)
    }

    /// Rings the bell of every peer that was sent an item since the last call.
    pub fn ring(&mut self) {
        self.requests_out.iter_mut().for_each(Sender::ring);
        self.deliveries_out.iter_mut().for_each(Sender::ring);
    }
}

/// Builds the lanes of `shards` shards; the result is indexed by shard.
///
/// # Errors
/// When the process has no free file descriptor for a bell.
pub fn mesh<Request, Delivery>(
    shards: usize,
    capacity: Capacity,
) -> io::Result<Vec<LaneEnds<Request, Delivery>>> {
    let mut all_ends = (0..shards)
        .map(|_| {
            Ok(LaneEnds {
                bell: Arc::new(Bell::new()?),
                requests_out: Vec::new(),
                requests_in: Vec::new(),
                deliveries_out: Vec::new(),
                deliveries_in: Vec::new(),
            })
        })
        .collect::<io::Result<Vec<_>>>()?;
    for from in 0..shards {
        for to in 0..shards {
            let bell = Arc::clone(&all_ends[to].bell);
            let (sender, receiver) = lane(capacity.request_lane_max, Arc::clone(&bell));
            all_ends[from].requests_out.push(sender);
            all_ends[to].requests_in.push(receiver);
            let (sender, receiver) = lane(capacity.delivery_lane_max, bell);
            all_ends[from].deliveries_out.push(sender);
            all_ends[to].deliveries_in.push(receiver);
        }
    }
    Ok(all_ends)
}
