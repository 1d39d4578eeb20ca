//! What must hold of sessions, pipes and polls between two turns.

use super::held::HeldBytes;
use super::pipe::Role;
use super::trust::Trust;
use super::{Carrier, Engine, Session};
use crate::counters::Counters;
use crate::ids::{PipeId, SessionId};
use crate::now::Now;
use crate::timers::{Timer, Timers};

impl Engine {
    /// Asserts that sessions, pipes, polls, timers, gauges and the outbox agree. Call it after a
    /// turn: during one, events and polls wait to be handled.
    pub(crate) fn check(&self) {
        assert!(self.session_events.is_empty(), "a turn handles all session events");
        assert!(self.slow.is_empty(), "a turn evicts all slow consumers");
        assert!(self.ready_polls.is_empty(), "a turn answers all polls that can be answered");
        assert!(self.answers.is_empty() && self.closes.is_empty(), "a turn hands on its effects");
        assert!(self.resumes.is_empty(), "a turn hands on its effects");
        assert!(self.owing.is_empty() && self.posts.is_empty(), "a turn sees to all of its input");
        self.check_accounts();
        self.check_bounds();
        self.check_slots();
        self.check_gauges();
        self.check_pipes();
        self.check_polls();
        self.check_anonymous_polling();
        self.check_bodies();
        self.check_timers();
        self.outbox.check();
    }

    fn check_accounts(&self) {
        let (mut anonymous, mut identified) = (HeldBytes::default(), HeldBytes::default());
        for session in self.sessions() {
            let account = &session.account;
            let held = match account.trust {
                Trust::Anonymous | Trust::Claimed => &mut anonymous,
                Trust::Identified => &mut identified,
            };
            held.inbound += account.held_in();
            if let Carrier::Polling(polling) = &session.carrier {
                held.polled += polling.bytes;
                let is_set = self.timers.is_set(Timer::LateAnswer(session.id));
                assert!(polling.late_post.is_none() || is_set, "a POST that waits has a timer");
            }
            let is_unfinished = account.unfinished > 0;
            assert_eq!(
                is_unfinished,
                account.finish_by != Now(u64::MAX),
                "what is unfinished has a deadline, and nothing else"
            );
            let kept = session.assembled() + session.received();
            assert!(account.unfinished >= kept, "what is kept is on the account");
            let is_owned = account.owner.is_some();
            assert!(
                !is_owned || account.trust == Trust::Identified,
                "only known users own sessions"
            );
            assert_eq!(
                session.address.is_some(),
                account.trust != Trust::Identified,
                "sessions whose users are not known are counted, and no others"
            );
        }
        assert_eq!(self.held_anonymous, anonymous, "bytes booked are bytes held");
        assert_eq!(self.held_identified, identified, "bytes booked are bytes held");
        self.addresses.check(self.sessions().filter_map(|session| session.address));
        let owners = self.sessions().filter_map(|session| session.account.owner);
        self.owners.check(owners, |owner| self.timers.is_set(Timer::Owner(owner)));
    }

    /// A turn ends with everything within its bounds.
    fn check_bounds(&self) {
        for session in self.sessions() {
            let trust = session.account.trust;
            let bytes_max = self.outbox.bound(trust.class()) as usize;
            let (bytes, packets) = match &session.carrier {
                Carrier::Pipe(pipe) => (self.outbox.counted(*pipe), 0),
                Carrier::Polling(polling) => {
                    (polling.counted(trust, bytes_max), polling.queue.len())
                }
            };
            assert!(
                bytes <= bytes_max,
                "a session is sent {bytes} bytes, and {bytes_max} may wait"
            );
            let packets_max = self.settings.poll_packets_max as usize;
            assert!(packets <= packets_max, "{packets} packets wait for a poll");
        }
        for (name, is_over) in [
            ("anonymous sessions", self.anonymous_over().is_some()),
            ("input", self.inbound_over().is_some()),
            ("output", self.outbound_over().is_some()),
        ] {
            assert!(!is_over, "the budget of {name} is kept");
        }
    }

