//! Bytes on their way to pipes.
//!
//! A pipe is offered to its socket when its turn among the pipes comes, and everything that was
//! produced for it until then leaves in one send. What one pipe gets is copied into a buffer of its
//! own, because one contiguous piece is cheaper to send than many. What a whole room gets lies once in
//! [`Common`], and a recipient costs the twelve bytes of a [`Span`]: the socket is offered the common
//! bytes themselves, and only what it does not take is copied. Large frames are shared by reference
//! count.

mod apart;
mod bounds;
mod check;
mod class;
mod common;
mod held;
mod shared;
mod spares;

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;
use throng_wire::ws::frame_at;

use crate::canary::{Canary, is_armed};
use crate::ids::PipeId;
use apart::Apart;
pub(crate) use bounds::Bounds;
pub(crate) use class::Class;
use common::Common;
pub(crate) use common::Span;
use held::HeldByClass;
use shared::SharedFrames;
use spares::Spares;

/// From this size a frame is shared instead of copied: a large frame for ten thousand clients must not
/// become ten thousand copies.
const SHARE_FROM_BYTES: usize = 8 * 1024;

/// A buffer grows by this part of what is in it.
const GROWTH: usize = 4;

/// A buffer with so many bytes is followed by another: one that grows to megabytes is moved with each step, and
/// leaves holes that no other fits into.
const BUFFER_BYTES: usize = 256 * 1024;

/// From so many bytes, those that were sent are taken out of a buffer once they are more than half of it: the
/// pipe of a client that reads as fast as its room writes is never empty.
const COMPACT_FROM_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Pending {
    parts: VecDeque<Part>,
    /// Bytes of the first part that were sent already.
    sent: usize,
    bytes: usize,
    /// Bytes of the parts that belong to this pipe alone, sent ones included.
    copied: usize,
    close_when_empty: bool,
}

impl Pending {
    fn append(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.copied += bytes.len();
        if let Some(Part::Copied(last)) = self.parts.back_mut()
            && last.len() < BUFFER_BYTES
        {
            if last.capacity() - last.len() < bytes.len() {
                // Not twice as much: what is not used is on no account.
                last.reserve_exact(bytes.len().max(last.len() / GROWTH));
            }
            last.extend_from_slice(bytes);
        } else {
            self.parts.push_back(Part::Copied(bytes.to_vec()));
        }
    }

    /// Shows the first parts, of at most `most` bytes: how many, and whether these are all.
    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>], most: usize) -> (usize, bool) {
        let (mut skip, mut left, mut filled) = (self.sent, most, 0);
        for (part, slice) in self.parts.iter().zip(&mut *slices) {
            let bytes = &part.as_slice()[skip..];
            skip = 0;
            filled += 1;
            if bytes.len() > left {
                *slice = IoSlice::new(&bytes[..left]);
                return (filled, false);
            }
            *slice = IoSlice::new(bytes);
            left -= bytes.len();
        }
        (filled, filled == self.parts.len())
    }

    /// Bytes that wait of the longest message that is shared with others and longer than `bound`.
    fn overlong(&self, bound: usize) -> usize {
        let waiting = self.parts.iter().enumerate().map(|(index, part)| match part {
            Part::Shared(bytes) if bytes.len() > bound => {
                bytes.len() - if index == 0 { self.sent } else { 0 }
            }
            Part::Shared(_) | Part::SharedBatch(_) | Part::Copied(_) => 0,
        });
        waiting.max().unwrap_or(0)
    }

    /// Forgets the first `count` bytes. The last part stays, to be filled again.
    fn take(&mut self, count: usize, shared: &mut SharedFrames) {
        self.bytes -= count;
        self.sent += count;
        while let Some(front) = self.parts.front() {
            let len = front.as_slice().len();
            if self.sent < len || self.bytes == 0 {
                return self.compact();
            }
            self.sent -= len;
            match self.parts.pop_front() {
                Some(Part::Copied(_)) => self.copied -= len,
                Some(Part::Shared(frames) | Part::SharedBatch(frames)) => shared.release(&frames),
                None => {}
            }
        }
    }

    /// Drops all parts but the first so many.
    fn truncate(&mut self, parts: usize, shared: &mut SharedFrames) {
        for part in self.parts.drain(parts.min(self.parts.len())..) {
            if let Part::Shared(frames) | Part::SharedBatch(frames) = part {
                shared.release(&frames);
            }
        }
    }

    /// Adds common bytes: a copy of its own, or of many, one that the pipes of the room share.
    fn append_common(
        &mut self,
        span: Span,
        common: &Common,
        apart: &mut Apart,
        shared: &mut SharedFrames,
    ) {
        let Some(frames) = apart.of(span, common) else { return self.append(common.get(span)) };
        shared.hold(&frames);
        self.bytes += frames.len();
        self.parts.push_back(Part::SharedBatch(frames));
    }

    /// Bytes of the frames that it shares with other pipes.
    fn shared(&self) -> usize {
        self.parts.iter().map(Part::shared_bytes).sum()
    }

    /// Takes out what was sent, but for the frame under way: its end has to be found.
    fn compact(&mut self) {
        if let Some(Part::Copied(first)) = self.parts.front_mut()
            && self.sent >= COMPACT_FROM_BYTES
            && self.sent > first.len() / 2
            && self.bytes > 0
        {
            let gone = frame_at(first, self.sent).start;
            first.drain(..gone);
            // What is not used is on no account.
            first.shrink_to(first.len() + COMPACT_FROM_BYTES.max(first.len() / GROWTH));
            self.sent -= gone;
            self.copied -= gone;
        }
    }
}

