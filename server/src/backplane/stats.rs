//! What the backplane publishes for `/ready` and the metrics.

use std::sync::{Arc, Mutex, PoisonError};

use throng_cluster::Status;
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

#[derive(Debug, Default)]
pub struct RedisStats {
    status: Mutex<Status>,
    pub adapter: Arc<Counters>,
}

impl RedisStats {
    pub(super) fn publish(&self, status: Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For `/ready`: one word, and the reason if it is `down`.
    pub fn readiness(&self) -> String {
        let status = self.status();
        match (status.is_up, status.why) {
            (true, _) if status.is_announced => "ok".into(),
            (true, _) => "joining".into(),
            (false, "") => "starting".into(),
            (false, why) => format!("down: {why}"),
        }
    }
}
