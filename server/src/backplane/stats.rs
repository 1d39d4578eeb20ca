//! What the backplane publishes for `/ready` and the metrics.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use throng_cluster::Status;
use throng_health::{Dependency, State};
use throng_redis::counters::Counters;

use super::cause::{JOINING, cause};

/// A node that has not joined after this time is not just starting.
const START: Duration = Duration::from_secs(5);

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
    started: Instant,
    has_joined: AtomicBool,
    pub adapter: Arc<Counters>,
}

impl RedisStats {
    pub(super) fn new(redis: Dependency) -> RedisStats {
        RedisStats {
            status: Mutex::default(),
            redis,
            started: Instant::now(),
            has_joined: AtomicBool::new(false),
            adapter: Arc::default(),
        }
    }

    pub(super) fn publish(&self, status: Status) {
        if status.is_up {
            self.has_joined.store(true, Relaxed);
        }
        let is_starting = !self.has_joined.load(Relaxed) && self.started.elapsed() < START;
        self.redis.set(state(&status, is_starting));
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// `is_starting`: to join takes a moment, and is no fault.
fn state(status: &Status, is_starting: bool) -> State {
    match (status.is_up, status.why) {
        (true, _) if status.is_announced => State::Ok,
        (true, _) => State::Pending(JOINING),
        (false, "") => State::Pending("starting"),
        (false, JOINING) if is_starting => State::Pending(JOINING),
        (false, why) => State::Down(cause(why)),
    }
}

#[cfg(test)]
mod tests {
    use throng_cluster::Status;
    use throng_health::{Health, Need, State};

    use super::{RedisStats, START, state};

    fn shown(why: &'static str, is_starting: bool) -> String {
        state(&Status { why, ..Status::default() }, is_starting).to_string()
    }

    #[test]
    fn a_node_that_starts_is_joining_and_a_fault_is_down_with_its_cause() {
        let late = "down: this node has not joined the other nodes yet";
        for (why, is_starting, expected) in [
            ("joining", true, "joining"),
            ("joining", false, late),
            ("down", true, "down: there is no connection to Redis"),
            ("oom", true, "down: Redis is full (maxmemory is reached)"),
            ("oom", false, "down: Redis is full (maxmemory is reached)"),
            ("WRONGTYPE", false, "down: Redis answers with an error: WRONGTYPE"),
        ] {
            assert_eq!(shown(why, is_starting), expected, "{why} {is_starting}");
        }
    }

    #[test]
    fn a_start_is_no_fault_until_the_node_has_joined_or_five_seconds_have_passed() {
        let health = Health::default();
        let mut stats = RedisStats::new(health.depends_on("redis", Need::Required));
        let joining = Status { why: "joining", ..Status::default() };
        stats.publish(joining.clone());
        assert_eq!(health.state("redis"), Some(State::Pending("joining")));
        assert!(!health.is_ready());

        stats.started -= START;
        stats.publish(joining.clone());
        assert!(matches!(health.state("redis"), Some(State::Down(_))), "it takes too long");

        let stats = RedisStats::new(health.depends_on("redis", Need::Required));
        stats.publish(Status { is_up: true, is_announced: true, ..Status::default() });
        assert!(health.is_ready());
        stats.publish(joining);
        assert!(matches!(health.state("redis"), Some(State::Down(_))), "it had joined");
    }
}
