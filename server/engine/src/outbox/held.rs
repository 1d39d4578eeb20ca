//! How many bytes wait.

use super::class::{Class, PerClass};

/// Bytes that all pipes of a class hold for themselves alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeldByClass(PerClass<usize>);

impl HeldByClass {
    pub(super) fn of(&self, class: Class) -> usize {
        self.0[class]
    }

    /// One pipe held `before` and holds `after`.
    #[inline]
    pub(super) fn change(&mut self, class: Class, before: usize, after: usize) {
        let sum = &mut self.0[class];
        *sum = *sum + after - before;
    }
}
