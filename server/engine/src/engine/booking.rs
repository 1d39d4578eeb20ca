//! Bytes that a session holds, booked on its account.
//!
//! Bytes that wait for a pipe are booked by the outbox; unfinished input, and what the application keeps
//! for later, here. The bounds of one session follow from how far its user is known.

use super::held::HeldBytes;
use super::owners::Owner;
use super::trust::Trust;
use super::{Carrier, CloseReason, Engine};
use crate::bucket::Bucket;
use crate::ids::{PipeId, SessionId};
use crate::now::Now;
use crate::outbox::Class;
use crate::timers::Timer;

impl Engine {
    pub(super) fn held_mut(&mut self, trust: Trust) -> &mut HeldBytes {
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

    /// Why a session ends that sends a message, or a polling body, longer than [`Engine::payload_max`].
    pub(super) fn too_large(&self, id: SessionId) -> CloseReason {
        let limits = &self.settings;
        let setting = match self.live(id).trust() {
            Trust::Anonymous if limits.anonymous.payload_bytes_max < limits.max_payload => {
                "limits.anonymous.payload_bytes_max"
            }
            Trust::Anonymous | Trust::Claimed | Trust::Identified => "max_payload",
        };
        CloseReason::TooLarge(setting)
    }

    /// Bytes of input that all sessions hold.
    pub fn held_in(&self) -> usize {
        self.held_anonymous.inbound + self.held_identified.inbound
    }

    /// Bytes on all accounts: of input, and of output, where large frames that clients share count once.
    pub fn held(&self) -> usize {
        let polled = self.held_anonymous.polled + self.held_identified.polled;
        self.held_in()
            + polled
            + self.outbox.held_shared()
            + Class::ALL.map(|class| self.outbox.held(class)).iter().sum::<usize>()
    }

    /// Bytes that wait for one client, without what it shares with others.
    pub fn held_out(&self, pipe: PipeId) -> usize {
        self.outbox.held_by(pipe)
    }

    /// When the user of a session that is anonymous from now on must be known.
    pub(super) fn identify_by(&self) -> Now {
        match self.settings.anonymous.identify_timeout_ms {
            0 => Now(u64::MAX),
            timeout_ms => self.now.plus_ms(u64::from(timeout_ms)),
        }
    }

    /// The application knows whose session it is: all sessions of one owner share one rate of work. Nothing
    /// happens when the session has ended.
    pub fn set_owner(&mut self, id: SessionId, owner: Owner) {
        let is_new = self.session(id).is_some_and(|session| session.account.owner.is_none());
        let owed = if is_new { self.owed(id) } else { 0 };
        self.set_trust(id, Trust::Identified);
        let Some(session) = self.session_mut(id) else { return };
        let before = session.account.owner.replace(owner);
        self.owners.enter(owner);
        self.charge_owner(id, owner, owed);
        if let Some(before) = before {
            self.leave_owner(before);
        }
    }

    pub(super) fn leave_owner(&mut self, owner: Owner) {
        if let Some(paid_at) = self.owners.leave(owner, self.now) {
            self.timers.schedule(paid_at, Timer::Owner(owner));
        }
    }

    /// The application has learned more, or less, about whose session it is. Nothing happens when
    /// the session has ended.
    pub fn set_trust(&mut self, id: SessionId, trust: Trust) {
        let identify_by = self.identify_by();
        let Some(session) = self.session_mut(id) else { return };
        let old = session.account.trust;
        // A known user who names another is known meanwhile.
        if old == trust || (old, trust) == (Trust::Identified, Trust::Claimed) {
            return;
        }
        let account = &mut session.account;
        account.trust = trust;
        let owner = if trust == Trust::Identified { None } else { account.owner.take() };
        match trust {
            Trust::Identified => {
                account.identify_by = Now(u64::MAX);
                account.work = Bucket::default();
                account.unpaid = 0;
            }
            Trust::Anonymous if old == Trust::Identified => account.identify_by = identify_by,
            Trust::Anonymous | Trust::Claimed => {}
        }
        let (inbound, unfinished) = (account.held_in(), account.unfinished);
        let (pipe, polled, has_late_post) = match &session.carrier {
            Carrier::Pipe(pipe) => (Some(*pipe), 0, false),
            Carrier::Polling(polling) => {
                (session.probe, polling.bytes, polling.late_post.is_some())
            }
        };
        let held = self.held_mut(old);
        *held = HeldBytes { inbound: held.inbound - inbound, polled: held.polled - polled };
        let held = self.held_mut(trust);
        *held = HeldBytes { inbound: held.inbound + inbound, polled: held.polled + polled };
        if trust == Trust::Identified {
            let address = self.live_mut(id).address.take();
            let address = address.expect("a session whose user is not known is counted");
            self.addresses.remove(address, self.now);
            if has_late_post {
                // It waited for what strangers owe.
                self.posts.push(id);
            }
        } else if old == Trust::Identified {
            // Who has logged out is a stranger like any other.
            let address = self.addresses.add(self.live(id).peer, self.now);
            self.live_mut(id).address = Some(address);
            self.list_anonymous_polling_again(id);
        }
        if let Some(owner) = owner {
            self.leave_owner(owner);
        }
        let polled_max = self.outbox.bound(trust.class()) as usize;
        if polled > polled_max && self.polling_mut(id).counted(trust, polled_max) > polled_max {
            self.slow.push((id, trust.outbound_setting()));
        }
        if let Some(pipe) = pipe {
            self.set_pipe_trust(pipe, trust);
            if trust == Trust::Identified {
                self.resume(pipe);
            }
        }
        let most = self.payload_max(trust);
        if most < self.payload_max(old) && unfinished > most {
            return self.end(id, self.too_large(id));
        }
        let session = self.live(id);
        let (due, timer_at) = (session.account.identify_by, session.timer_at);
        if due < timer_at {
            self.arm(id, due);
        }
    }

    /// The pipe carries a session of this trust from now on. The runtime is notified of a known user, whom it reads
    /// before strangers.
    pub(super) fn set_pipe_trust(&mut self, pipe: PipeId, trust: Trust) {
        self.outbox.set_class(pipe, trust.class());
        if trust == Trust::Identified {
            self.resumes.push(pipe);
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

    /// So much input of the session, which is live, is not whole.
    pub(super) fn set_unfinished(&mut self, id: SessionId, bytes: usize) {
        let (timeout_ms, per_s) =
            (u64::from(self.settings.message_timeout_ms), u64::from(self.settings.bytes_per_s_min));
        let now = self.now;
        let session = self.live_mut(id);
        let account = &mut session.account;
        let before = std::mem::replace(&mut account.unfinished, bytes);
        let earned_ms = |bytes: usize| bytes as u64 * 1000 / per_s;
        account.finish_by = match (before, bytes) {
            (_, 0) => Now(u64::MAX),
            (0, bytes) => now.plus_ms(timeout_ms + earned_ms(bytes)),
            (before, bytes) => account.finish_by.plus_ms(earned_ms(bytes.max(before) - before)),
        };
        let trust = account.trust;
        let (due, timer_at) = (account.finish_by, session.timer_at);
        let held = self.held_mut(trust);
        held.inbound = held.inbound + bytes - before;
        if due < timer_at {
            self.arm(id, due);
        }
    }
}
