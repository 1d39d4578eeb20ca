//! Bytes on their way to pipes.
//!
//! A frame is appended once per recipient and leaves with everything else the turn produced for
//! that pipe in one send. Small frames are copied, because one contiguous buffer is cheaper to
//! send than many shared pieces; large ones are shared.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::ids::PipeId;

/// From this size a frame is shared instead of copied: a roster for ten thousand members must not
/// become ten thousand copies.
const SHARE_FROM_BYTES: usize = 8 * 1024;
/// Buffers kept for reuse, and the size above which one is given back to the allocator.
const SPARE_MAX: usize = 4096;
const SPARE_BYTES_MAX: usize = 64 * 1024;

#[derive(Default)]
struct Pending {
    parts: VecDeque<Part>,
    /// Bytes of the first part that were sent already.
    sent: usize,
    bytes: usize,
    close_when_empty: bool,
}

enum Part {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Part {
    fn as_slice(&self) -> &[u8] {
        match self {
            Part::Copied(bytes) => bytes,
            Part::Shared(bytes) => bytes,
        }
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    is_dirty: bool,
    /// The shell waits for the socket to become writable; do not offer it again until then.
    is_blocked: bool,
    pending: Option<Box<Pending>>,
}

/// What is left of a pipe's bytes after a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    Empty,
    /// Bytes remain: wait until the socket is writable, then call [`Outbox::writable`].
    More,
    /// Everything was sent and the pipe is to be shut down.
    Close,
}

/// Outbound bytes of all pipes of a shard.
#[derive(Default)]
pub struct Outbox {
    slots: Vec<Slot>,
    dirty: Vec<PipeId>,
    /// Boxed as the slots hold them, so that reuse moves a pointer and an idle slot stays small.
    #[expect(clippy::vec_box, reason = "the boxes themselves are reused")]
    spare: Vec<Box<Pending>>,
}

impl Outbox {
    pub(crate) fn open(&mut self, pipe: PipeId) {
        let index = pipe.slot as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, Slot::default);
        }
        self.slots[index] =
            Slot { generation: pipe.generation, is_dirty: false, is_blocked: false, pending: None };
    }

    pub(crate) fn close(&mut self, pipe: PipeId) {
        if let Some(slot) = self.slot(pipe) {
            let pending = slot.pending.take();
            slot.is_dirty = false;
            // The next tenant has another generation; until then nothing may be queued.
            slot.generation = slot.generation.wrapping_add(1);
            if let Some(pending) = pending {
                self.recycle(pending);
            }
        }
    }

    fn slot(&mut self, pipe: PipeId) -> Option<&mut Slot> {
        self.slots.get_mut(pipe.slot as usize).filter(|slot| slot.generation == pipe.generation)
    }

    /// Queues `bytes`; returns how many are now queued for the pipe (0 if it is gone).
    #[inline]
    pub(crate) fn push(&mut self, pipe: PipeId, bytes: &[u8]) -> usize {
        let Some(pending) = self.pending(pipe) else { return 0 };
        pending.bytes += bytes.len();
        if let Some(Part::Copied(last)) = pending.parts.back_mut() {
            last.extend_from_slice(bytes);
        } else {
            pending.parts.push_back(Part::Copied(bytes.to_vec()));
        }
        pending.bytes
    }

    /// Queues a frame that many pipes share.
    #[inline]
    pub(crate) fn push_shared(&mut self, pipe: PipeId, frame: &Bytes) -> usize {
        if frame.len() < SHARE_FROM_BYTES {
            return self.push(pipe, frame);
        }
        let Some(pending) = self.pending(pipe) else { return 0 };
        pending.bytes += frame.len();
        pending.parts.push_back(Part::Shared(frame.clone()));
        pending.bytes
    }

    /// Drops what is queued, except the frame of which a part has been sent already.
    pub(crate) fn cut(&mut self, pipe: PipeId) {
        let Some(slot) = self.slot(pipe) else { return };
        let Some(pending) = slot.pending.as_mut() else { return };
        pending.parts.truncate(1);
        let keep = match pending.parts.front_mut() {
            Some(Part::Copied(bytes)) => {
                let end = frame_end(bytes, pending.sent);
                bytes.truncate(end);
                end
            }
            Some(Part::Shared(bytes)) => bytes.len(),
            None => 0,
        };
        pending.bytes = keep.saturating_sub(pending.sent);
    }

    /// Shuts the pipe down once everything queued has been sent.
    pub(crate) fn close_when_empty(&mut self, pipe: PipeId) {
        if let Some(pending) = self.pending(pipe) {
            pending.close_when_empty = true;
        }
    }

    pub(crate) fn queued(&mut self, pipe: PipeId) -> usize {
        self.slot(pipe).and_then(|slot| slot.pending.as_ref()).map_or(0, |pending| pending.bytes)
    }

    #[inline]
    fn pending(&mut self, pipe: PipeId) -> Option<&mut Pending> {
        let slot = self
            .slots
            .get_mut(pipe.slot as usize)
            .filter(|slot| slot.generation == pipe.generation)?;
        if !slot.is_dirty && !slot.is_blocked {
            slot.is_dirty = true;
            self.dirty.push(pipe);
        }
        if slot.pending.is_none() {
            slot.pending = Some(self.spare.pop().unwrap_or_default());
        }
        slot.pending.as_deref_mut()
    }

    fn recycle(&mut self, mut pending: Box<Pending>) {
        pending.sent = 0;
        pending.bytes = 0;
        pending.close_when_empty = false;
        pending.parts.truncate(1);
        match pending.parts.front_mut() {
            Some(Part::Copied(bytes)) if bytes.capacity() <= SPARE_BYTES_MAX => bytes.clear(),
            _ => pending.parts.clear(),
        }
        if self.spare.len() < SPARE_MAX {
            self.spare.push(pending);
        }
    }

    /// Moves the pipes that have something to send into `into`. Each must be offered to its
    /// socket and reported through [`Outbox::sent`].
    pub fn take_dirty(&mut self, into: &mut Vec<PipeId>) {
        into.append(&mut self.dirty);
    }

    /// The next bytes of `pipe`, as at most `slices.len()` pieces; returns how many were filled.
    pub fn slices<'a>(&'a self, pipe: PipeId, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(slot) = self.slots.get(pipe.slot as usize) else { return 0 };
        let Some(pending) = slot.pending.as_ref().filter(|_| slot.generation == pipe.generation)
        else {
            return 0;
        };
        let mut filled = 0;
        let mut skip = pending.sent;
        for (part, slice) in pending.parts.iter().zip(slices) {
            *slice = IoSlice::new(&part.as_slice()[skip..]);
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Records that the first `count` bytes were sent; 0 after the socket would have blocked.
    pub fn sent(&mut self, pipe: PipeId, count: usize) -> Flushed {
        let Some(slot) = self.slot(pipe) else { return Flushed::Empty };
        slot.is_dirty = false;
        let Some(pending) = slot.pending.as_mut() else { return Flushed::Empty };
        pending.bytes -= count;
        pending.sent += count;
        while let Some(front) = pending.parts.front() {
            let len = front.as_slice().len();
            if pending.sent < len {
                break;
            }
            pending.sent -= len;
            if pending.bytes == 0 {
                break;
            }
            pending.parts.pop_front();
        }
        if pending.bytes > 0 {
            slot.is_blocked = true;
            return Flushed::More;
        }
        let close = pending.close_when_empty;
        if let Some(pending) = slot.pending.take() {
            self.recycle(pending);
        }
        if close { Flushed::Close } else { Flushed::Empty }
    }

    /// The socket of a pipe that reported [`Flushed::More`] is writable: offer it again.
    pub fn writable(&mut self, pipe: PipeId) {
        if let Some(slot) = self.slot(pipe) {
            slot.is_blocked = false;
            if slot.pending.is_some() && !slot.is_dirty {
                slot.is_dirty = true;
                self.dirty.push(pipe);
            }
        }
    }
}

/// Where the frame that contains byte `sent` ends; `bytes` starts with a whole unmasked frame.
fn frame_end(bytes: &[u8], sent: usize) -> usize {
    let mut end = 0;
    while end < sent {
        let len = match bytes[end..] {
            // A handshake answer, which is not a frame, counts as one.
            [b'H', ..] => bytes.len() - end,
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                10 + u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize
            }
            [_, 126, a, b, ..] => 4 + usize::from(u16::from_be_bytes([a, b])),
            [_, len, ..] => 2 + usize::from(len),
            _ => return bytes.len(),
        };
        end += len;
    }
    end.min(bytes.len())
}

#[cfg(test)]
mod tests;
