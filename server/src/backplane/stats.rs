//! What the backplane publishes for `/ready` and the metrics.

use std::sync::{Arc, Mutex, PoisonError};

use throng_cluster::Status;
use throng_health::{Dependency, State};
use throng_redis::counters::Counters;

throng_tables::metrics! {
    /// The state of this node among others.
    #[derive(Debug, Default)]
    pub struct NodeGauges: u64, "backplane_";

    Gauge up "": "1 while Redis answers and accepts writes, else 0.";
    Gauge lease "": "1 while this node holds its lease, else 0.";
    Gauge peers "nodes": "Other live nodes.";
    Gauge lag_ms "ms": "Age of the last log entry when it was read.";
    Gauge backlog_bytes "bytes": "Bytes of committed messages that wait to be appended to the log.";

    [labelled]
    Gauge waiting "items": "Work not done yet. presence: users in rooms to write; map: pairs of \
        the original's keys to write; sending: changes to send to other nodes; loading: rooms \
        whose presence on other nodes is being read; sweeping: gone nodes whose keys are being \
        removed." {
        waiting_presence: what = "presence";
        waiting_map: what = "map";
        waiting_sending: what = "sending";
        waiting_loading: what = "loading";
        waiting_sweeping: what = "sweeping";
    }
}

impl From<&Status> for NodeGauges {
    fn from(status: &Status) -> NodeGauges {
        NodeGauges {
            up: u64::from(status.is_up),
            lease: u64::from(status.node.is_some()),
            peers: u64::from(status.peers),
            lag_ms: status.lag_ms,
            backlog_bytes: status.backlog_bytes,
            waiting_presence: status.dirty_presence,
            waiting_map: status.dirty_map,
            waiting_sending: status.unlogged,
            waiting_loading: status.loading,
            waiting_sweeping: status.sweeping,
        }
    }
}

#[derive(Debug)]
pub struct RedisStats {
    status: Mutex<Status>,
    redis: Dependency,
    pub adapter: Arc<Counters>,
}

impl RedisStats {
    pub(super) fn new(redis: Dependency) -> RedisStats {
        RedisStats { status: Mutex::default(), redis, adapter: Arc::default() }
    }

    pub(super) fn publish(&self, status: Status) {
        self.redis.set(state(&status));
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn state(status: &Status) -> State {
    match (status.is_up, status.why) {
        (true, _) if status.is_announced => State::Ok,
        (true, _) => State::Pending("joining"),
        (false, "") => State::Pending("starting"),
        (false, why) => State::Down(why.to_owned()),
    }
}
