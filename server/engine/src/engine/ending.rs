//! The end of a session.

use super::{Carrier, CloseReason, Engine, SessionEvent};
use crate::canary::{Canary, is_armed};
use crate::ids::SessionId;

impl Engine {
    /// Ends a session. The client is sent the reason, as far as its transport can carry it, and the
    /// application gets [`SessionEvent::Ended`].
    ///
    /// Spec: EIO-92 to EIO-95, LIM-40 to LIM-60.
    pub fn end(&mut self, id: SessionId, reason: CloseReason) {
        if self.session(id).is_none() {
            return; // A session ends once, for the first reason that is found.
        }
        let session = self.slots[id.slot() as usize].session.take();
        let mut session = session.expect("it was found above");
        let was_meant = reason == CloseReason::TransportClose && session.has_left;
        let reason = if was_meant { CloseReason::ClientDisconnect } else { reason };
        self.free.push(id.slot());
        self.live -= 1;
        *session.gauge(&mut self.counters) -= 1;
        *reason.counter(&mut self.counters) += 1;
        let account = &session.account;
        let (inbound, address) = (account.held_in(), session.address.take());
        if !is_armed(Canary::KeepAccount) {
            self.held_mut(account.trust).inbound -= inbound;
        }
        let owner = account.owner;
        if let Some(owner) = owner {
            self.leave_owner(owner);
        }
        if let Some(address) = address {
            self.addresses.remove(address, self.now);
        }
        if matches!(reason, CloseReason::SlowConsumer(_) | CloseReason::Limit(_)) {
            self.counters.evictions += 1;
        }
        if let Some(probe) = session.probe.take() {
            self.close_pipe(probe, reason.close_code(), reason.name());
        }
        match &mut session.carrier {
            Carrier::Pipe(pipe) => {
                let pipe = *pipe;
                if matches!(reason, CloseReason::SlowConsumer(_)) {
                    // What is queued will not be read in time; the frame under way must be whole.
                    self.outbox.cut(pipe);
                }
                self.close_pipe(pipe, reason.close_code(), reason.name());
            }
            Carrier::Polling(polling) => {
                self.held_mut(session.account.trust).polled -= polling.bytes;
                self.end_polling(polling, session.version, session.account.trust, reason);
            }
        }
        self.session_events.push_back(SessionEvent::Ended { session: id, reason, state: session });
    }
}
