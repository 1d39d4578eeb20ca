//! What must hold of all queued bytes between two turns.

use throng_wire::ws::frame_at;

use super::{COMPACT_FROM_BYTES, Class, Outbox, Part, PipeSlot, SharedFrames};
use crate::ids::PipeId;

impl Outbox {
    /// Asserts that every byte is accounted for, and that every pipe with bytes will be offered.
    pub(crate) fn check(&self) {
        let mut listed: Vec<PipeId> = self.dirty.clone();
        listed.sort_unstable();
        for pair in listed.windows(2) {
            assert_ne!(pair[0], pair[1], "a pipe is listed as dirty once");
        }
        for pipe in &listed {
            let slot = &self.slots[pipe.slot as usize];
            let is_present = slot.generation == pipe.generation;
            assert!(!is_present || slot.is_dirty, "a listed pipe is marked dirty");
        }
        assert!(self.over.is_empty(), "a turn sees to all pipes over their bounds");
        for slot in &self.slots {
            slot.check();
            assert!(!slot.is_over, "a pipe over its bound is listed");
        }
        for class in Class::ALL {
            let of_class = self.slots.iter().filter(|slot| slot.class == class);
            let held: usize = of_class.filter_map(|slot| Some(slot.pending.as_ref()?.copied)).sum();
            assert_eq!(self.held(class), held, "bytes booked are bytes held");
        }
        let mut shared = SharedFrames::default();
        for part in
            self.slots.iter().filter_map(|slot| slot.pending.as_ref()).flat_map(|it| &it.parts)
        {
            if let Part::Shared(frames) | Part::SharedBatch(frames) = part {
                shared.hold(frames);
            }
        }
        assert_eq!(self.shared, shared, "shared frames counted are those that wait");
        self.common.check(self.slots.iter().map(|slot| slot.span));
        self.spares.check();
    }

    /// Bytes that count for the bound of the pipe, shared ones included.
    pub(crate) fn counted(&self, pipe: PipeId) -> usize {
        let slot = self.slots.get(pipe.slot as usize);
        let slot = slot.filter(|slot| slot.generation == pipe.generation);
        slot.map_or(0, PipeSlot::counted)
    }

    /// Whether anything is queued for the pipe.
    pub(crate) fn is_idle(&self, pipe: PipeId) -> bool {
        let slot = self.slots.get(pipe.slot as usize);
        slot.filter(|slot| slot.generation == pipe.generation)
            .is_none_or(|slot| slot.span.is_empty() && slot.pending.is_none())
    }
}

impl PipeSlot {
    fn check(&self) {
        let PipeSlot { is_dirty, is_blocked, is_deferred, span, .. } = *self;
        assert!(!(is_dirty && is_blocked), "a blocked pipe is not offered");
        assert!(!is_blocked || span.is_empty(), "shared bytes do not wait for a blocked pipe");
        assert!(!is_deferred || is_dirty, "it is offered");
        let has_bytes = !span.is_empty() || self.pending.is_some();
        assert!(!has_bytes || is_dirty || is_blocked, "a pipe with bytes will be offered");
        if let Some(pending) = &self.pending {
            let held: usize = pending.parts.iter().map(|part| part.as_slice().len()).sum();
            assert_eq!(pending.bytes + pending.sent, held, "bytes accounted are bytes held");
            if let Some(Part::Copied(first)) = pending.parts.front() {
                let is_compact =
                    pending.sent < COMPACT_FROM_BYTES || pending.sent <= first.len() / 2;
                // The frame under way is kept whole.
                let is_one = frame_at(first, pending.sent).start == 0;
                assert!(is_compact || is_one, "what was sent is not kept");
            }
            let copied = pending.parts.iter().map(|part| match part {
                Part::Copied(bytes) => bytes.len(),
                Part::Shared(_) | Part::SharedBatch(_) => 0,
            });
            assert_eq!(pending.copied, copied.sum::<usize>(), "copied bytes are accounted");
        }
    }
}
