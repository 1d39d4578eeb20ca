//! What holds for everything that the sessions of a case received.

use std::sync::atomic::Ordering;

use super::Context;
use crate::invariants::{self, Known, Received, Violation};
use crate::shapes;

impl Context {
    /// What holds for everything that the sessions of the case received.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_received(&self) -> Result<(), Violation> {
        let users = self.run.users();
        for answered in self.transcript.take_answered() {
            self.judged(shapes::check_answer(&answered))?;
            invariants::check_account(&answered, &users, !self.changes_avatars)?;
        }
        let mut sockets = self.sockets.lock().expect("no thread panics while it adds a session");
        for shared in sockets.drain(..) {
            self.judged(shapes::check_packets(&shared.state(), shared.options.protocol))?;
        }
        let mut sessions = self.sessions.lock().expect("no thread panics while it adds a session");
        for (.., shared) in sessions.iter() {
            let state = shared.state();
            shapes::check_packets(&state, shared.options.protocol)?;
            state.events.iter().try_for_each(shapes::check_event)?;
            state.acks.iter().try_for_each(|(_, args, _)| shapes::check_ack(args))?;
        }
        let received: Vec<Received> = sessions
            .drain(..)
            .map(|(label, user, shared)| Received {
                label,
                user,
                events: shared.state().events.clone(),
            })
            .collect();
        let known = Known {
            users: &users,
            is_avatar_fixed: !self.changes_avatars,
            is_version_unique: self.nodes() == 1 && !self.has_commanded.load(Ordering::Relaxed),
        };
        invariants::check(&received, &known)
    }

    /// What breaks a clause that the run does not judge is none.
    fn judged(&self, found: Result<(), Violation>) -> Result<(), Violation> {
        found.or_else(|broken| if self.judges(broken.clause) { Err(broken) } else { Ok(()) })
    }
}
