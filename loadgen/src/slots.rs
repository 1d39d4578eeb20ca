//! Handshakes in flight on one thread: the pacing task waits here for a free slot.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

pub struct Slots {
    free: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

impl Slots {
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { free: Cell::new(count), waiting: RefCell::new(None) }
    }

    /// Waits for a free slot and takes it. One task at a time may wait.
    pub async fn take(&self) {
        poll_fn(|task| {
            if let Some(free) = self.free.get().checked_sub(1) {
                self.free.set(free);
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(task.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub fn release(&self) {
        self.free.set(self.free.get() + 1);
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}
