//! The members of one room on this shard, and the fan-out to them.

use bytes::Bytes;

use crate::engine::Engine;
use crate::ids::{PipeId, SessionId};

/// One member as the fan-out sees it.
#[derive(Clone, Copy, Debug)]
pub struct Member<T> {
    /// The session.
    pub session: SessionId,
    /// Its WebSocket, or `None` while it polls.
    pub pipe: Option<PipeId>,
    /// What the application knows of the member.
    pub tag: T,
}

/// The members of one room on this shard, in no order. A member is named by its index until
/// another is removed.
#[derive(Debug)]
pub struct Members<T> {
    list: Vec<Member<T>>,
}

impl<T> Default for Members<T> {
    fn default() -> Members<T> {
        Members { list: Vec::new() }
    }
}

impl<T> Members<T> {
    /// Adds a member; returns its index.
    pub fn add(&mut self, session: SessionId, tag: T, engine: &Engine) -> u32 {
        let pipe = engine.session(session).and_then(|session| session.pipe());
        self.list.push(Member { session, pipe, tag });
        self.list.len() as u32 - 1
    }

    /// Removes a member; returns the one that has its index now.
    ///
    /// # Panics
    /// When there is no such index.
    pub fn remove(&mut self, index: u32) -> Option<SessionId> {
        self.list.swap_remove(index as usize);
        self.list.get(index as usize).map(|member| member.session)
    }

    /// The member's session has moved to a WebSocket.
    pub fn moved(&mut self, index: u32, engine: &Engine) {
        let member = &mut self.list[index as usize];
        member.pipe = engine.session(member.session).and_then(|session| session.pipe());
    }

    /// The member at `index`.
    pub fn get_mut(&mut self, index: u32) -> &mut Member<T> {
        &mut self.list[index as usize]
    }

    /// Asserts that every member is a session of this shard, with the pipe that the session has.
    ///
    /// # Panics
    /// When one is not.
    pub fn check(&self, engine: &Engine) {
        for member in &self.list {
            let session = engine.session(member.session).expect("a member is a live session");
            assert_eq!(member.pipe, session.pipe(), "a member has its session's pipe");
        }
    }

    /// All members.
    pub fn iter(&self) -> std::slice::Iter<'_, Member<T>> {
        self.list.iter()
    }

    /// How many members.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The hot path: `frames` (whole WebSocket text frames, one per event) are laid down once, and
    /// every member is pointed to them. `is_apart` picks those that get something else; they are
    /// handed to `each`, and so are those that poll.
    ///
    /// `topic` names the room to the outbox: the bytes of one topic lie behind each other, so a
    /// member that has not been offered the last ones yet holds both as one piece.
    #[inline]
    pub fn fan_out(
        &self,
        topic: u64,
        frames: &[u8],
        engine: &mut Engine,
        is_apart: impl Fn(&Member<T>) -> bool,
        mut each: impl FnMut(&Member<T>, &mut Engine),
    ) {
        let span = engine.outbox.share(topic, std::iter::once(frames));
        let mut apart = std::mem::take(&mut engine.apart);
        let places = 0_u32..;
        let pipes = places.zip(&self.list).filter_map(|(place, member)| match member.pipe {
            Some(pipe) if !is_apart(member) => Some(pipe),
            _ => {
                apart.push(place);
                None
            }
        });
        match span {
            Some(span) => engine.outbox.push_span_to_all(pipes, span),
            None => pipes.for_each(|pipe| engine.outbox.push(pipe, frames)),
        }
        for place in apart.drain(..) {
            each(&self.list[place as usize], engine);
        }
        engine.apart = apart;
    }

    /// Hands one frame to the members that `is_meant` picks; large frames are shared by reference
    /// count. Returns how many got it.
    pub fn broadcast(
        &mut self,
        frame: &Bytes,
        engine: &mut Engine,
        mut is_meant: impl FnMut(&mut Member<T>) -> bool,
    ) -> u64 {
        let mut count = 0;
        for member in &mut self.list {
            if !is_meant(member) {
                continue;
            }
            count += 1;
            match member.pipe {
                Some(pipe) => engine.outbox.push_shared(pipe, frame),
                None => engine.emit_frame(member.session, frame),
            }
        }
        engine.counters.events_out += count;
        count
    }
}
