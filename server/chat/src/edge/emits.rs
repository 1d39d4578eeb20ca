//! Events of other programs, for the sessions that they name.

use super::*;
use crate::cluster::{Audience, Emit};

impl Edge {
    /// Hands an event of another program to the sessions it is for.
    pub(crate) fn emit(&mut self, emit: &Emit, engine: &mut Engine, counters: &mut Counters) {
        let mut sessions: Vec<SessionId> = match &emit.to {
            None => self.locals.iter().flatten().map(|local| local.session).collect(),
            Some(to) => self.audience(to),
        };
        let except = self.audience(&emit.except);
        sessions.retain(|session| except.binary_search(session).is_err());
        if sessions.is_empty() {
            return;
        }
        let frame = frames::foreign(&emit.event);
        for session in sessions {
            // It may have left the namespace.
            if engine.session(session).is_some_and(|session| session.is_connected(0)) {
                counters.emitted += 1;
                engine.emit_frame(session, &frame);
            }
        }
    }

    /// The sessions of all of them, sorted and each once.
    fn audience(&self, all: &[Audience]) -> Vec<SessionId> {
        let mut sessions = Vec::new();
        for audience in all {
            match audience {
                Audience::Room(room) => {
                    let members =
                        self.rooms.get(room).into_iter().flat_map(|room| room.members.iter());
                    sessions.extend(members.map(|member| member.session));
                }
                Audience::User(user) => {
                    sessions
                        .extend(self.users.get(user).into_iter().flat_map(|user| &user.sessions));
                }
            }
        }
        sessions.sort_unstable();
        sessions.dedup();
        sessions
    }
}
