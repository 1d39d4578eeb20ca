//! Which sessions are ended when too much is held: those beyond their own bounds, then, while all sessions
//! of the shard together are beyond a budget, those that hold most.

use super::held::HeldBytes;
use super::pipe::Role;
use super::{Carrier, CloseReason, Engine, Session};
use crate::ids::{PipeId, SessionId};
use crate::outbox::Class;

/// How much a session holds of what is beyond its budget.
pub(super) type HeldBy = fn(&Engine, &Session) -> usize;
pub(super) type Over = Option<(usize, HeldBy, CloseReason)>;

fn held_in(_: &Engine, session: &Session) -> usize {
    session.account.held_in()
}

fn held_out(engine: &Engine, session: &Session) -> usize {
    let by_probe = session.probe.map_or(0, |probe| engine.outbox.held_by_with_shared(probe));
    by_probe
        + match &session.carrier {
            Carrier::Pipe(pipe) => engine.outbox.held_by_with_shared(*pipe),
            Carrier::Polling(polling) => polling.bytes,
        }
}

fn held_anonymous(engine: &Engine, session: &Session) -> usize {
    match session.account.trust.class() {
        Class::Anonymous => held_in(engine, session) + held_out(engine, session),
        Class::Identified | Class::Echo | Class::Closing => 0,
    }
}

impl Engine {
    /// Ends the sessions that hold too much: those beyond their own bound, then, while all together
    /// are beyond a budget, those that hold most. False if there were none.
    pub(crate) fn evict(&mut self) -> bool {
        let mut had_any = !self.slow.is_empty();
        while let Some((id, setting)) = self.slow.pop() {
            self.end(id, CloseReason::SlowConsumer(setting));
        }
        while let Some(pipe) = self.outbox.next_over() {
            had_any = true;
            self.evict_pipe(pipe);
        }
        for budget in [Engine::anonymous_over, Engine::inbound_over, Engine::outbound_over] {
            // Looked at one after the other: what one frees is free for the next.
            if let Some((excess, held_by, reason)) = budget(self) {
                had_any |= self.evict_worst(excess, held_by, reason);
            }
        }
        self.cut_closing();
        had_any
    }

    /// Closing pipes have a budget as large as that of anonymous sessions. Beyond it all are cut.
    fn cut_closing(&mut self) {
        if self.outbox.held(Class::Closing) <= self.budgets.anonymous {
            return;
        }
        let closing: Vec<PipeId> = self.closing_pipes().collect();
        for pipe in closing {
            self.outbox.cut(pipe);
            self.closes.push(pipe);
        }
    }

    pub(super) fn anonymous_over(&self) -> Over {
        let HeldBytes { inbound, polled } = self.held_anonymous;
        let held = inbound + polled + self.outbox.held(Class::Anonymous);
        let excess = held.checked_sub(self.budgets.anonymous)?;
        let reason = CloseReason::Limit("limits.anonymous.held_mib_max");
        (excess > 0).then_some((excess, held_anonymous, reason))
    }

    pub(super) fn inbound_over(&self) -> Over {
        let held = self.held_anonymous.inbound + self.held_identified.inbound;
        let excess = held.checked_sub(self.budgets.inbound)?;
        let reason = CloseReason::Limit("limits.inbound_mib_max");
        (excess > 0).then_some((excess, held_in, reason))
    }

    pub(super) fn outbound_over(&self) -> Over {
        let polled = self.held_anonymous.polled + self.held_identified.polled;
        let sent = [Class::Anonymous, Class::Identified].map(|class| self.outbox.held(class));
        let held = polled + sent[0] + sent[1] + self.outbox.held_shared();
        let excess = held.checked_sub(self.budgets.outbound)?;
        let reason = CloseReason::SlowConsumer("limits.outbound_mib_max");
        (excess > 0).then_some((excess, held_out, reason))
    }

    /// Ends those that hold most until `excess` bytes, and some more, are free: the next byte must not
    /// make it look at all sessions again.
    fn evict_worst(&mut self, excess: usize, held_by: HeldBy, reason: CloseReason) -> bool {
        let held = self.sessions().map(|session| (held_by(self, session), session.id));
        let mut worst: Vec<(usize, SessionId)> = held.filter(|(held, _)| *held > 0).collect();
        worst.sort_unstable_by_key(|(held, id)| (std::cmp::Reverse(*held), id.slot()));
        let mut wanted = excess + worst.iter().map(|(held, _)| held).sum::<usize>() / 8;
        let had_any = !worst.is_empty();
        for (held, id) in worst {
            let session = self.live(id);
            for pipe in session.pipe().into_iter().chain(session.probe) {
                self.outbox.cut(pipe);
            }
            self.end(id, reason);
            self.counters.sessions_over_budget += 1;
            if held >= wanted {
                break;
            }
            wanted -= held;
        }
        had_any
    }

    /// A pipe holds more than its bound.
    fn evict_pipe(&mut self, pipe: PipeId) {
        match self.role(pipe) {
            Role::Session(id) => {
                let setting = self.live(id).trust().outbound_setting();
                self.end(id, CloseReason::SlowConsumer(setting));
            }
            Role::Probe { .. } | Role::RawEcho => {
                self.outbox.cut(pipe);
                self.drop_pipe(pipe, 1008);
            }
            // It will not read its last bytes either.
            Role::Closing => self.closes.push(pipe),
            Role::Gone => {} // It has ended in this turn.
        }
    }
}
