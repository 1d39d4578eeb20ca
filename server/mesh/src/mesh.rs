//! All lanes of a process: two for each ordered pair of shards, a shard and itself included.

use std::io;

use crate::bell::Bell;
use crate::lane::{Receiver, Sender, lane};
use crate::sync::Arc;

/// Slots per lane.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub requests: usize,
    pub deliveries: usize,
}

/// One shard's ends of its lanes, each indexed by the peer.
pub struct LaneEnds<Request, Delivery> {
    pub bell: Arc<Bell>,
    pub requests_out: Vec<Sender<Request>>,
    pub requests_in: Vec<Receiver<Request>>,
    pub deliveries_out: Vec<Sender<Delivery>>,
    pub deliveries_in: Vec<Receiver<Delivery>>,
}

impl<Request, Delivery> LaneEnds<Request, Delivery> {
    /// Nothing waits in any lane to this shard.
    pub fn is_idle(&self) -> bool {
        self.deliveries_in.iter().all(Receiver::is_empty)
            && self.requests_in.iter().all(Receiver::is_empty)
    }

    /// Rings the bell of every peer that something was pushed to.
    pub fn ring(&mut self) {
        self.requests_out.iter_mut().for_each(Sender::ring);
        self.deliveries_out.iter_mut().for_each(Sender::ring);
    }
}

/// Builds the lanes of `shards` shards.
///
/// # Errors
/// When the process is out of file descriptors.
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
            let (sender, receiver) = lane(capacity.requests, Arc::clone(&bell));
            all_ends[from].requests_out.push(sender);
            all_ends[to].requests_in.push(receiver);
            let (sender, receiver) = lane(capacity.deliveries, bell);
            all_ends[from].deliveries_out.push(sender);
            all_ends[to].deliveries_in.push(receiver);
        }
    }
    Ok(all_ends)
}
