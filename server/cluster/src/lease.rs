//! The life of an incarnation, from the search for a free id to its end.

use throng_engine::Now;

/// What the incarnation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The outcome of every order of the old incarnation; then its lease is released.
    Ending,
    /// The registry, which shows the free ids.
    ExpectRegistry,
    /// The lease of an id.
    ExpectClaim,
    /// The record in the registry, which lets other nodes sweep.
    ExpectRecord,
    /// The writes of all presence and of the whole map.
    ExpectAnnounced,
    /// The record that says that they are written.
    ExpectReady,
    /// Nothing: the node is known to all others.
    Live,
    /// Nothing: the server has stopped.
    Over,
}

/// The current incarnation of this process and its lease.
pub struct Lease {
    pub phase: Phase,
    /// The first part of the names of all incarnations.
    process: String,
    generation: u64,
    pub id: u16,
    pub incarnation: String,
    /// Until when no other node can hold the id, counted from the start of the order that took it.
    pub held_until: Now,
    pub renew_at: Now,
    /// The latest start of an order whose outcome confirmed the lease.
    pub verified_at: Now,
    /// The connection broke: earlier writes may be lost.
    pub is_doubtful: bool,
    /// When the incarnation began.
    pub started_at: Now,
}

impl Lease {
    pub fn new(process: String) -> Lease {
        Lease {
            phase: Phase::ExpectRegistry,
            incarnation: format!("{process}.0"),
            process,
            generation: 0,
            id: 0,
            held_until: Now::default(),
            renew_at: Now::default(),
            verified_at: Now::default(),
            is_doubtful: false,
            started_at: Now::default(),
        }
    }

    pub fn process(&self) -> &str {
        &self.process
    }

    /// Begins an incarnation with an unused name and an id that is not `taken`. The ids of dead nodes
    /// count as taken until their fds are swept. False when every id is taken.
    pub fn begin(&mut self, now: Now, first: u16, taken: &dyn Fn(u16) -> bool) -> bool {
        const IDS: u16 = 1024;
        let mut ids = (0..IDS).map(|step| (first % IDS + step) % IDS);
        let Some(id) = ids.find(|id| !taken(*id)) else { return false };
        self.id = id;
        self.generation += 1;
        self.incarnation = format!("{}.{}", self.process, self.generation);
        self.is_doubtful = false;
        self.started_at = now;
        self.phase = Phase::ExpectClaim;
        true
    }

    /// The lease is held, as far as this node knows.
    pub fn is_held(&self) -> bool {
        match self.phase {
            Phase::ExpectRecord | Phase::ExpectAnnounced | Phase::ExpectReady | Phase::Live => true,
            Phase::Ending | Phase::ExpectRegistry | Phase::ExpectClaim | Phase::Over => false,
        }
    }

    /// Writes in its name are allowed. A node that was suspended past its lease must renew it first.
    pub fn is_trusted(&self, now: Now) -> bool {
        self.is_held() && now < self.held_until && !self.is_doubtful
    }

    /// Its state may be written, since other nodes can sweep it.
    pub fn is_recorded(&self) -> bool {
        matches!(self.phase, Phase::ExpectAnnounced | Phase::ExpectReady | Phase::Live)
    }

    pub fn is_announced(&self) -> bool {
        self.phase == Phase::Live
    }
}

#[cfg(test)]
mod tests {
    use throng_engine::Now;

    use super::{Lease, Phase};

    #[test]
    fn an_id_of_a_dead_node_is_not_taken() {
        let mut lease = Lease::new("p".into());
        assert!(lease.begin(Now(1), 1023, &|id| id == 1023 || id == 0));
        assert_eq!((lease.id, lease.incarnation.as_str()), (1, "p.1"));
        assert!(!lease.begin(Now(2), 0, &|_| true), "all ids are taken");
    }

    #[test]
    fn an_expired_lease_is_not_trusted() {
        let mut lease = Lease::new("p".into());
        lease.phase = Phase::Live;
        lease.held_until = Now(100);
        assert!(lease.is_trusted(Now(99)));
        assert!(!lease.is_trusted(Now(100)));
        lease.held_until = Now(200);
        lease.is_doubtful = true;
        assert!(!lease.is_trusted(Now(150)));
    }
}
