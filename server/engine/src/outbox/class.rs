//! Whose bytes wait, and how many may.

use std::ops::{Index, IndexMut};

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Class {
    /// A session whose user is not known, or no session at all.
    #[default]
    Anonymous,
    /// A session whose user is known.
    Identified,
    /// A plain WebSocket echo, which the conformance binary serves.
    Echo,
    /// It carries no session any more, only its last bytes.
    Closing,
}

impl Class {
    pub(crate) const ALL: [Class; 4] =
        [Class::Anonymous, Class::Identified, Class::Echo, Class::Closing];
}

/// One value for each class.
#[derive(Clone, Copy, Debug, Default)]
struct PerClass<T>([T; 4]);

impl<T> Index<Class> for PerClass<T> {
    type Output = T;

    fn index(&self, class: Class) -> &T {
        &self.0[class as usize]
    }
}

impl<T> IndexMut<Class> for PerClass<T> {
    fn index_mut(&mut self, class: Class) -> &mut T {
        &mut self.0[class as usize]
    }
}

/// Bytes that may wait for one pipe.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds(PerClass<u32>);

impl Bounds {
    pub(crate) fn new(anonymous: u32, identified: u32, echo: u32) -> Bounds {
        // What waits when a pipe begins to close may be what it was allowed before.
        let closing = anonymous.max(identified).max(echo);
        Bounds(PerClass([anonymous, identified, echo, closing]))
    }

    pub(super) fn of(&self, class: Class) -> u32 {
        self.0[class]
    }
}

/// Bytes that all pipes of a class hold for themselves alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held(PerClass<usize>);

impl Held {
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
