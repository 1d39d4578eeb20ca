//! Whose bytes wait.

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
pub(super) struct PerClass<T>(pub(super) [T; 4]);

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
