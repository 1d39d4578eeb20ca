//! What a session, or all sessions of one owner, may make their shard do: a rate of work, beyond which they are
//! read later.

use super::addresses::AddressRates;
use super::owners::Owner;
use super::pipe::Role;
use super::trust::Trust;
use super::{CloseReason, Engine};
use crate::bucket::Bucket;
use crate::canary::{Canary, is_armed};
use crate::ids::{PipeId, SessionId};
use crate::now::Now;
use crate::rate::Rate;
use crate::settings::Settings;
use crate::timers::Timer;

/// Bytes of input that make one more unit of work.
const BYTES_PER_UNIT: usize = 4096;
/// The same where the user is not known: they cost as many reads and answers as the smallest packets.
const ANONYMOUS_BYTES_PER_UNIT: usize = 1024;
/// What a frame of an unfinished message costs, in bytes: decoding a header takes as long as some bytes.
const FRAGMENT_BYTES: usize = 64;
/// A session whose work would be paid for later than this is ended.
const DEBT_MS_MAX: u64 = 10_000;
/// Units that have not come back, beyond which a client is read after those who have caused less: as many as nobody
/// causes by writing, and less than a shard does in a millisecond.
const BUSY_UNITS: u64 = 200;
/// What a session may cause although its client address, or all of them, owe: enough to connect and to say who it is,
/// and then for its heartbeats.
const FREE_UNITS: u32 = 8;
/// How often.
const FREE_EVERY_MS: u64 = 20_000;

/// How fast a session may cause work. `None` is no limit.
pub(super) struct WorkRates {
    anonymous: Option<Rate>,
    identified: Option<Rate>,
    /// Many anonymous sessions together.
    addresses: Option<AddressRates>,
}

impl WorkRates {
    pub(super) fn new(settings: &Settings) -> WorkRates {
        let (per_s, burst) = (settings.anonymous.work_per_s, settings.anonymous.work_burst);
        WorkRates {
            anonymous: Rate::per_second(per_s, burst),
            identified: Rate::per_second(settings.work_per_s, settings.work_burst),
            addresses: AddressRates::new(per_s, burst),
        }
    }

    fn of(&self, trust: Trust) -> Option<&Rate> {
        match trust {
            Trust::Anonymous | Trust::Claimed => self.anonymous.as_ref(),
            Trust::Identified => self.identified.as_ref(),
        }
    }
}

fn bytes_per_unit(trust: Trust) -> usize {
    match trust {
        Trust::Anonymous | Trust::Claimed => ANONYMOUS_BYTES_PER_UNIT,
        Trust::Identified => BYTES_PER_UNIT,
    }
}

impl Engine {
    /// Books work: one unit for each packet of the client, and one more for every 4 KiB, or 1 KiB where the user is not
    /// known, whether they became a packet or not. A session that has used up its rate, or its owner's, is read later;
    /// one that is far beyond it by itself is ended. What other sessions of its owner have caused ends none: to come
    /// back costs a client less than it costs the shard.
    pub(super) fn charge(&mut self, id: SessionId, units: u32) {
        let now = self.now;
        let Some(session) = self.session(id) else { return }; // What it sent before has ended it.
        let Some(rate) = self.work_rates.of(session.trust()).copied() else { return }; // There is no limit.
        let units = if is_armed(Canary::FreeWork) { 0 } else { units };
        let account = &mut self.live_mut(id).account;
        account.work.charge(&rate, now, units.into());
        let (owner, own_at) = (account.owner, account.work.open_at(&rate));
        let read_at = owner.map_or(own_at, |owner| {
            let work = self.owners.work_mut(owner);
            work.charge(&rate, now, units.into());
            work.open_at(&rate)
        });
        let is_late = self.charge_address(id, units);
        if own_at > now.plus_ms(DEBT_MS_MAX) {
            let setting = self.live(id).trust().work_setting();
            self.end(id, CloseReason::Limit(setting));
        } else if (is_late || read_at > now) && self.owing.last() != Some(&id) {
            self.owing.push(id);
        }
    }

    /// Whether the session, or its owner's together, have caused much lately: others come first.
    pub(super) fn is_busy(&self, id: SessionId) -> bool {
        let session = self.live(id);
        let Some(rate) = self.work_rates.of(session.trust()) else { return false }; // There is no limit.
        let account = &session.account;
        let work = account.owner.map_or(account.work, |owner| self.owners.work(owner));
        work.full_at().since(self.now) > rate.cost_ns(BUSY_UNITS)
    }

    /// The units that the session has taken and that have not come back.
    pub(super) fn owed(&self, id: SessionId) -> u64 {
        let Some(session) = self.session(id) else { return 0 }; // It ended.
        let Some(rate) = self.work_rates.of(session.trust()) else { return 0 }; // There is no limit.
        session.account.work.full_at().since(self.now) / rate.cost_ns(1)
    }

