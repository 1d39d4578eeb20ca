//! The table of a shard's connections, by slot and generation. A connection has its [`PipeId`] from the
//! start, and keeps it when it becomes a WebSocket.

use std::collections::VecDeque;

use throng_engine::{Now, PipeId};

use super::awaited_head::AwaitedHead;
use super::pipe::Pipe;

enum State {
    Free,
    Head(Box<AwaitedHead>),
    Pipe(Pipe),
}

struct Slot {
    generation: u32,
    state: State,
}

#[derive(Default)]
pub(super) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Deadlines of heads, oldest first; all have the same timeout.
    awaited: VecDeque<(Now, PipeId)>,
    pipes: u32,
    heads: u32,
    /// Bytes of all heads.
    head_bytes: usize,
}

impl Connections {
    pub(super) fn pipe_count(&self) -> u32 {
        self.pipes
    }

    pub(super) fn head_count(&self) -> u32 {
        self.heads
    }

    pub(super) fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Exchanges what has arrived of a head.
    pub(super) fn swap_head_bytes(&mut self, pipe: PipeId, bytes: Vec<u8>) -> Vec<u8> {
        let arrived = bytes.len();
        let head = self.head_mut(pipe).expect("the caller found the head");
        let before = std::mem::replace(&mut head.bytes, bytes);
        self.head_bytes = self.head_bytes + arrived - before.len();
        before
    }

    /// The oldest heads that hold so many bytes together.
    pub(super) fn oldest_heads(&self, bytes: usize) -> Vec<PipeId> {
        let mut held = 0;
        let mut oldest = Vec::new();
        for (_, pipe) in &self.awaited {
            if held >= bytes {
                break;
            }
            let slot = &self.slots[pipe.slot as usize];
            let State::Head(head) = &slot.state else { continue };
            if slot.generation == pipe.generation && !head.bytes.is_empty() {
                held += head.bytes.len();
                oldest.push(*pipe);
            }
        }
        oldest
    }

    pub(super) fn insert_head(&mut self, head: AwaitedHead, deadline: Now) -> PipeId {
        let pipe = self.insert(State::Head(Box::new(head)));
        self.heads += 1;
        self.awaited.push_back((deadline, pipe));
        pipe
    }

    pub(super) fn insert_pipe(&mut self, pipe: Pipe) -> PipeId {
        self.pipes += 1;
        self.insert(State::Pipe(pipe))
    }

    fn insert(&mut self, state: State) -> PipeId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, state: State::Free });
            u32::try_from(self.slots.len() - 1).expect("descriptors run out long before")
        });
        let entry = &mut self.slots[slot as usize];
        entry.state = state;
        PipeId { slot, generation: entry.generation }
    }

    /// A head becomes a WebSocket and keeps its slot.
    pub(super) fn promote(&mut self, id: PipeId) {
        let head = self.detach_head(id).expect("the caller found the head");
        let pipe = Pipe::new(head.stream, head.permit);
        self.slots[id.slot as usize].state = State::Pipe(pipe);
        self.pipes += 1;
    }

    pub(super) fn head_mut(&mut self, pipe: PipeId) -> Option<&mut AwaitedHead> {
        match self.state_mut(pipe)? {
            State::Head(head) => Some(head),
            State::Pipe(_) | State::Free => None,
        }
    }

    pub(super) fn pipe(&self, id: PipeId) -> Option<&Pipe> {
        let slot = self.slots.get(id.slot as usize)?;
        match &slot.state {
            State::Pipe(pipe) if slot.generation == id.generation => Some(pipe),
            State::Pipe(_) | State::Head(_) | State::Free => None,
        }
    }

    pub(super) fn pipe_mut(&mut self, id: PipeId) -> Option<&mut Pipe> {
        match self.state_mut(id)? {
            State::Pipe(pipe) => Some(pipe),
            State::Head(_) | State::Free => None,
        }
    }

    pub(super) fn is_head(&self, pipe: PipeId) -> bool {
        self.slots.get(pipe.slot as usize).is_some_and(|slot| {
            slot.generation == pipe.generation && matches!(slot.state, State::Head(_))
        })
    }

    fn state_mut(&mut self, pipe: PipeId) -> Option<&mut State> {
        let slot = self.slots.get_mut(pipe.slot as usize)?;
        (slot.generation == pipe.generation).then_some(&mut slot.state)
    }

    /// Takes a head out; its slot is free for another connection.
    pub(super) fn take_head(&mut self, pipe: PipeId) -> Option<Box<AwaitedHead>> {
        let head = self.detach_head(pipe)?;
        self.release(pipe);
        Some(head)
    }

    fn detach_head(&mut self, pipe: PipeId) -> Option<Box<AwaitedHead>> {
        let state = self.state_mut(pipe)?;
        match std::mem::replace(state, State::Free) {
            State::Head(head) => {
                self.heads -= 1;
                self.head_bytes -= head.bytes.len();
                Some(head)
            }
            other @ (State::Pipe(_) | State::Free) => {
                *state = other;
                None
            }
        }
    }

    /// Takes a pipe out. Its slot stays reserved until [`Connections::release`], so that the engine
    /// sees the end of this pipe before the next one in its slot.
    pub(super) fn take_pipe(&mut self, id: PipeId) -> Option<Pipe> {
        let state = self.state_mut(id)?;
        match std::mem::replace(state, State::Free) {
            State::Pipe(pipe) => {
                self.pipes -= 1;
                Some(pipe)
            }
            other @ (State::Head(_) | State::Free) => {
                *state = other;
                None
            }
        }
    }

    pub(super) fn release(&mut self, pipe: PipeId) {
        let slot = &mut self.slots[pipe.slot as usize];
        let is_taken_out = slot.generation == pipe.generation && matches!(slot.state, State::Free);
        assert!(is_taken_out, "a slot is released once, after its connection was taken out");
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(pipe.slot);
    }

    /// The next head that took too long.
    pub(super) fn overdue_head(&mut self, now: Now) -> Option<PipeId> {
        while let Some((deadline, pipe)) = self.awaited.front().copied() {
            if !self.is_head(pipe) {
                self.awaited.pop_front();
            } else if deadline <= now {
                self.awaited.pop_front();
                return Some(pipe);
            } else {
                return None;
            }
        }
        None
    }

    /// When [`Connections::overdue_head`] may have something.
    pub(super) fn next_deadline(&self) -> Option<Now> {
        self.awaited.front().map(|(deadline, _)| *deadline)
    }

    /// All heads, to be closed when the server stops.
    pub(super) fn heads(&self) -> Vec<PipeId> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| matches!(slot.state, State::Head(_)))
            .map(|(index, slot)| PipeId { slot: index as u32, generation: slot.generation })
            .collect()
    }
}
