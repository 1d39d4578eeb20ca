//! How many bytes may wait.

use super::class::{Class, PerClass};

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
