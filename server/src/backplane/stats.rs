//! What the backplane publishes for `/ready` and the metrics.

use std::sync::{Arc, Mutex, PoisonError};

use throng_cluster::Status;
use throng_redis::counters::Counters;

/// The state of the cluster machine and the counters of the adapter.
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
