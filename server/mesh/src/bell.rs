//! How a shard goes to sleep without missing items that its peers push.
//!
//! ```text
//! owner                              peer
//! is_parked = true                   push into a lane
//! fence                              fence
//! examine every lane                 if is_parked: is_parked = false, raise the signal
//! all empty: sleep until the signal
//! ```
//!
//! One of two sequentially consistent fences comes first: either the owner sees the pushed item, or
//! the peer sees `is_parked`. So no wake-up is lost, and no peer makes a system call while the owner
//! is awake.

use std::io;
#[cfg(not(loom))]
use std::os::fd::{AsFd, BorrowedFd};

use crate::signal::Signal;
use crate::sync::{AtomicBool, Ordering, fence};

/// Wakes one shard. Shared by the shard, its peers and the other threads that send to it.
pub struct Bell {
    is_parked: AtomicBool,
    signal: Signal,
}

impl Bell {
    /// A bell whose owner is awake.
    ///
    /// # Errors
    /// When the process has no free file descriptor.
    pub fn new() -> io::Result<Bell> {
        Ok(Bell { is_parked: AtomicBool::new(false), signal: Signal::new()? })
    }

    /// Wakes the owner if it is parked or about to park. Must be called after pushing.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        // The load keeps the cache line shared while the owner is awake; the exchange makes only
        // one of several peers pay for the system call.
        let relaxed = Ordering::Relaxed;
        if self.is_parked.load(relaxed)
            && self.is_parked.compare_exchange(true, false, relaxed, relaxed).is_ok()
        {
            self.signal.raise();
        }
    }

    /// Announces that the owner is going to sleep. `is_idle` examines everything that peers push to.
    /// If it returns `false`, the owner stays awake and this returns `false`. After `true` the owner
    /// waits for the descriptor, or anything else, and then calls [`Bell::wake`].
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

    /// The owner is awake, for any reason: peers need no system call.
    pub fn wake(&self) {
        self.is_parked.store(false, Ordering::Relaxed);
    }

    /// Clears the signal, so that the descriptor is no longer readable.
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

/// The descriptor is readable from the first ring of a parked owner until [`Bell::clear`].
#[cfg(not(loom))]
impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}