    /// The owner of this session pays for what it took while it was not known whose it is, and it waits if its owner
    /// owes.
    pub(super) fn charge_owner(&mut self, id: SessionId, owner: Owner, units: u64) {
        let Some(rate) = self.work_rates.of(Trust::Identified) else { return }; // There is no limit.
        let work = self.owners.work_mut(owner);
        work.charge(rate, self.now, units);
        if work.open_at(rate) > self.now && self.owing.last() != Some(&id) {
            self.owing.push(id);
        }
    }

    /// Whether the session must wait because its client address, or all of them, owe.
    fn charge_address(&mut self, id: SessionId, units: u32) -> bool {
        let Some(rates) = &self.work_rates.addresses else { return false }; // There is no limit.
        let Some(address) = self.live(id).address else { return false }; // Its user is known, or need not be.
        self.addresses.charge(address, rates, self.now, units);
        let owes = self.addresses.shares(address, rates, self.now) > 0;
        let now = self.now;
        let account = &mut self.live_mut(id).account;
        if !owes || account.free_again_at <= now {
            account.unpaid = 0;
            account.free_again_at = now.plus_ms(FREE_EVERY_MS);
        }
        account.unpaid += if owes { units } else { 0 };
        account.unpaid > FREE_UNITS
    }

    /// Books what came, whether it became a message or not.
    pub(super) fn charge_read(&mut self, pipe: PipeId, came: usize, messages: usize) {
        let (Role::Session(id) | Role::Probe { session: id, .. }) = self.role(pipe) else { return };
        let per_unit = bytes_per_unit(self.live(id).trust());
        let entry = self.pipe_mut(pipe).expect("a session's pipe is open");
        let fragments = entry.decoder.fragments();
        // Fewer than before are those of another message.
        let new = fragments.checked_sub(entry.charged_fragments).unwrap_or(fragments);
        entry.charged_fragments = fragments;
        let bytes = entry.uncharged_bytes + came + new as usize * FRAGMENT_BYTES;
        // The unit of a message pays for so many bytes of it.
        let bytes = bytes - bytes.min(messages * per_unit);
        entry.uncharged_bytes = bytes % per_unit;
        if let Ok(units @ 1..) = u32::try_from(bytes / per_unit) {
            self.charge(id, units);
        }
    }

    pub(super) fn charge_packet(&mut self, id: SessionId, bytes: usize) {
        let Some(session) = self.session(id) else { return }; // What it sent before has ended it.
        let units = 1 + bytes / bytes_per_unit(session.trust());
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

    /// When a session that has just used up its rate, or that of many, may be read again.
    ///
    /// Where they owe together, each session waits for what it has caused itself, the longer the more of them there
    /// are, and gains nothing meanwhile. Thousands of strangers cause no more work than some, also when they
    /// reconnect; and one that has sent little waits for none of them.
    pub(super) fn wait_for_rate(&mut self, id: SessionId) -> Option<Now> {
        let paid_at = self.paid_later(id);
        let session = self.session(id)?;
        let (unpaid, trust) = (session.account.unpaid, session.account.trust);
        let (Some(address), true) = (session.address, unpaid > FREE_UNITS) else { return paid_at };
        let rate = self.work_rates.of(trust).expect("work is booked only where there is a rate");
        let rates = self.work_rates.addresses.as_ref().expect("it owes, so there is a rate");
        let shares = self.addresses.shares(address, rates, self.now).max(1);
        let share_ns = rate.cost_ns(unpaid.into()).saturating_mul(shares.into());
        let paid_at = self.now.plus_ns(share_ns).max(paid_at.unwrap_or(self.now));
        let empty = Bucket::empty_until(paid_at, rate);
        let account = &mut self.live_mut(id).account;
        account.work = empty;
        account.unpaid = 0;
        Some(paid_at)
    }

    /// Stops reading the sessions that have used up their rate in this turn.
    pub(super) fn pause_owing(&mut self) {
        for id in std::mem::take(&mut self.owing) {
            let Some(session) = self.session(id) else { continue }; // It ended.
            let Some(pipe) = session.pipe() else { continue }; // Its POST is answered later.
            if self.is_paused(pipe) {
                continue;
            }
            let Some(paid_at) = self.wait_for_rate(id) else { continue }; // It is known now.
            self.pause_until(pipe, id, paid_at);
        }
    }

    /// Stops reading the pipe of a session until then.
    pub(super) fn pause_until(&mut self, pipe: PipeId, id: SessionId, paid_at: Now) {
        self.postpone_unread(id, paid_at);
        self.set_paused(pipe, true);
        self.counters.reads_paused += 1;
        self.timers.schedule(paid_at, Timer::Resume(pipe));
    }

    /// A client that is not read until then cannot finish anything meanwhile, and its heartbeats are not read.
    pub(super) fn postpone_unread(&mut self, id: SessionId, until: Now) {
        let unread_ns = until.since(self.now);
        let session = self.live_mut(id);
        session.deadline = session.deadline.plus_ns(unread_ns);
        session.account.finish_by = session.account.finish_by.plus_ns(unread_ns);
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
