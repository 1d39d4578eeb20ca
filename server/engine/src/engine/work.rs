//! What a session, or all sessions of one owner, may make their shard do: a rate of work, beyond which they are
//! read later.

use super::pipe::Role;
use super::trust::Trust;
use super::{CloseReason, Engine};
use crate::canary::{Canary, is_armed};
use crate::ids::{PipeId, SessionId};
use crate::now::Now;
use crate::rate::Rate;
use crate::settings::Settings;
use crate::timers::Timer;

/// Bytes of input that make one more unit of work.
const BYTES_PER_UNIT: usize = 4096;
/// What a frame of an unfinished message costs, in bytes: decoding a header takes as long as some bytes.
const FRAGMENT_BYTES: usize = 64;
/// A session whose work would be paid for later than this is ended.
const DEBT_MS_MAX: u64 = 10_000;
/// As many anonymous sessions of one client address have their full rate; where there are more, each waits longer.
const FULL_RATES_PER_ADDRESS: u32 = 64;

/// How fast a session may cause work. `None` is no limit.
pub(super) struct WorkRates {
    anonymous: Option<Rate>,
    identified: Option<Rate>,
}

impl WorkRates {
    pub(super) fn new(settings: &Settings) -> WorkRates {
        let anonymous = &settings.anonymous;
        WorkRates {
            anonymous: Rate::per_second(anonymous.work_per_s, anonymous.work_burst),
            identified: Rate::per_second(settings.work_per_s, settings.work_burst),
        }
    }

    fn of(&self, trust: Trust) -> Option<&Rate> {
        match trust {
            Trust::Anonymous | Trust::Claimed => self.anonymous.as_ref(),
            Trust::Identified => self.identified.as_ref(),
        }
    }
}

impl Engine {
    /// Books work: one unit for each packet of the client, and one more for every 4 KiB, whether they
    /// became a packet or not. A session that has used up its rate, or its owner's, is read later; one far
    /// beyond it is ended.
    pub(super) fn charge(&mut self, id: SessionId, units: u32) {
        let now = self.now;
        let Some(session) = self.session(id) else { return }; // What it sent before has ended it.
        let Some(rate) = self.work_rates.of(session.trust()).copied() else { return }; // There is no limit.
        let units = if is_armed(Canary::FreeWork) { 0 } else { units };
        let work = match self.live(id).account.owner {
            Some(owner) => self.owners.work_mut(owner),
            None => &mut self.live_mut(id).account.work,
        };
        work.charge(&rate, now, units.into());
        let read_at = work.open_at(&rate);
        if read_at > now.plus_ms(DEBT_MS_MAX) {
            self.end(id, CloseReason::Limit);
        } else if read_at > now && self.owing.last() != Some(&id) {
            self.owing.push(id);
        }
    }

    /// Books what came, whether it became a message or not.
    pub(super) fn charge_read(&mut self, pipe: PipeId, came: usize, messages: usize) {
        let Role::Session(id) = self.role(pipe) else { return };
        let entry = self.pipe_mut(pipe).expect("a session's pipe is open");
        let fragments = entry.decoder.fragments();
        // Fewer than before are those of another message.
        let new = fragments.checked_sub(entry.charged_fragments).unwrap_or(fragments);
        entry.charged_fragments = fragments;
        let bytes = entry.uncharged_bytes + came + new as usize * FRAGMENT_BYTES;
        // The unit of a message pays for so many bytes of it.
        let bytes = bytes - bytes.min(messages * BYTES_PER_UNIT);
        entry.uncharged_bytes = bytes % BYTES_PER_UNIT;
        if let Ok(units @ 1..) = u32::try_from(bytes / BYTES_PER_UNIT) {
            self.charge(id, units);
        }
    }

    pub(super) fn charge_packet(&mut self, id: SessionId, bytes: usize) {
        let units = 1 + bytes / BYTES_PER_UNIT;
        self.charge(id, u32::try_from(units).expect("a packet is bounded"));
    }

    /// When a session that has used up its rate may be read again.
    pub(super) fn paid_later(&self, id: SessionId) -> Option<Now> {
        let session = self.session(id)?;
        let rate = self.work_rates.of(session.trust())?;
        let account = &session.account;
        let work = account.owner.map_or(account.work, |owner| self.owners.work(owner));
        let read_at = work.open_at(rate);
        (read_at > self.now).then_some(read_at)
    }

    /// When a session that has just used up its rate may be read again. With many strangers of one address each
    /// waits longer, and gains nothing meanwhile: they cause no more work by opening thousands of sessions, and
    /// each of them still has its burst.
    pub(super) fn wait_for_rate(&mut self, id: SessionId) -> Option<Now> {
        let paid_at = self.paid_later(id)?;
        let Some(address) = self.live(id).address else { return Some(paid_at) };
        let more = self.addresses.sessions(address).div_ceil(FULL_RATES_PER_ADDRESS) - 1;
        let extra_ns = paid_at.since(self.now).saturating_mul(more.into());
        self.live_mut(id).account.work.delay(extra_ns);
        Some(paid_at.plus_ns(extra_ns))
    }

    /// Stops reading the sessions that have used up their rate in this turn.
    pub(super) fn pause_owing(&mut self) {
        for id in std::mem::take(&mut self.owing) {
            if self.paid_later(id).is_none() {
                continue; // It ended, or is known now.
            }
            let Some(pipe) = self.live(id).pipe() else { continue }; // Its POST is answered later.
            if !self.is_paused(pipe) {
                let paid_at = self.wait_for_rate(id).expect("it was looked at above");
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
        if let Role::Session(id) = self.role(pipe)
            && let Some(paid_at) = self.paid_later(id)
        {
            self.timers.schedule(paid_at, Timer::Resume(pipe));
            return;
        }
        self.set_paused(pipe, false);
        self.resumes.push(pipe);
    }
}
