//! What is between several nodes: the state machine of each process, and the model Redis.

use std::collections::{BTreeMap, VecDeque};

use throng_chat::RoomId;
use throng_cluster::model::Server;
use throng_cluster::{Cluster, Effects, Failure, OrderId, Outcome, PublishId, Seed, Settings};
use throng_engine::Now;

/// A lease this short lapses within a run.
const LEASE_MS: u64 = 4_000;
/// Wall clock at the start.
const UNIX_MS: u64 = 1_760_000_000_000;

/// The cluster part of one process; its shards are nodes of the world.
pub struct Process {
    pub cluster: Cluster,
    /// Its number as a client of Redis; no other process has had it.
    pub number: u32,
    pub effects: Effects,
    /// Killed, and not yet replaced.
    pub is_dead: bool,
    pub is_asleep: bool,
    /// Publishes so far that Redis is to number.
    pub publishes: u64,
    /// Who waits for numbers.
    pub askers: BTreeMap<PublishId, Asker>,
    /// Outcomes that arrived while it was asleep.
    pub waiting: Vec<(OrderId, Result<Outcome, Failure>)>,
}

/// A shard that waits for the numbers of so many messages of a room.
pub struct Asker {
    pub shard: usize,
    pub room: RoomId,
    pub count: u64,
}

/// Everything between the nodes. A single node has none.
pub struct Backplane {
    pub redis: Server,
    pub processes: Vec<Process>,
    pub is_ephemeral: bool,
    /// Answers of the database on their way, in order of arrival.
    pub answers: VecDeque<(Now, u32, OrderId, Result<Outcome, Failure>)>,
    pub started: u64,
    /// Counts for canaries that strike once in a while.
    pub strikes: u64,
    /// Redis has lost its data.
    pub was_emptied: bool,
    pub was_killed: bool,
}

impl Backplane {
    /// A new process.
    pub fn start(&mut self) -> Process {
        self.started += 1;
        let mut random = [7; 16];
        random[..8].copy_from_slice(&self.started.to_le_bytes());
        let settings = Settings {
            log_streams: 2,
            // Rooms that store nothing are lost for a sleeping node when the log is trimmed.
            log_maxlen: if self.is_ephemeral { 100_000 } else { 40 },
            ephemeral: self.is_ephemeral,
            lease_ms: LEASE_MS,
            outage_poll_ms: 200,
            ..Settings::default()
        };
        Process {
            number: self.started as u32,
            cluster: Cluster::new(settings, Seed { random, started_unix_ms: UNIX_MS }),
            effects: Effects::default(),
            is_dead: false,
            is_asleep: false,
            publishes: 0,
            askers: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }
}
