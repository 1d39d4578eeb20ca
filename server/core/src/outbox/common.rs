//! Bytes that many pipes get in this turn, laid down once.

/// Above this, pipes get copies: a turn may take whole lanes full of batches.
const COMMON_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Capacity kept from one turn to the next.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// A part of the common bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

#[derive(Default)]
pub(super) struct Common {
    bytes: Vec<u8>,
    /// Pipes with a span that is not empty. When the last one has been sent, the bytes are gone.
    holders: u32,
}

impl Common {
    pub(super) fn add(&mut self, bytes: &[u8]) -> Option<Span> {
        if self.holders == 0 {
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_BYTES_MAX {
                self.bytes = Vec::new();
            }
        }
        if self.bytes.len() + bytes.len() > COMMON_BYTES_MAX {
            return None;
        }
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Some(Span { start, end: self.bytes.len() as u32 })
    }

    pub(super) fn get(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    /// Adds `span` to what a pipe `held`. False: it does not lie right behind.
    #[inline]
    pub(super) fn extend(&mut self, held: &mut Span, span: Span) -> bool {
        if held.is_empty() {
            self.holders += u32::from(!span.is_empty());
            *held = span;
            true
        } else if held.end == span.start {
            held.end = span.end;
            true
        } else {
            false
        }
    }

    #[inline]
    pub(super) fn release(&mut self, held: &mut Span) {
        if !held.is_empty() {
            self.holders -= 1;
            *held = Span::default();
        }
    }
}
