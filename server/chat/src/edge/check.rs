//! What must hold of an edge between two turns.

use super::reads::{Reads, Waiting};
use super::*;

impl Edge {
    /// Asserts that sessions, memberships, members, users and tokens point at each other, that bytes are
    /// counted, and that nothing is owed without a deadline.
    pub(crate) fn check(&self, engine: &Engine) {
        let mut members = 0;
        let mut identities = 0;
        for (slot, local) in self.locals.iter().enumerate() {
            let Some(local) = local else { continue };
            assert_eq!(local.session.slot() as usize, slot, "a session knows its slot");
            assert!(engine.session(local.session).is_some(), "an edge serves live sessions");
            members += self.check_memberships(local);
            identities += usize::from(local.identity.is_some());
            let awaited = |pending: &PendingEvents| {
                pending.awaited.as_ref().map_or(0, Awaited::bytes) + pending.bytes
            };
            let kept = local.pending.as_deref().map_or(0, awaited);
            let on_account = engine.session(local.session).map(Session::kept);
            assert_eq!(on_account, Some(kept), "what waits is on the session's account");
            if let Some(pending) = &local.pending {
                let held: usize = pending.queue.iter().map(Queued::bytes).sum();
                assert!(pending.awaited.is_some(), "events wait for an answer");
                assert_eq!(pending.bytes, held, "bytes accounted are bytes held");
                let is_within = pending.queue.len() <= self.settings.pending_events_max as usize
                    && pending.bytes <= self.settings.pending_bytes_max as usize;
                assert!(is_within, "events that wait are bounded");
            }
        }
        let locals = self.locals.iter().flatten().count();
        assert_eq!(locals, engine.sessions().count(), "an edge serves all live sessions");
        for room in self.rooms.values() {
            assert!(!room.members.is_empty(), "a room without members is forgotten");
            room.members.check(engine);
        }
        let listed: usize = self.rooms.values().map(|room| room.members.len()).sum();
        assert_eq!(listed, members, "members are memberships that home has confirmed");
        self.check_users(identities);
        self.check_tokens_listed(identities);
        self.check_owed();
        self.check_counts();
        self.check_deadlines(engine.now());
    }

    /// Returns how many of the session's memberships are in the fan-out.
    fn check_memberships(&self, local: &LocalSession) -> usize {
        let mut members = 0;
        local.memberships.check();
        for membership in local.memberships.iter() {
            let Membership { room, joining, index, .. } = *membership;
            let identity = local.identity.expect("only an identified session has memberships");
            assert!(joining > 0 || index.is_some(), "a membership is awaited or confirmed");
            let Some(index) = index else { continue };
            members += 1;
            let room = self.rooms.get(&room).expect("a member's room is known");
            let member = room.members.iter().as_slice().get(index as usize);
            let member = member.expect("an index points to a member");
            assert_eq!(member.session, local.session, "a member points back to its session");
            assert_eq!(member.tag.user, identity.user, "a member is its session's user");
        }
        members
    }

    fn check_users(&self, identities: usize) {
        let mut sessions = 0;
        for (id, user) in &self.users {
            assert_eq!(user.card.id, *id, "a user has their own card");
            assert!(!user.sessions.is_empty(), "a user without sessions is forgotten");
            sessions += user.sessions.len();
            for (place, session) in user.sessions.iter().enumerate() {
                assert!(!user.sessions[..place].contains(session), "a session is listed once");
                let local = self.locals.get(session.slot() as usize).and_then(Option::as_deref);
                let local = local.filter(|local| local.session == *session);
                let identity = local.and_then(|local| local.identity);
                let is_theirs = identity.is_some_and(|identity| identity.user == *id);
                assert!(is_theirs, "a listed session has its user's identity");
            }
            match &user.reads {
                Reads::Loading(loading) => {
                    loading.check(self.loading.contains(id), self.reads_failed.contains(id));
                    let is_known =
                        |(session, _): &(SessionId, Waiting)| user.sessions.contains(session);
                    assert!(loading.waiting.iter().all(is_known), "only live sessions wait");
                }
                Reads::Ready => {
                    assert!(!self.reads_failed.contains(id), "marks that came did not fail");
                }
            }
        }
        assert_eq!(sessions, identities, "every identified session is listed with its user");
        for id in self.loading.iter().chain(&self.reads_failed) {
            assert!(self.users.contains_key(id), "only users with sessions are waited for");
        }
    }

    fn check_tokens_listed(&self, identities: usize) {
        let mut asking = 0;
        for local in self.locals.iter().flatten() {
            if let Some(identity) = local.identity {
                let is_listed = self.bound.has(identity.token, local.session);
                assert!(is_listed, "an identified session is listed with its token");
            }
            let asked = local.pending.as_ref().and_then(|pending| pending.token());
            if let Some(token) = asked {
                let is_listed = self.asking.has(token, local.session);
                assert!(is_listed, "a session that asks for a token is listed with it");
                asking += 1;
            }
        }
        assert_eq!(self.bound.len(), identities, "only identified sessions are listed as such");
        assert_eq!(self.asking.len(), asking, "only sessions that ask are listed as such");
    }

    fn check_owed(&self) {
        let mut seen = BTreeSet::new();
        let lingering = self.lingering.iter().map(|(_, owed)| owed);
        for LeaveDue { room, session, membership_id, .. } in self.leaves_due.iter().chain(lingering)
        {
            assert!(seen.insert((*session, *membership_id)), "a leave is owed once");
            let local = self.locals.get(session.slot() as usize).and_then(Option::as_deref);
            let Some(local) = local.filter(|local| local.session == *session) else { continue };
            let membership = local.memberships.iter().find(|other| other.id == *membership_id);
            let is_over = membership.is_none_or(|other| other.is_leaving && other.room == *room);
            assert!(is_over, "a membership whose leave is owed is not live");
        }
        for (_, LeaveDue { session, .. }) in &self.lingering {
            let local = self.locals.get(session.slot() as usize).and_then(Option::as_deref);
            assert!(
                local.is_none_or(|local| local.session != *session),
                "grace follows a session's end"
            );
        }
        assert!(self.lingering.iter().is_sorted_by_key(|(due, _)| *due), "grace ends in order");
    }

    /// A deadline for something else is none: what is owed must be seen to in time.
    fn check_deadlines(&self, now: Now) {
        let soon = now.plus_ms(LANE_RETRY_MS);
        let grace_ends_at = self.lingering.front().map_or(soon, |(due, _)| *due);
        let owes = [
            ("leaves", !self.leaves_due.is_empty(), soon),
            ("leaves after their grace", !self.lingering.is_empty(), grace_ends_at),
            ("read marks", !self.loading.is_empty(), soon),
            ("read marks that failed", !self.reads_failed.is_empty(), self.reads_retry_at),
            ("counts", self.counts.next_at().is_some(), self.counts.next_at().unwrap_or(soon)),
            ("signals", self.session_signals.are_owed(), soon),
            ("token checks", self.token_checks.are_owed(), self.token_checks.retry_at()),
        ];
        for (what, is_owed, due) in owes {
            let is_seen_to = self.next_deadline().is_some_and(|at| at <= due.max(soon));
            assert!(!is_owed || is_seen_to, "{what} are owed without a deadline");
        }
    }
}
