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
        // A thread that panicked took its connection with it; the others go on.
        Err(poisoned) => poisoned.into_inner(),
    }
}
