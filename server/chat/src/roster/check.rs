//! What must hold of one room's roster between two turns.

use std::collections::BTreeSet;

use super::*;

impl Roster {
    /// Asserts that members, users, edges and presence modes agree, and that every member that
    /// waits is queued.
    pub(crate) fn check(&self) {
        let mut sessions: BTreeMap<UserId, u32> = BTreeMap::new();
        let mut edges = vec![0; self.edges.len()];
        let mut presence_mode = [0; 3];
        let mut receivers = 0;
        let queued = self.updates.waiting_places();
        for (session, member) in &self.members {
            *sessions.entry(member.user).or_default() += 1;
            edges[usize::from(session.shard().0)] += 1;
            presence_mode[member.presence_mode as usize] += 1;
            let is_delta = member.presence_mode == PresenceMode::Delta;
            receivers += u32::from(is_delta && !member.is_waiting);
            if member.is_waiting {
                let is_queued = self.updates.is_queued_at(*session, member.presence_mode, &queued);
                assert!(is_queued, "a member that waits is queued");
            }
        }
        assert_eq!(self.edges, edges, "members per edge are counted");
        assert_eq!(self.presence_mode, presence_mode, "members per presence mode are counted");
        let mut remote = 0;
        for (id, present) in &self.users {
            assert_eq!(present.card.id, *id, "a user has their own card");
            let here = sessions.remove(id).unwrap_or(0);
            assert_eq!(present.sessions, here, "a user's sessions are counted");
            assert!(here > 0 || !present.nodes.is_empty(), "a present user is on some node");
            let nodes: BTreeSet<NodeIx> = present.nodes.iter().copied().collect();
            assert_eq!(nodes.len(), present.nodes.len(), "a node has a user once");
            remote += present.nodes.len();
        }
        assert!(sessions.is_empty(), "a member's user is present");
        assert_eq!(self.remote, remote, "remote users are counted");
        self.updates.check(receivers, self.version, |user| self.users.contains_key(user));
    }

    /// Whether a member has not been sent what it is to get.
    pub(crate) fn has_unsent(&self) -> bool {
        self.updates.has_unsent()
    }
}
