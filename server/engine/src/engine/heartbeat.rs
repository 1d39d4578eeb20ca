//! The deadlines of a session: its heartbeat, and what it must have done by a time.

use super::session::Beat;
use super::{CloseReason, Engine};
use crate::ids::SessionId;

/// A ping that goes out so much later than it was due is late.
const PING_LATE_NS: u64 = 100_000_000;

impl Engine {
    pub(super) fn session_timer(&mut self, id: SessionId) {
        let now = self.now;
        // Timers are never removed early, so the session may have ended.
        let Some(session) = self.session(id) else { return };
        if session.timer_at > now {
            return; // A younger timer took over.
        }
        let due = session.next_due();
        if due > now {
            return self.arm(id, due);
        }
        self.heartbeat(id);
    }

    /// The session's deadline has passed.
    fn heartbeat(&mut self, id: SessionId) {
        let now = self.now;
        let (ping_timeout_ms, late_until) =
            (u64::from(self.settings.ping_timeout_ms), self.late_until);
        let session = self.live_mut(id);
        if now < late_until {
            session.postpone(now, late_until);
        }
        if session.is_connect_overdue(now) {
            return self.end(id, CloseReason::ConnectTimeout);
        }
        if session.account.finish_by <= now {
            self.time_out_body(id);
            return self.end(id, CloseReason::Limit("limits.message_timeout_ms"));
        }
        if session.account.identify_by <= now {
            let setting = "limits.anonymous.identify_timeout_ms";
            return self.end(id, CloseReason::Limit(setting));
        }
        if session.deadline > now {
            let due = session.next_due();
            return self.arm(id, due);
        }
        match session.beat {
            Beat::SendPing => {
                // The client has its whole time from when it is asked. A tick late is in time: the
                // official suite looks at the very moment.
                let is_late = now.since(session.deadline) > PING_LATE_NS;
                let asked = if is_late { now } else { session.deadline };
                let deadline = asked.plus_ms(ping_timeout_ms);
                session.beat = Beat::AwaitPong;
                session.deadline = deadline;
                let due = session.next_due();
                self.arm(id, due);
                self.emit(id, "2");
            }
            Beat::AwaitPong | Beat::AwaitPing => self.end(id, CloseReason::PingTimeout),
        }
    }

    /// Ends the session if its deadline passed, even though no timer fired yet. True if it lives.
    pub(super) fn is_alive(&mut self, id: SessionId) -> bool {
        let now = self.now;
        while let Some(session) = self.session(id) {
            if session.next_due() > now {
                return true;
            }
            self.heartbeat(id);
        }
        false
    }
}
