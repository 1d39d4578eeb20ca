//! Whether a connection of the HTTP thread is a user's.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Whether the request that a connection has or had last is of a user's session. Clones are about the same connection.
#[derive(Clone)]
pub struct IsIdentified(Arc<AtomicBool>);

impl From<bool> for IsIdentified {
    fn from(is_identified: bool) -> IsIdentified {
        IsIdentified(Arc::new(AtomicBool::new(is_identified)))
    }
}

impl IsIdentified {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, is_identified: bool) {
        self.0.store(is_identified, Relaxed);
    }
}
