//! Common bytes as they are for pipes that must not hold them as a span, copied once for all of them.

use bytes::Bytes;
use smallvec::SmallVec;

use super::SHARE_FROM_BYTES;
use super::common::{Common, Span};

/// Of so many spans at a time: a room's messages have a form for their author and one for the others, and the pipes of
/// a room wait since a few different turns.
const SPANS_MAX: usize = 8;

/// The copies, until common bytes may be others under the same span.
#[derive(Default)]
pub(super) struct Apart(SmallVec<[(Span, Bytes); 2]>);

impl Apart {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The copy of a span that is large enough to be shared.
    pub(super) fn of(&mut self, span: Span, common: &Common) -> Option<Bytes> {
        if span.len() < SHARE_FROM_BYTES {
            return None;
        }
        if let Some((_, frames)) = self.0.iter().find(|(of, _)| *of == span) {
            return Some(frames.clone());
        }
        if self.0.len() == SPANS_MAX {
            self.0.remove(0);
        }
        let frames = Bytes::copy_from_slice(common.get(span));
        self.0.push((span, frames.clone()));
        Some(frames)
    }
}
