//! The order in which password hashes are computed: known addresses before others, and within each the clients
//! take turns, so that whatever one of them sends, only one of its jobs is before the next of another.

use std::collections::{HashMap, VecDeque};

use throng_wire::http::ClientKey;

/// Who waits for a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// An address from which the account was used before: before all others.
    Known,
    /// Anyone else.
    Other,
}

/// Jobs that wait.
pub(crate) struct HashQueue<J> {
    known: Line<J>,
    others: Line<J>,
    waiting_max: usize,
}

/// Jobs of one urgency.
struct Line<J> {
    /// Of each client in the order of arrival. No entry is empty.
    jobs: HashMap<ClientKey, VecDeque<J>>,
    /// The clients that have jobs, each once; the first is next.
    turns: VecDeque<ClientKey>,
    /// Jobs of all clients.
    waiting: usize,
}

impl<J> HashQueue<J> {
    pub fn new(waiting_max: usize) -> Self {
        Self { known: Line::new(), others: Line::new(), waiting_max }
    }

    /// Lets `job` wait. Answers the job that has no place, if too many wait: the newest of the client that has
    /// most waiting, which may be `job` itself.
    ///
    /// Each urgency has the whole bound, so that strangers cannot take the places of those who are known.
    #[must_use]
    pub fn push(&mut self, urgency: Urgency, client: ClientKey, job: J) -> Option<J> {
        let line = match urgency {
            Urgency::Known => &mut self.known,
            Urgency::Other => &mut self.others,
        };
        line.push(client, job, self.waiting_max)
    }

    /// The next job.
    pub fn pop(&mut self) -> Option<J> {
        self.known.pop().or_else(|| self.others.pop())
    }

    /// Drops all jobs.
    pub fn clear(&mut self) {
        *self = Self::new(self.waiting_max);
    }
}

impl<J> Line<J> {
    fn new() -> Self {
        Self { jobs: HashMap::new(), turns: VecDeque::new(), waiting: 0 }
    }

    fn push(&mut self, client: ClientKey, job: J, waiting_max: usize) -> Option<J> {
        let mut displaced = None;
        if self.waiting >= waiting_max {
            let own = self.jobs.get(&client).map_or(0, VecDeque::len);
            // A client that would then have as many as the busiest takes nothing from it. Otherwise clients with
            // one job each would displace each other, and the one that has more addresses would empty the queue of
            // all others.
            displaced = self.take_newest(own + 1);
            if displaced.is_none() {
                return Some(job);
            }
        }
        let jobs = self.jobs.entry(client).or_default();
        if jobs.is_empty() {
            self.turns.push_back(client);
        }
        jobs.push_back(job);
        self.waiting += 1;
        displaced
    }

    /// Takes the newest job of the client that has most, if it has more than `above`, which is at least 1. Of
    /// several clients it is the one whose turn is last.
    fn take_newest(&mut self, above: usize) -> Option<J> {
        let busiest = *self.turns.iter().max_by_key(|client| self.jobs[*client].len())?;
        let jobs = self.jobs.get_mut(&busiest).expect("a client that takes turns has jobs");
        if jobs.len() <= above {
            return None;
        }
        self.waiting -= 1;
        jobs.pop_back()
    }

    fn pop(&mut self) -> Option<J> {
        let client = self.turns.pop_front()?;
        let jobs = self.jobs.get_mut(&client).expect("a client that takes turns has jobs");
        let job = jobs.pop_front().expect("a client that takes turns has a job");
        self.waiting -= 1;
        if jobs.is_empty() {
            self.jobs.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// A job is its client and a number.
    type Job = (u8, u32);

    fn client(n: u8) -> ClientKey {
        IpAddr::from([192, 0, 2, n]).into()
    }

    fn push(queue: &mut HashQueue<Job>, job: Job) -> Option<Job> {
        queue.push(Urgency::Other, client(job.0), job)
    }

    /// A queue of `waiting_max` in which these wait.
    fn queue(waiting_max: usize, jobs: impl IntoIterator<Item = Job>) -> HashQueue<Job> {
        let mut queue = HashQueue::new(waiting_max);
        for job in jobs {
            assert_eq!(push(&mut queue, job), None, "{job:?}");
        }
        queue
    }

    fn rest(mut queue: HashQueue<Job>) -> Vec<Job> {
        let rest = std::iter::from_fn(|| queue.pop()).collect();
        for line in [&queue.known, &queue.others] {
            assert!(line.jobs.is_empty() && line.turns.is_empty());
            assert_eq!(line.waiting, 0);
        }
        rest
    }

    #[test]
    fn clients_take_turns_and_each_is_served_in_its_order() {
        let queue = queue(6, [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0)]);
        assert_eq!(rest(queue), [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)]);
    }

    #[test]
    fn the_job_of_a_fresh_client_is_second_whatever_another_has_waiting() {
        let mut queue = queue(256, (0..60).map(|n| (1, n)));
        for served in 0..3 {
            assert_eq!(push(&mut queue, (2, served)), None);
            assert_eq!(queue.pop(), Some((1, served)));
            assert_eq!(queue.pop(), Some((2, served)));
        }
    }

    #[test]
    fn a_network_of_ipv6_takes_one_turn() {
        let mut queue = HashQueue::new(3);
        for ip in ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"] {
            let key = ip.parse::<IpAddr>().expect("an address").into();
            assert_eq!(queue.push(Urgency::Other, key, ip), None);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["2001:db8::1", "2001:db8:0:1::1", "2001:db8::2"]);
    }

    #[test]
    fn a_full_queue_takes_a_job_in_the_place_of_the_newest_of_the_busiest() {
        let mut queue = queue(6, [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]);
        assert_eq!(push(&mut queue, (3, 0)), Some((2, 3)));
        assert_eq!(push(&mut queue, (3, 1)), Some((2, 2)));
        assert_eq!(push(&mut queue, (4, 0)), Some((3, 1)), "of equals, the one whose turn is last");
        assert_eq!(rest(queue), [(1, 0), (2, 0), (3, 0), (4, 0), (1, 1), (2, 1)]);
    }

    #[test]
    fn a_full_queue_refuses_who_would_have_as_many_as_the_busiest() {
        let mut busiest = queue(3, [(1, 0), (1, 1), (2, 0)]);
        assert_eq!(push(&mut busiest, (1, 2)), Some((1, 2)), "it has most");
        assert_eq!(push(&mut busiest, (2, 1)), Some((2, 1)), "it would have as many");
        assert_eq!(rest(busiest), [(1, 0), (2, 0), (1, 1)]);
        let mut equal = queue(2, [(1, 0), (2, 0)]);
        assert_eq!(push(&mut equal, (3, 0)), Some((3, 0)), "all have one");
        assert_eq!(rest(equal), [(1, 0), (2, 0)]);
    }

    #[test]
    fn who_is_known_comes_before_others_and_has_places_of_their_own() {
        let mut queue = queue(2, [(1, 0), (1, 1)]);
        for job in [(2, 0), (2, 1)] {
            assert_eq!(queue.push(Urgency::Known, client(2), job), None);
        }
        assert_eq!(queue.push(Urgency::Known, client(2), (2, 2)), Some((2, 2)));
        assert_eq!(queue.push(Urgency::Known, client(3), (3, 0)), Some((2, 1)));
        assert_eq!(rest(queue), [(2, 0), (3, 0), (1, 0), (1, 1)]);
    }
}