enum Part {
    Copied(Vec<u8>),
    /// One frame.
    Shared(Bytes),
    /// Frames that were common bytes.
    SharedBatch(Bytes),
}

impl Part {
    fn as_slice(&self) -> &[u8] {
        match self {
            Part::Copied(bytes) => bytes,
            Part::Shared(bytes) | Part::SharedBatch(bytes) => bytes,
        }
    }

    fn shared_bytes(&self) -> usize {
        match self {
            Part::Copied(_) => 0,
            Part::Shared(bytes) | Part::SharedBatch(bytes) => bytes.len(),
        }
    }
}

#[derive(Default)]
struct PipeSlot {
    generation: u32,
    is_dirty: bool,
    /// The runtime waits for the socket to become writable; do not offer it again until then.
    is_blocked: bool,
    /// The runtime offers it after others, an unknown number of turns away.
    is_deferred: bool,
    /// It is in the list of pipes that hold more than their bound.
    is_over: bool,
    class: Class,
    /// Bytes that may wait, by its class.
    bound: u32,
    /// Common bytes behind those of `pending`; empty while the pipe is blocked.
    span: Span,
    pending: Option<Box<Pending>>,
}

impl PipeSlot {
    /// Bytes that wait for the pipe, shared ones included.
    fn waiting(&self) -> usize {
        self.span.len() + self.pending.as_ref().map_or(0, |pending| pending.bytes)
    }

    /// Bytes that count for the bound: one message that is longer than the bound, such as the roster of a large room,
    /// is sent all the same to a user who reads.
    fn counted(&self) -> usize {
        let bound = self.bound as usize;
        let pending = self.pending.as_ref().filter(|_| self.class == Class::Identified);
        self.waiting() - pending.map_or(0, |pending| pending.overlong(bound))
    }

    fn mark_dirty(&mut self, pipe: PipeId, dirty: &mut Vec<PipeId>) {
        if !self.is_dirty && !self.is_blocked {
            self.is_dirty = true;
            dirty.push(pipe);
            if is_armed(Canary::ListPipeTwice) {
                dirty.push(pipe);
            }
        }
    }

    /// More waits than the bound allows.
    #[cold]
    fn note_over(&mut self, pipe: PipeId, over: &mut Vec<PipeId>) {
        let is_beyond = self.counted() > self.bound as usize;
        if is_beyond && !self.is_over && !is_armed(Canary::KeepSlow) {
            self.is_over = true;
            over.push(pipe);
        }
    }
}

/// What is left of a pipe's bytes after a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing: the pipe is offered again when it has new bytes.
    Empty,
    /// Bytes remain: wait until the socket is writable, then call [`Outbox::writable`].
    More,
    /// Everything was sent and the pipe is to be shut down.
    Close,
}

/// Outbound bytes of all pipes of a shard.
#[derive(Default)]
pub struct Outbox {
    slots: Vec<PipeSlot>,
    common: Common,
    dirty: Vec<PipeId>,
    /// Pipes that hold more than their bound, until [`Outbox::next_over`] has named them.
    over: Vec<PipeId>,
    bounds: Bounds,
    held: HeldByClass,
    /// Large frames that wait.
    shared: SharedFrames,
    apart: Apart,
    spares: Spares,
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Outbox {
        Outbox { bounds, ..Outbox::default() }
    }

