//! The table of a shard's connections, by slot and generation.

use std::collections::VecDeque;
use std::net::TcpStream;

use throng_engine::{Now, PipeId};
use throng_wire::http::Peer;

use super::readiness::Interest;
use crate::limiter::Permit;

/// A connection whose request head is awaited.
pub(super) struct Head {
    pub(super) stream: TcpStream,
    /// Whether its readiness is reported: once the first read came too early.
    pub(super) is_watched: bool,
    /// Bytes that arrived so far.
    pub(super) bytes: Vec<u8>,
    pub(super) peer: Peer,
    /// A PROXY header comes before the request.
    pub(super) awaits_proxy_header: bool,
    pub(super) permit: Permit,
}

/// A WebSocket byte stream.
pub(super) struct Open {
    pub(super) stream: TcpStream,
    pub(super) interest: Interest,
    /// Its sending side is shut: so many more bytes are read and dropped.
    pub(super) dropped_max: Option<usize>,
    /// Given back when the stream is closed.
    _permit: Permit,
}

impl Open {
    pub(super) fn new(stream: TcpStream, permit: Permit) -> Open {
        Open { stream, interest: Interest::READ, dropped_max: None, _permit: permit }
    }
}

pub(super) enum SlotState {
    Free,
    Head(Box<Head>),
    Open(Open),
}

struct Slot {
    generation: u32,
    state: SlotState,
}

#[derive(Default)]
pub(super) struct Pipes {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Deadlines of heads, oldest first; all have the same timeout.
    awaited: VecDeque<(Now, PipeId)>,
    open: u32,
    heads: u32,
    /// Bytes of all heads.
    head_bytes: usize,
}

impl Pipes {
    pub(super) fn open_count(&self) -> u32 {
        self.open
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
            let SlotState::Head(head) = &slot.state else { continue };
            if slot.generation == pipe.generation && !head.bytes.is_empty() {
                held += head.bytes.len();
                oldest.push(*pipe);
            }
        }
        oldest
    }

    pub(super) fn insert_head(&mut self, head: Head, deadline: Now) -> PipeId {
        let pipe = self.insert(SlotState::Head(Box::new(head)));
        self.heads += 1;
        self.awaited.push_back((deadline, pipe));
        pipe
    }

    pub(super) fn insert_open(&mut self, open: Open) -> PipeId {
        self.open += 1;
        self.insert(SlotState::Open(open))
    }

    fn insert(&mut self, state: SlotState) -> PipeId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, state: SlotState::Free });
            u32::try_from(self.slots.len() - 1).expect("descriptors run out long before")
        });
        let entry = &mut self.slots[slot as usize];
        entry.state = state;
        PipeId { slot, generation: entry.generation }
    }

    /// A head becomes a WebSocket and keeps its slot.
    pub(super) fn promote(&mut self, pipe: PipeId) {
        let head = self.detach_head(pipe).expect("the caller found the head");
        let open = Open::new(head.stream, head.permit);
        self.slots[pipe.slot as usize].state = SlotState::Open(open);
        self.open += 1;
    }

    pub(super) fn head_mut(&mut self, pipe: PipeId) -> Option<&mut Head> {
        match self.state_mut(pipe)? {
            SlotState::Head(head) => Some(head),
            SlotState::Open(_) | SlotState::Free => None,
        }
    }

    pub(super) fn open(&self, pipe: PipeId) -> Option<&Open> {
        let slot = self.slots.get(pipe.slot as usize)?;
        match &slot.state {
            SlotState::Open(open) if slot.generation == pipe.generation => Some(open),
            SlotState::Open(_) | SlotState::Head(_) | SlotState::Free => None,
        }
    }

    pub(super) fn open_mut(&mut self, pipe: PipeId) -> Option<&mut Open> {
        match self.state_mut(pipe)? {
            SlotState::Open(open) => Some(open),
            SlotState::Head(_) | SlotState::Free => None,
        }
    }

    pub(super) fn is_head(&self, pipe: PipeId) -> bool {
        self.slots.get(pipe.slot as usize).is_some_and(|slot| {
            slot.generation == pipe.generation && matches!(slot.state, SlotState::Head(_))
        })
    }

    fn state_mut(&mut self, pipe: PipeId) -> Option<&mut SlotState> {
        let slot = self.slots.get_mut(pipe.slot as usize)?;
        (slot.generation == pipe.generation).then_some(&mut slot.state)
    }

    /// Takes a head out; its slot is free for another connection.
    pub(super) fn take_head(&mut self, pipe: PipeId) -> Option<Box<Head>> {
        let head = self.detach_head(pipe)?;
        self.release(pipe);
        Some(head)
    }

    fn detach_head(&mut self, pipe: PipeId) -> Option<Box<Head>> {
        let state = self.state_mut(pipe)?;
        match std::mem::replace(state, SlotState::Free) {
            SlotState::Head(head) => {
                self.heads -= 1;
                self.head_bytes -= head.bytes.len();
                Some(head)
            }
            other @ (SlotState::Open(_) | SlotState::Free) => {
                *state = other;
                None
            }
        }
    }

    /// Takes a pipe out. Its slot stays reserved until [`Pipes::release`], so that the engine
    /// sees the end of this pipe before the next one in its slot.
    pub(super) fn take_open(&mut self, pipe: PipeId) -> Option<Open> {
        let state = self.state_mut(pipe)?;
        match std::mem::replace(state, SlotState::Free) {
            SlotState::Open(open) => {
                self.open -= 1;
                Some(open)
            }
            other @ (SlotState::Head(_) | SlotState::Free) => {
                *state = other;
                None
            }
        }
    }

    pub(super) fn release(&mut self, pipe: PipeId) {
        let slot = &mut self.slots[pipe.slot as usize];
        let is_taken_out =
            slot.generation == pipe.generation && matches!(slot.state, SlotState::Free);
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

    /// When [`Pipes::overdue_head`] may have something.
    pub(super) fn next_deadline(&self) -> Option<Now> {
        self.awaited.front().map(|(deadline, _)| *deadline)
    }

    /// All heads, to be closed when the server stops.
    pub(super) fn heads(&self) -> Vec<PipeId> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| matches!(slot.state, SlotState::Head(_)))
            .map(|(index, slot)| PipeId { slot: index as u32, generation: slot.generation })
            .collect()
    }
}
