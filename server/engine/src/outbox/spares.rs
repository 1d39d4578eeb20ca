//! Buffers of pipes that have nothing to send, for the next ones that have.

use super::{Part, Pending};

const COUNT_MAX: usize = 4096;
/// Of all of them together: a shard at rest must not sit on what a storm of large frames took.
const BYTES_MAX: usize = 1024 * 1024;

#[derive(Default)]
pub(super) struct Spares {
    /// Boxed as the slots hold them, so that reuse moves a pointer and an idle slot stays small.
    #[expect(clippy::vec_box, reason = "the boxes themselves are reused")]
    kept: Vec<Box<Pending>>,
    bytes: usize,
}

impl Spares {
    pub(super) fn take(&mut self) -> Box<Pending> {
        let Some(pending) = self.kept.pop() else { return Box::default() };
        self.bytes -= capacity_of(&pending);
        pending
    }

    pub(super) fn keep(&mut self, mut pending: Box<Pending>) {
        pending.sent = 0;
        pending.bytes = 0;
        pending.copied = 0;
        pending.close_when_empty = false;
        pending.parts.truncate(1);
        if let Some(Part::Copied(bytes)) = pending.parts.front_mut() {
            bytes.clear();
        }
        let capacity = capacity_of(&pending);
        if self.kept.len() < COUNT_MAX && self.bytes + capacity <= BYTES_MAX {
            self.bytes += capacity;
            self.kept.push(pending);
        }
    }
}

impl Spares {
    /// Asserts that the kept capacity is counted and bounded.
    pub(super) fn check(&self) {
        let held: usize = self.kept.iter().map(|pending| capacity_of(pending)).sum();
        assert_eq!(held, self.bytes, "spare capacity accounted is capacity held");
        assert!(self.bytes <= BYTES_MAX && self.kept.len() <= COUNT_MAX, "spares are bounded");
    }
}

fn capacity_of(pending: &Pending) -> usize {
    match pending.parts.front() {
        Some(Part::Copied(bytes)) => bytes.capacity(),
        Some(Part::Shared(_) | Part::SharedBatch(_)) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(bytes: usize) -> Box<Pending> {
        let mut pending = Box::<Pending>::default();
        pending.append(&vec![7; bytes]);
        pending
    }

    #[test]
    fn a_kept_buffer_comes_back_empty() {
        let mut spares = Spares::default();
        spares.keep(used(100));
        let pending = spares.take();
        assert_eq!((pending.bytes, pending.sent, pending.parts.len()), (0, 0, 1));
        assert!(capacity_of(&pending) >= 100);
        assert_eq!(spares.bytes, 0);
    }

    #[test]
    fn neither_bytes_nor_count_grow_beyond_their_bounds() {
        let mut spares = Spares::default();
        for _ in 0..3 {
            spares.keep(used(BYTES_MAX / 2));
        }
        assert_eq!((spares.kept.len(), spares.bytes), (2, BYTES_MAX));
        let mut spares = Spares::default();
        for _ in 0..=COUNT_MAX {
            spares.keep(used(1));
        }
        assert_eq!(spares.kept.len(), COUNT_MAX);
    }
}