    pub(crate) fn open(&mut self, pipe: PipeId, class: Class) {
        let index = pipe.slot as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, PipeSlot::default);
        }
        let (generation, bound) = (pipe.generation, self.bound(class));
        self.slots[index] = PipeSlot { generation, class, bound, ..PipeSlot::default() };
    }

    /// The pipe's bytes count as those of another class from now on.
    pub(crate) fn set_class(&mut self, pipe: PipeId, class: Class) {
        let bound = self.bound(class);
        let slot = self.slot(pipe).expect("a session's pipe is open");
        let (old, copied) = (slot.class, slot.pending.as_ref().map_or(0, |p| p.copied));
        (slot.class, slot.bound) = (class, bound);
        let is_over = slot.waiting() > bound as usize;
        self.held.change(old, copied, 0);
        self.held.change(class, 0, copied);
        if is_over {
            // The bound of the other class was higher.
            let slot = find(&mut self.slots, pipe).expect("it was found above");
            slot.note_over(pipe, &mut self.over);
        }
    }

    /// Bytes that may wait for one client of the class.
    pub(crate) fn bound(&self, class: Class) -> u32 {
        self.bounds.of(class)
    }

    /// The next pipe that held more than its bound when bytes were queued for it.
    pub(crate) fn next_over(&mut self) -> Option<PipeId> {
        let pipe = self.over.pop()?;
        if let Some(slot) = self.slot(pipe) {
            slot.is_over = false;
        }
        Some(pipe)
    }

    /// Bytes that pipes of the class hold for themselves alone.
    pub(crate) fn held(&self, class: Class) -> usize {
        self.held.of(class)
    }

    fn pending(&self, pipe: PipeId) -> Option<&Pending> {
        let slot = self.slots.get(pipe.slot as usize);
        slot.filter(|slot| slot.generation == pipe.generation)?.pending.as_deref()
    }

    /// Bytes of the large frames that pipes share; each counts once.
    pub(crate) fn held_shared(&self) -> usize {
        self.shared.bytes()
    }

    /// As [`Outbox::held_by`], and those that it shares.
    pub(crate) fn held_by_with_shared(&self, pipe: PipeId) -> usize {
        self.pending(pipe).map_or(0, |pending| pending.copied + pending.shared())
    }

    /// Bytes that the pipe holds for itself alone.
    pub(crate) fn held_by(&self, pipe: PipeId) -> usize {
        self.pending(pipe).map_or(0, |pending| pending.copied)
    }

    pub(crate) fn close(&mut self, pipe: PipeId) {
        if let Some(slot) = find(&mut self.slots, pipe) {
            self.common.release(&mut slot.span);
            let pending = slot.pending.take();
            self.held.change(slot.class, pending.as_ref().map_or(0, |p| p.copied), 0);
            slot.is_dirty = false;
            slot.is_deferred = false;
            slot.is_over = false;
            // The next pipe in the slot has another generation; until then nothing may be queued.
            slot.generation = slot.generation.wrapping_add(1);
            if let Some(pending) = pending {
                self.retire(pending);
            }
        }
    }

    /// Keeps the buffer of what waits no longer.
    fn retire(&mut self, mut pending: Box<Pending>) {
        let has_buffer = matches!(pending.parts.front(), Some(Part::Copied(_)));
        pending.truncate(usize::from(has_buffer), &mut self.shared);
        self.spares.keep(pending);
    }

    fn slot(&mut self, pipe: PipeId) -> Option<&mut PipeSlot> {
        find(&mut self.slots, pipe)
    }

    /// Queues `bytes`.
    #[inline]
    pub(crate) fn push(&mut self, pipe: PipeId, bytes: &[u8]) {
        self.change(pipe, |pending| pending.append(bytes));
    }

    /// Queues a frame that many pipes share.
    #[inline]
    pub(crate) fn push_shared(&mut self, pipe: PipeId, frame: &Bytes) {
        if frame.len() < SHARE_FROM_BYTES {
            return self.push(pipe, frame);
        }
        if find(&mut self.slots, pipe).is_none() {
            return;
        }
        self.shared.hold(frame);
        self.change(pipe, |pending| {
            pending.bytes += frame.len();
            pending.parts.push_back(Part::Shared(frame.clone()));
        });
    }

    /// Lays down what many pipes are to get with [`Outbox::push_span`], now: the bytes last as long as
    /// some pipe holds them, or until the next call. The pipes of one topic are mostly the same, so
    /// they are best served if its bytes are contiguous. `None`: there is too much of it already; push
    /// copies.
    pub(crate) fn share(&mut self, topic: u32, bytes: &[u8]) -> Option<Span> {
        self.apart.clear();
        self.common.add(topic, bytes)
    }

    /// Queues common bytes.
    #[inline]
    pub(crate) fn push_span(&mut self, pipe: PipeId, span: Span) {
        let Some(slot) = find(&mut self.slots, pipe) else { return };
        if slot.is_blocked || slot.is_deferred && span.len() >= SHARE_FROM_BYTES {
            // Its turn to be offered is an unknown number of turns away. Small frames are cheapest as they are.
            return self.push_apart(pipe, span);
        }
        slot.mark_dirty(pipe, &mut self.dirty);
        if !self.common.extend(&mut slot.span, span) {
            return self.push_behind(pipe, span);
        }
        let queued = slot.span.len() + slot.pending.as_ref().map_or(0, |pending| pending.bytes);
        if queued > slot.bound as usize {
            slot.note_over(pipe, &mut self.over);
        }
    }

    /// Another topic, or another block: what is held moves out of the way.
    #[cold]
    fn push_behind(&mut self, pipe: PipeId, span: Span) {
        self.change(pipe, |_| {});
        let slot = find(&mut self.slots, pipe).expect("the caller found the pipe");
        let is_held = self.common.extend(&mut slot.span, span);
        assert!(is_held, "what was held has moved out of the way");
    }

    #[cold]
    fn push_apart(&mut self, pipe: PipeId, span: Span) {
        let Some(slot) = find(&mut self.slots, pipe) else { return };
        let pending = slot.pending.get_or_insert_with(|| self.spares.take());
        let before = pending.copied;
        if !slot.span.is_empty() {
            pending.append_common(slot.span, &self.common, &mut self.apart, &mut self.shared);
            self.common.release(&mut slot.span);
        }
        pending.append_common(span, &self.common, &mut self.apart, &mut self.shared);
        self.held.change(slot.class, before, pending.copied);
        if pending.bytes > slot.bound as usize {
            slot.note_over(pipe, &mut self.over);
        }
    }

    /// Drops what is queued, except the frame of which a part has been sent already.
    pub(crate) fn cut(&mut self, pipe: PipeId) {
        let slot = find(&mut self.slots, pipe).expect("a session's pipe is open");
        // A frame under way has left the common bytes.
        self.common.release(&mut slot.span);
        let Some(pending) = slot.pending.as_mut() else { return }; // It had only shared bytes.
        pending.truncate(1, &mut self.shared);
        let keep = match pending.parts.front_mut() {
            Some(Part::Copied(bytes)) => {
                let end = frame_at(bytes, pending.sent).end;
                bytes.truncate(end);
                // It may be as much as the bound, of thousands of pipes that do not read.
                bytes.shrink_to_fit();
                end
            }
            Some(Part::Shared(bytes) | Part::SharedBatch(bytes)) => {
                let end = frame_at(bytes, pending.sent).end;
                self.shared.release(bytes);
                bytes.truncate(end);
                self.shared.hold(bytes);
                end
            }
            None => 0,
        };
        let left = keep.checked_sub(pending.sent);
        pending.bytes = left.expect("what was sent is part of the first frame");
        let before = pending.copied;
        let copied = |part: &Part| if let Part::Copied(bytes) = part { bytes.len() } else { 0 };
        pending.copied = pending.parts.front().map_or(0, copied);
        self.held.change(slot.class, before, pending.copied);
    }

    /// Shuts the pipe down once everything queued has been sent.
    pub(crate) fn close_when_empty(&mut self, pipe: PipeId) {
        self.change(pipe, |pending| pending.close_when_empty = true);
    }

    /// Bytes that wait for the pipe.
    pub(crate) fn queued(&mut self, pipe: PipeId) -> usize {
        self.slot(pipe).map_or(0, |slot| slot.waiting())
    }

    /// Changes what waits behind everything else, and books it.
    #[inline]
    fn change(&mut self, pipe: PipeId, edit: impl FnOnce(&mut Pending)) {
        let Some(slot) = find(&mut self.slots, pipe) else { return };
        slot.mark_dirty(pipe, &mut self.dirty);
        let pending = slot.pending.get_or_insert_with(|| self.spares.take());
        let before = pending.copied;
        if !slot.span.is_empty() {
            // What comes now comes behind it.
            pending.append_common(slot.span, &self.common, &mut self.apart, &mut self.shared);
            self.common.release(&mut slot.span);
        }
        edit(pending);
        self.held.change(slot.class, before, pending.copied);
        if pending.bytes > slot.bound as usize {
            slot.note_over(pipe, &mut self.over);
        }
    }

    /// Moves the pipes that have something to send into `into`, in the order in which they are to
    /// be offered. Each must be offered to its socket and reported through [`Outbox::sent`]; more for
    /// it may come until then.
    pub fn take_dirty(&mut self, into: &mut impl Extend<PipeId>) {
        into.extend(self.dirty.drain(..));
    }

    /// Pipes that got bytes since they were last taken.
    pub(crate) fn dirty(&self) -> &[PipeId] {
        &self.dirty
    }

    /// Whether large frames of more than `bytes` wait for the pipe.
    pub fn has_large(&self, pipe: PipeId, bytes: usize) -> bool {
        let Some(pending) = self.pending(pipe) else { return false };
        pending.bytes > bytes && pending.shared() > bytes
    }

    /// The pipe, which has something to send, is not offered in this turn. It must be offered later.
    pub fn defer(&mut self, pipe: PipeId) {
        if let Some(slot) = find(&mut self.slots, pipe) {
            slot.is_deferred = true;
        }
    }

    /// The next bytes of `pipe`, as at most `slices.len()` pieces; returns how many were filled. Those that it
    /// shares with a room come whole, and of the others no more than `most`.
    #[inline]
    pub fn slices<'a>(&'a self, pipe: PipeId, slices: &mut [IoSlice<'a>], most: usize) -> usize {
        let slot = self.slots.get(pipe.slot as usize);
        // The pipe may have ended since it was listed; see `find`.
        let Some(slot) = slot.filter(|slot| slot.generation == pipe.generation) else { return 0 };
        let filled = match &slot.pending {
            None => 0,
            Some(pending) => match pending.fill(slices, most) {
                (filled, true) => filled,
                (filled, false) => return filled,
            },
        };
        match slices.get_mut(filled) {
            Some(slice) if !slot.span.is_empty() => {
                *slice = IoSlice::new(self.common.get(slot.span));
                filled + 1
            }
            _ => filled,
        }
    }

    /// Records that the first `count` bytes were sent; 0 after the socket would have blocked.
    ///
    /// # Panics
    /// When that is more than waits for the pipe.
    #[inline]
    pub fn sent(&mut self, pipe: PipeId, count: usize) -> Flushed {
        let Some(slot) = find(&mut self.slots, pipe) else { return Flushed::Empty };
        if slot.pending.is_none() && slot.span.len() == count {
            // Most pipes have nothing of their own, and most sockets take all.
            slot.is_dirty = false;
            slot.is_deferred = false;
            self.common.release(&mut slot.span);
            return Flushed::Empty;
        }
        self.sent_some(pipe, count)
    }

    fn sent_some(&mut self, pipe: PipeId, count: usize) -> Flushed {
        let slot = find(&mut self.slots, pipe).expect("the caller found the pipe");
        slot.is_dirty = false;
        slot.is_deferred = false;
        let own = slot.pending.as_ref().map_or(0, |pending| pending.bytes).min(count);
        let before = slot.pending.as_ref().map_or(0, |pending| pending.copied);
        if let Some(pending) = slot.pending.as_mut() {
            pending.take(own, &mut self.shared);
        }
        let of_span = count - own;
        assert!(of_span <= slot.span.len(), "no more is sent than was offered");
        if of_span < slot.span.len() {
            // The common bytes do not wait for a slow socket. A frame under way stays whole, so
            // that its end can be found.
            let rest = self.common.get(slot.span);
            let from = frame_at(rest, of_span).start;
            let pending = slot.pending.get_or_insert_with(|| self.spares.take());
            pending.append(&rest[from..]);
            pending.take(of_span - from, &mut self.shared);
        }
        self.common.release(&mut slot.span);
        let pending = slot.pending.as_ref().expect("a pipe without it had unsent common bytes");
        if pending.bytes > 0 {
            self.held.change(slot.class, before, pending.copied);
            slot.is_blocked = true;
            return Flushed::More;
        }
        self.held.change(slot.class, before, 0);
        let close = pending.close_when_empty;
        if let Some(pending) = slot.pending.take() {
            self.retire(pending);
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

/// The pipe, unless it has ended. By design a pipe is named after its end: by members that leave
/// later in the turn, and by the runtime that was about to offer it. It has nothing to send then.
#[inline]
fn find(slots: &mut [PipeSlot], pipe: PipeId) -> Option<&mut PipeSlot> {
    slots.get_mut(pipe.slot as usize).filter(|slot| slot.generation == pipe.generation)
}

#[cfg(test)]
mod tests;