    fn check_slots(&self) {
        assert_eq!(self.sessions().count(), self.live as usize, "live sessions are counted");
        let mut is_free = vec![false; self.slots.len()];
        for slot in &self.free {
            let was_free = std::mem::replace(&mut is_free[*slot as usize], true);
            assert!(!was_free, "a slot is free once");
        }
        for (index, slot) in self.slots.iter().enumerate() {
            assert_eq!(slot.session.is_none(), is_free[index], "a slot is free or has a session");
            if let Some(session) = &slot.session {
                let id = SessionId::new(self.shard, index as u32, slot.generation);
                assert_eq!(session.id, id, "a session knows its slot");
                let connections = session.connections.iter();
                let named = connections.fold(0, |named, it| named | 1 << it.namespace);
                assert_eq!(named, session.connected, "a connected namespace has a connection");
                let count = session.connections.len();
                assert_eq!(count, named.count_ones() as usize, "it has one connection");
            }
        }
    }

    fn check_gauges(&self) {
        let mut counted = Counters::default();
        self.sessions().for_each(|session| *session.gauge(&mut counted) += 1);
        let kinds = |c: &Counters| {
            let websocket = (c.sessions_ws_eio3, c.sessions_ws_eio4);
            (websocket, (c.sessions_polling_eio3, c.sessions_polling_eio4))
        };
        assert_eq!(kinds(&self.counters), kinds(&counted), "gauges are live sessions by kind");
    }

    fn check_pipes(&self) {
        for (slot, entry) in self.pipes.iter().enumerate() {
            let pipe = PipeId { slot: slot as u32, generation: entry.generation };
            if self.is_paused(pipe) && matches!(entry.role, Role::Session(_)) {
                assert!(self.timers.is_set(Timer::Resume(pipe)), "a paused pipe has a timer");
            }
            match entry.role {
                Role::Session(id) => {
                    let session = self.session(id).expect("a session's pipe has a session");
                    assert_eq!(session.pipe(), Some(pipe), "a session points back to its pipe");
                }
                Role::Probe { session: id, .. } => {
                    let session = self.session(id).expect("a probe has a session");
                    assert_eq!(session.probe, Some(pipe), "a session points back to its probe");
                }
                Role::Gone => {
                    assert!(self.outbox.is_idle(pipe), "a pipe that is gone gets nothing")
                }
                Role::RawEcho | Role::Closing => {}
            }
        }
        for session in self.sessions() {
            if let Some(pipe) = session.pipe() {
                assert_eq!(self.role(pipe), Role::Session(session.id), "a pipe has its role");
            }
            if let Some(probe) = session.probe {
                assert!(session.is_polling(), "only a polling session is probed");
                let is_probe =
                    matches!(self.role(probe), Role::Probe { session: id, .. } if id == session.id);
                assert!(is_probe, "a probe has its role");
            }
        }
    }

    fn check_polls(&self) {
        let mut known = 0;
        for session in self.sessions() {
            let Carrier::Polling(polling) = &session.carrier else { continue };
            let held: usize = polling.queue.iter().map(super::poll_queue::bytes_of).sum();
            assert_eq!(polling.bytes, held, "bytes accounted are bytes held");
            if let Some(last) = polling.last {
                known += 1;
                assert_eq!(self.polls.get(&last), Some(&session.id), "a poll names its session");
            }
            if let Some(parked) = &polling.parked {
                assert_eq!(polling.last, Some(parked.poll), "the last poll is the parked one");
                let is_held = polling.queue.is_empty() && !polling.is_released;
                assert!(is_held, "a parked poll waits only while there is nothing to carry");
            }
            let is_probed = session.probe.is_some_and(|probe| {
                matches!(self.role(probe), Role::Probe { is_probed: true, .. })
            });
            assert_eq!(polling.is_released, is_probed, "a probe releases polls, and only a probe");
        }
        assert_eq!(self.polls.len(), known, "only last polls name sessions");
    }

    fn check_timers(&self) {
        for session in self.sessions() {
            let Session { id, timer_at, .. } = *session;
            let due = Timers::fires_by(session.next_due());
            assert!(timer_at <= due, "a timer fires when the session is due, or before");
            let is_set = self.timers.fires_at(timer_at, Timer::Session(id));
            assert!(is_set, "a session has the timer it knows of");
            let probe = session.probe.map(Timer::Probe);
            assert!(probe.is_none_or(|probe| self.timers.is_set(probe)), "a probe has a timer");
        }
    }
}
