//! What a session makes its shard keep and do, and the bounds on it.
//!
//! Everything is booked here or in the outbox: bytes of unfinished input, bytes that the application
//! keeps for later, bytes that wait for the client, and packets, as units of work. A session beyond a
//! bound of its own is ended, or read later. When all sessions together are beyond a budget of the
//! shard, those that hold most are ended first.

use super::{Carrier, CloseReason, Engine, Session};
use crate::ids::{PipeId, SessionId};
use crate::now::Now;
use crate::outbox::Class;
use crate::timers::Timer;

/// How far a session is known; its bounds follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nobody has said whose it is.
    Anonymous,
    /// It has named a user, and the application is finding out whether that is true: its messages
    /// may be as long as those of a known user, but it counts as anonymous.
    Claimed,
    /// Its user is known, or the application knows no users.
    Identified,
}

impl Trust {
    pub(super) fn class(self) -> Class {
        match self {
            Trust::Anonymous | Trust::Claimed => Class::Anonymous,
            Trust::Identified => Class::Identified,
        }
    }
}

/// Bytes of input that make one more unit of work.
const BYTES_PER_UNIT: usize = 4096;
/// A session whose work would be paid for later than this is ended.
const DEBT_MS_MAX: u64 = 10_000;

pub(crate) struct Account {
    pub(super) trust: Trust,
    /// Bytes of messages and attachments that are not whole.
    pub(super) unfinished: usize,
    /// Bytes that the application keeps.
    pub(super) kept: usize,
    /// When what is unfinished must be whole; later, the more of it arrives. `u64::MAX`: nothing is.
    pub(super) finish_by: Now,
    /// When the application must know whose session it is. `u64::MAX`: it knows, or need not.
    pub(super) identify_by: Now,
    /// When the session's work will be paid for at its rate.
    paid_at: Now,
}

impl Account {
    pub(super) fn new(trust: Trust, identify_by: Now) -> Account {
        Account {
            trust,
            unfinished: 0,
            kept: 0,
            finish_by: Now(u64::MAX),
            identify_by,
            paid_at: Now::default(),
        }
    }

    pub(super) fn held_in(&self) -> usize {
        self.unfinished + self.kept
    }

    pub(super) fn due(&self) -> Now {
        self.finish_by.min(self.identify_by)
    }
}

/// How fast a session may cause work.
struct Rate {
    unit_ns: u64,
    burst_ns: u64,
}

/// Bytes of input, and of answers to polls, that sessions hold on this shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) inbound: usize,
    pub(super) polled: usize,
}

impl Engine {
    pub(super) fn held_mut(&mut self, trust: Trust) -> &mut Held {
        match trust.class() {
            Class::Identified => &mut self.held_identified,
            Class::Anonymous | Class::Echo | Class::Closing => &mut self.held_anonymous,
        }
    }

    /// Payload bytes of one message or polling body.
    pub(super) fn payload_max(&self, trust: Trust) -> usize {
        let all = self.settings.max_payload;
        (match trust {
            Trust::Anonymous => self.settings.anonymous.payload_bytes_max.min(all),
            Trust::Claimed | Trust::Identified => all,
        }) as usize
    }

    /// Bytes of input that all sessions hold.
    pub fn held_in(&self) -> usize {
        self.held_anonymous.inbound + self.held_identified.inbound
    }

    /// Bytes that wait for one client, without what it shares with others.
    pub fn held_out(&self, pipe: PipeId) -> usize {
        self.outbox.held_by(pipe)
    }

    /// The application has learned more, or less, about whose session it is. Nothing happens when
    /// the session has ended.
    pub fn set_trust(&mut self, id: SessionId, trust: Trust) {
        let now = self.now;
        let timeout_ms = u64::from(self.settings.anonymous.identify_timeout_ms);
        let Some(session) = self.session_mut(id) else { return };
        let old = session.account.trust;
        // A known user who names another is known meanwhile.
        if old == trust || (old, trust) == (Trust::Identified, Trust::Claimed) {
            return;
        }
        let account = &mut session.account;
        account.trust = trust;
        match trust {
            Trust::Identified => {
                account.identify_by = Now(u64::MAX);
                account.paid_at = account.paid_at.min(now);
            }
            Trust::Anonymous if old == Trust::Identified && timeout_ms > 0 => {
                account.identify_by = now.plus_ms(timeout_ms);
            }
            Trust::Anonymous | Trust::Claimed => {}
        }
        let (inbound, unfinished) = (account.held_in(), account.unfinished);
        let (pipe, polled) = match &session.carrier {
            Carrier::Pipe(pipe) => (Some(*pipe), 0),
            Carrier::Polling(polling) => (None, polling.bytes),
        };
        let held = self.held_mut(old);
        *held = Held { inbound: held.inbound - inbound, polled: held.polled - polled };
        let held = self.held_mut(trust);
        *held = Held { inbound: held.inbound + inbound, polled: held.polled + polled };
        if trust == Trust::Identified
            && let Some(stranger) = self.live_mut(id).stranger.take()
        {
            self.strangers.remove(stranger);
        }
        if let Some(pipe) = pipe {
            self.outbox.set_class(pipe, trust.class());
            if trust == Trust::Identified {
                self.resume(pipe);
            }
        }
        if unfinished > self.payload_max(trust) {
            return self.end(id, CloseReason::TooLarge);
        }
        let session = self.live(id);
        let (due, timer_at) = (session.account.identify_by, session.timer_at);
        if due < timer_at {
            self.arm(id, due);
        }
    }

