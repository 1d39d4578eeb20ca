//! What is reported to the cluster about sessions, and the events of other programs for them.

use super::*;
use crate::cluster::{Audience, ConnState, Emit, Signal};

/// Sessions whose change has not been reported.
#[derive(Default)]
pub(super) struct Connections {
    changed: BTreeSet<SessionId>,
    /// Reported before and ended now. No more than there were sessions when the lane filled up: the
    /// end of a session that was never reported is not reported either.
    ended: VecDeque<SessionId>,
}

impl Connections {
    /// Whether a signal about a session has not been sent.
    pub(super) fn are_owed(&self) -> bool {
        !(self.changed.is_empty() && self.ended.is_empty())
    }

    pub(super) fn ended(&mut self, conn: SessionId, is_signalled: bool) {
        self.changed.remove(&conn);
        if is_signalled {
            self.ended.push_back(conn);
        }
    }
}

impl Edge {
    /// Whose session it is, or where, has changed.
    pub(super) fn note_connection(&mut self, conn: SessionId) {
        if self.settings.cluster {
            self.connections.changed.insert(conn);
            self.retry(Now::default());
        }
    }

    pub(super) fn send_connections(&mut self, cx: &mut Context<'_>) {
        while cx.lanes.signal_slots() > 0 {
            let (conn, state) = if let Some(conn) = self.connections.ended.pop_front() {
                (conn, None)
            } else if let Some(conn) = self.connections.changed.pop_first() {
                // An answer of home about a session that has ended names it once more.
                let Some(local) = self.local(conn) else { continue };
                let state = local.state();
                if state.is_none() && !local.is_signalled {
                    continue;
                }
                local.is_signalled = state.is_some();
                (conn, state)
            } else {
                return;
            };
            cx.lanes.signal(Signal::Connection { conn, state });
        }
        if self.connections.are_owed() {
            cx.counters.lane_refusals_signal += 1;
            self.retry(cx.engine.now().plus_ms(LANE_RETRY_MS));
        }
    }

    /// Reports all sessions again: the receivers may have lost what they knew.
    pub(crate) fn announce(&mut self) {
        for local in self.locals.iter().flatten() {
            if local.identity.is_some() {
                self.connections.changed.insert(local.conn);
            }
        }
    }

    /// Hands an event of another program to the sessions it is for.
    pub(crate) fn emit(&mut self, emit: &Emit, engine: &mut Engine, counters: &mut Counters) {
        let mut conns: Vec<SessionId> = match &emit.to {
            None => self.locals.iter().flatten().map(|local| local.conn).collect(),
            Some(to) => self.audience(to),
        };
        let except = self.audience(&emit.except);
        conns.retain(|conn| except.binary_search(conn).is_err());
        if conns.is_empty() {
            return;
        }
        let frame = frames::foreign(&emit.event);
        for conn in conns {
            if engine.session(conn).is_some_and(|session| session.is_connected(0)) {
                counters.emitted += 1;
                engine.emit_frame(conn, &frame);
            }
        }
    }

    /// The sessions of all of them, sorted and each once.
    fn audience(&self, all: &[Audience]) -> Vec<SessionId> {
        let mut conns = Vec::new();
        for audience in all {
            match audience {
                Audience::Room(room) => {
                    let members =
                        self.rooms.get(room).into_iter().flat_map(|room| room.members.iter());
                    conns.extend(members.map(|member| member.session));
                }
                Audience::User(user) => {
                    conns.extend(self.users.get(user).into_iter().flat_map(|user| &user.sessions));
                }
            }
        }
        conns.sort_unstable();
        conns.dedup();
        conns
    }
}

impl Local {
    fn state(&self) -> Option<ConnState> {
        let user = self.identity?.user;
        let memberships = self.rooms.iter().filter(|membership| membership.index.is_some());
        Some(ConnState { user, rooms: memberships.map(|membership| membership.room).collect() })
    }
}
