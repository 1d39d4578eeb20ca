//! The life of an incarnation: from looking for a free id to its end.

use throng_core::Now;

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Ends when no order of the old incarnation is under way.
    Ending,
    /// A look at the registry, to know which ids are free.
    ExpectRegistry,
    ExpectClaim,
    /// The record in the registry that lets others sweep.
    ExpectRecord,
    /// All presence and the whole map written.
    ExpectAnnounced,
    /// The record that says so.
    ExpectReady,
    Live,
    /// The server has stopped.
    Over,
}

pub struct Lease {
    pub phase: Phase,
    process: String,
    generation: u64,
    pub id: u16,
    pub incarnation: String,
    /// Until when nobody else can have the id, counted from before the order that took it.
    pub held_until: Now,
    pub renew_at: Now,
    /// The last moment of which is known that it was held, and that Redis had not forgotten it.
    pub verified_at: Now,
    /// The connection broke: what has been written may be lost.
    pub is_doubtful: bool,
    pub began_at: Now,
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
            began_at: Now::default(),
        }
    }

    pub fn process(&self) -> &str {
        &self.process
    }

    /// A name nobody has had, and an id nobody has: `taken` are those of the registry, of the dead
    /// too, since their fds are not swept yet. `None` when there is none.
    pub fn begin(&mut self, now: Now, first: u16, taken: &dyn Fn(u16) -> bool) -> bool {
        const IDS: u16 = 1024;
        let mut ids = (0..IDS).map(|step| (first % IDS + step) % IDS);
        let Some(id) = ids.find(|id| !taken(*id)) else { return false };
        self.id = id;
        self.generation += 1;
        self.incarnation = format!("{}.{}", self.process, self.generation);
        self.is_doubtful = false;
        self.began_at = now;
        self.phase = Phase::ExpectClaim;
        true
    }

    /// It has a lease, or had one when it was last heard.
    pub fn is_held(&self) -> bool {
        match self.phase {
            Phase::ExpectRecord | Phase::ExpectAnnounced | Phase::ExpectReady | Phase::Live => true,
            Phase::Ending | Phase::ExpectRegistry | Phase::ExpectClaim | Phase::Over => false,
        }
    }

    /// Whether anything may be written in its name. A node that slept past its lease must ask first.
    pub fn is_trusted(&self, now: Now) -> bool {
        self.is_held() && now < self.held_until && !self.is_doubtful
    }

    /// Whether its facts may be written: others can sweep them.
    pub fn is_recorded(&self) -> bool {
        matches!(self.phase, Phase::ExpectAnnounced | Phase::ExpectReady | Phase::Live)
    }

    pub fn is_announced(&self) -> bool {
        self.phase == Phase::Live
    }
}

#[cfg(test)]
mod tests {
    use throng_core::Now;

    use super::{Lease, Phase};

    #[test]
    fn an_id_of_the_dead_is_left_alone() {
        let mut lease = Lease::new("p".into());
        assert!(lease.begin(Now(1), 1023, &|id| id == 1023 || id == 0));
        assert_eq!((lease.id, lease.incarnation.as_str()), (1, "p.1"));
        assert!(!lease.begin(Now(2), 0, &|_| true), "all ids are taken");
    }

    #[test]
    fn a_lease_that_ran_out_is_not_trusted() {
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