    /// The application keeps so many more bytes of the session's events. Nothing happens when the
    /// session has ended.
    pub fn keep(&mut self, id: SessionId, bytes: usize) {
        let Some(session) = self.session_mut(id) else { return };
        session.account.kept += bytes;
        let trust = session.account.trust;
        self.held_mut(trust).inbound += bytes;
    }

    /// The application keeps so many bytes less.
    ///
    /// # Panics
    /// When that is more than it keeps.
    pub fn let_go(&mut self, id: SessionId, bytes: usize) {
        let Some(session) = self.session_mut(id) else { return };
        let kept = session.account.kept.checked_sub(bytes);
        session.account.kept = kept.expect("the application lets go what it keeps");
        let trust = session.account.trust;
        self.held_mut(trust).inbound -= bytes;
    }

    /// So much input of the session is not whole.
    pub(super) fn set_unfinished(&mut self, id: SessionId, bytes: usize) {
        let (timeout_ms, per_s) =
            (u64::from(self.settings.message_timeout_ms), u64::from(self.settings.bytes_per_s_min));
        let now = self.now;
        let Some(session) = self.session_mut(id) else { return };
        let account = &mut session.account;
        let before = std::mem::replace(&mut account.unfinished, bytes);
        let earned_ms = |bytes: usize| bytes as u64 * 1000 / per_s;
        account.finish_by = match (before, bytes) {
            (_, 0) => Now(u64::MAX),
            (0, bytes) => now.plus_ms(timeout_ms + earned_ms(bytes)),
            (before, bytes) => account.finish_by.plus_ms(earned_ms(bytes.saturating_sub(before))),
        };
        let trust = account.trust;
        let (due, timer_at) = (account.finish_by, session.timer_at);
        let held = self.held_mut(trust);
        held.inbound = held.inbound + bytes - before;
        if due < timer_at {
            self.arm(id, due);
        }
    }

    /// Books work: one unit for each packet of the client, and one more for every 4 KiB. The
    /// application adds what an event cost it beyond that, such as a refusal. A session that has
    /// used up its rate is read later; one far beyond it is ended.
    pub fn charge(&mut self, id: SessionId, units: u32) {
        let now = self.now;
        let Some(trust) = self.session(id).map(Session::trust) else { return };
        let Some(rate) = self.rate(trust) else { return };
        let account = &mut self.live_mut(id).account;
        account.paid_at = account.paid_at.max(now).plus_ns(u64::from(units) * rate.unit_ns);
        if account.paid_at > now.plus_ns(rate.burst_ns).plus_ms(DEBT_MS_MAX) {
            self.end(id, CloseReason::Limit);
        } else if account.paid_at > now.plus_ns(rate.burst_ns) {
            self.owing.push(id);
        }
    }

    fn rate(&self, trust: Trust) -> Option<Rate> {
        let settings = &self.settings;
        let (per_s, burst) = match trust {
            Trust::Identified => (settings.work_per_s, settings.work_burst),
            Trust::Anonymous | Trust::Claimed => {
                (settings.anonymous.work_per_s, settings.anonymous.work_burst)
            }
        };
        let unit_ns = 1_000_000_000_u64.checked_div(u64::from(per_s))?;
        Some(Rate { unit_ns, burst_ns: u64::from(burst) * unit_ns })
    }

    pub(super) fn charge_packet(&mut self, id: SessionId, bytes: usize) {
        let units = 1 + bytes / BYTES_PER_UNIT;
        self.charge(id, u32::try_from(units).expect("a packet is bounded"));
    }

    /// When a session that has used up its rate may be read again.
    pub(super) fn paid_later(&self, id: SessionId) -> Option<Now> {
        let session = self.session(id)?;
        let rate = self.rate(session.trust())?;
        let read_at = Now(session.account.paid_at.0.saturating_sub(rate.burst_ns));
        (read_at > self.now).then_some(read_at)
    }

