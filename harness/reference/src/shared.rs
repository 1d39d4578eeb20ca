//! The one lock around the world.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::world::World;

/// The world as one node shows it.
#[derive(Clone)]
pub struct Shared {
    pub world: Arc<Mutex<World>>,
    pub node: usize,
}

pub fn lock(shared: &Shared) -> MutexGuard<'_, World> {
    match shared.world.lock() {
        Ok(guard) => guard,
        // A thread that panicked has lost its connection; the others continue.
        Err(poisoned) => poisoned.into_inner(),
    }
}
