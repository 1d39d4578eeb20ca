//! How a shard goes to sleep without missing what its peers push.
//!
//! ```text
//! owner                              peer
//! is_parked = true                   push into a lane
//! fence                              fence
//! look into every lane               if is_parked: is_parked = false, raise the signal
//! empty: sleep until the signal
//! ```
//!
//! Of two sequentially consistent fences one comes first: either the owner's look sees the push,
//! or the peer sees `is_parked`. So no wake-up is lost, and a peer of an owner that is awake makes
//! no system call.

use std::io;
#[cfg(not(loom))]
use std::os::fd::{AsFd, BorrowedFd};

use crate::signal::Signal;
use crate::sync::{AtomicBool, Ordering, fence};

/// Wakes one shard. Shared by the shard, its peers and the side thread.
pub struct Bell {
    is_parked: AtomicBool,
    signal: Signal,
}

impl Bell {
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Bell> {
        Ok(Bell { is_parked: AtomicBool::new(false), signal: Signal::new()? })
    }

    /// Wakes the owner if it sleeps or is about to. Call it after pushing.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        // The load keeps the line shared while the owner is awake; the exchange lets one peer of
        // many pay for the system call.
        let relaxed = Ordering::Relaxed;
        if self.is_parked.load(relaxed)
            && self.is_parked.compare_exchange(true, false, relaxed, relaxed).is_ok()
        {
            self.signal.raise();
        }
    }

    /// Announces sleep. `is_idle` looks into everything peers may push to; when it says `false`
    /// the owner stays awake and this returns `false`. After `true` the owner waits for
    /// the descriptor (or anything else) and then calls [`Bell::wake`].
    #[must_use]
    pub fn park(&self, is_idle: impl FnOnce() -> bool) -> bool {
        self.is_parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_idle() {
            return true;
        }
        self.wake();
        false
    }

    /// The owner is awake, for whatever reason: spare the peers their system calls.
    pub fn wake(&self) {
        self.is_parked.store(false, Ordering::Relaxed);
    }

    /// Takes the signal back, so that the descriptor is not readable any more.
    pub fn clear(&self) {
        self.signal.clear();
    }

    #[cfg(loom)]
    pub(crate) fn wait(&self) {
        self.signal.wait();
    }

    #[cfg(loom)]
    pub(crate) fn is_raised(&self) -> bool {
        self.signal.is_raised()
    }
}

/// Readable from a ring that found the owner parked until [`Bell::clear`].
#[cfg(not(loom))]
impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}