    /// Stops reading the sessions that have used up their rate in this turn.
    pub(super) fn pause_owing(&mut self) {
        for id in std::mem::take(&mut self.owing) {
            let Some(paid_at) = self.paid_later(id) else { continue }; // It ended, or is known now.
            let Some(pipe) = self.live(id).pipe() else { continue }; // Its POST is answered later.
            if !self.is_paused(pipe) {
                // Meanwhile the client cannot finish anything.
                let pause_ns = paid_at.since(self.now);
                let account = &mut self.live_mut(id).account;
                account.finish_by = account.finish_by.plus_ns(pause_ns);
                self.set_paused(pipe, true);
                self.counters.reads_paused += 1;
                self.timers.schedule(paid_at, Timer::Resume(pipe));
            }
        }
    }

    /// Reads the pipe again, if it was paused and its work is paid for.
    pub(super) fn resume(&mut self, pipe: PipeId) {
        if !self.is_paused(pipe) {
            return;
        }
        if let super::pipe::Role::Session(id) = self.role(pipe)
            && let Some(paid_at) = self.paid_later(id)
        {
            self.timers.schedule(paid_at, Timer::Resume(pipe));
            return;
        }
        self.set_paused(pipe, false);
        self.resumes.push(pipe);
    }

    /// Ends the sessions that hold too much: those beyond their own bound, then, while all together
    /// are beyond a budget, those that hold most. False if there were none.
    pub(crate) fn evict(&mut self) -> bool {
        let mut had_any = !self.slow.is_empty();
        while let Some(id) = self.slow.pop() {
            self.end(id, CloseReason::SlowConsumer);
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

    /// Pipes that are closing have as much as strangers have; beyond it none may wait any longer.
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
}

/// How much a session holds of what is beyond its budget.
type HeldBy = fn(&Engine, &Session) -> usize;
type Over = Option<(usize, HeldBy, CloseReason)>;

fn held_in(_: &Engine, session: &Session) -> usize {
    session.account.held_in()
}

fn held_out(engine: &Engine, session: &Session) -> usize {
    match &session.carrier {
        Carrier::Pipe(pipe) => engine.outbox.held_by(*pipe),
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
    fn anonymous_over(&self) -> Over {
        let Held { inbound, polled } = self.held_anonymous;
        let held = inbound + polled + self.outbox.held(Class::Anonymous);
        let excess = held.checked_sub(self.budgets.anonymous)?;
        (excess > 0).then_some((excess, held_anonymous, CloseReason::Limit))
    }

    fn inbound_over(&self) -> Over {
        let held = self.held_anonymous.inbound + self.held_identified.inbound;
        let excess = held.checked_sub(self.budgets.inbound)?;
        (excess > 0).then_some((excess, held_in, CloseReason::Limit))
    }

    fn outbound_over(&self) -> Over {
        let polled = self.held_anonymous.polled + self.held_identified.polled;
        let sent = [Class::Anonymous, Class::Identified].map(|class| self.outbox.held(class));
        let excess = (polled + sent[0] + sent[1]).checked_sub(self.budgets.outbound)?;
        (excess > 0).then_some((excess, held_out, CloseReason::SlowConsumer))
    }

    /// Ends those that hold most until `excess` bytes, and some more, are free: the next byte must not
    /// make it look at all sessions again.
    fn evict_worst(&mut self, excess: usize, held_by: HeldBy, reason: CloseReason) -> bool {
        let held = self.sessions().map(|session| (held_by(self, session), session.id));
        let mut worst: Vec<(usize, SessionId)> = held.filter(|(held, _)| *held > 0).collect();
        worst.sort_unstable_by_key(|(held, id)| (std::cmp::Reverse(*held), id.slot()));
        let mut wanted = excess + worst.iter().map(|(held, _)| held).sum::<usize>() / 8;
        let mut had_any = false;
        for (held, id) in worst {
            if let Some(pipe) = self.live(id).pipe() {
                self.outbox.cut(pipe);
            }
            self.end(id, reason);
            self.counters.sessions_over_budget += 1;
            had_any = true;
            if held >= wanted {
                break;
            }
            wanted -= held;
        }
        had_any
    }

    /// A pipe holds more than its bound.
    fn evict_pipe(&mut self, pipe: PipeId) {
        use super::pipe::Role;
        match self.role(pipe) {
            Role::Session(id) => self.end(id, CloseReason::SlowConsumer),
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

/// Bytes that all sessions of a shard may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    anonymous: usize,
    inbound: usize,
    outbound: usize,
}

impl Budgets {
    pub(super) fn new(settings: &crate::settings::Settings, shards: u8) -> Budgets {
        let share = |mib: u32| ((mib as usize) << 20) / usize::from(shards);
        Budgets {
            anonymous: share(settings.anonymous.held_mib_max),
            inbound: share(settings.inbound_mib_max),
            outbound: share(settings.outbound_mib_max),
        }
    }
}
