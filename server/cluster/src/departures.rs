//! Nodes that are gone and that the rosters still show. Before the shards hear of it, the database
//! settles how far everybody there had read: what is said after the others saw them leave is unread.

use throng_core::Now;
use throng_core::cluster::NodeIx;

/// How long the rosters wait for the database.
pub const SETTLE_MAX_MS: u64 = 1_000;

struct Departure {
    node: NodeIx,
    process: String,
    tell_by: Now,
    is_settled: bool,
}

/// As many as there were peers: a node comes back at most once per lease, and waits here for less.
#[derive(Default)]
pub struct Departures {
    queue: Vec<Departure>,
    retry_at: Now,
    is_asked: bool,
}

impl Departures {
    pub fn add(&mut self, node: NodeIx, process: &str, now: Now) {
        let tell_by = now.plus_ms(SETTLE_MAX_MS);
        let process = process.to_owned();
        self.queue.push(Departure { node, process, tell_by, is_settled: false });
    }

    /// Those the shards have to hear of now. The marks of a process that lives are its own affair.
    pub fn due(&mut self, now: Now, is_live: impl Fn(&str) -> bool) -> Vec<NodeIx> {
        let due = self.queue.extract_if(.., |departure| {
            departure.is_settled || departure.tell_by <= now || is_live(&departure.process)
        });
        due.map(|departure| departure.node).collect()
    }

    /// The process whose marks are to be settled next, if none are being settled.
    pub fn next(&mut self, now: Now) -> Option<String> {
        let first = self.queue.first().filter(|_| !self.is_asked && self.retry_at <= now)?;
        self.is_asked = true;
        Some(first.process.clone())
    }

    pub fn settled(&mut self, process: &str) {
        self.is_asked = false;
        let same = self.queue.iter_mut().filter(|departure| departure.process == process);
        same.for_each(|departure| departure.is_settled = true);
    }

    pub fn failed(&mut self, retry_at: Now) {
        self.is_asked = false;
        self.retry_at = retry_at;
    }

    pub fn next_at(&self) -> Option<Now> {
        let first = self.queue.first()?;
        let retry_at = (!self.is_asked).then_some(self.retry_at);
        Some(retry_at.map_or(first.tell_by, |at| at.min(first.tell_by)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now::default().plus_ms(ms)
    }

    #[test]
    fn a_leave_is_told_once_the_marks_are_settled() {
        let mut departures = Departures::default();
        departures.add(NodeIx(1), "a", at(0));
        departures.add(NodeIx(2), "b", at(0));
        assert_eq!(departures.next(at(0)).as_deref(), Some("a"));
        assert_eq!(departures.next(at(0)), None, "one at a time");
        assert!(departures.due(at(1), |_| false).is_empty());
        departures.settled("a");
        assert_eq!(departures.due(at(1), |_| false), [NodeIx(1)]);
        assert_eq!(departures.next(at(1)).as_deref(), Some("b"));
    }

    #[test]
    fn a_database_that_is_down_delays_it_for_a_moment() {
        let mut departures = Departures::default();
        departures.add(NodeIx(1), "a", at(0));
        assert!(departures.next(at(0)).is_some());
        departures.failed(at(100));
        assert_eq!(departures.next_at(), Some(at(100)));
        assert_eq!(departures.next(at(99)), None);
        assert!(departures.next(at(100)).is_some());
        assert_eq!(departures.next_at(), Some(at(SETTLE_MAX_MS)));
        assert!(departures.due(at(SETTLE_MAX_MS - 1), |_| false).is_empty());
        assert_eq!(departures.due(at(SETTLE_MAX_MS), |_| false), [NodeIx(1)]);
        // The answer that comes after all is about nobody who waits.
        departures.settled("a");
        assert_eq!(departures.next_at(), None);
    }

    #[test]
    fn a_process_that_is_back_settles_for_itself() {
        let mut departures = Departures::default();
        departures.add(NodeIx(1), "a", at(0));
        assert_eq!(departures.due(at(0), |process| process == "a"), [NodeIx(1)]);
    }
}
