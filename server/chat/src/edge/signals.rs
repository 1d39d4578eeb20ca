//! What other nodes are sent about sessions.

use super::*;
use crate::cluster::{SessionState, Signal};

/// Sessions whose change has not been reported.
#[derive(Default)]
pub(super) struct SessionSignals {
    changed: BTreeSet<SessionId>,
    /// Reported before and ended now. No more than there were sessions when the lane filled up: the
    /// end of a session that was never reported is not reported either.
    ended: VecDeque<SessionId>,
}

impl SessionSignals {
    /// Whether a signal about a session has not been sent.
    pub(super) fn are_owed(&self) -> bool {
        !(self.changed.is_empty() && self.ended.is_empty())
    }

    pub(super) fn ended(&mut self, session: SessionId, is_signalled: bool) {
        self.changed.remove(&session);
        if is_signalled {
            self.ended.push_back(session);
        }
    }
}

impl Edge {
    /// Whose session it is, or where, has changed.
    pub(super) fn note_session(&mut self, session: SessionId) {
        if self.settings.cluster {
            self.session_signals.changed.insert(session);
            self.retry(Now::default());
        }
    }

    pub(super) fn send_session_signals(&mut self, cx: &mut Context<'_>) {
        while cx.lanes.signal_slots() > 0 {
            let (session, state) = if let Some(session) = self.session_signals.ended.pop_front() {
                (session, None)
            } else if let Some(session) = self.session_signals.changed.pop_first() {
                // An answer of home about a session that has ended names it once more.
                let Some(local) = self.local(session) else { continue };
                let state = local.state();
                if state.is_none() && !local.is_signalled {
                    continue;
                }
                local.is_signalled = state.is_some();
                (session, state)
            } else {
                return;
            };
            cx.lanes.signal(Signal::Session { session, state });
        }
        if self.session_signals.are_owed() {
            cx.counters.lane_refusals_signal += 1;
            self.retry(cx.engine.now().plus_ms(LANE_RETRY_MS));
        }
    }

    /// Reports all sessions again: the receivers may have lost what they knew.
    pub(crate) fn announce(&mut self) {
        for local in self.locals.iter().flatten() {
            if local.identity.is_some() {
                self.session_signals.changed.insert(local.session);
            }
        }
    }
}

impl LocalSession {
    fn state(&self) -> Option<SessionState> {
        let user = self.identity?.user;
        let memberships = self.memberships.iter().filter(|membership| membership.index.is_some());
        Some(SessionState { user, rooms: memberships.map(|membership| membership.room).collect() })
    }
}
