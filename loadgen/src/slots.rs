//! Handshakes in flight on one thread: the pacing task waits here for a free slot.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

pub struct Slots {
    free: Cell<usize>,
    is_closed: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Slots {
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { free: Cell::new(count), is_closed: Cell::new(false), waiting: RefCell::new(None) }
    }

    /// Waits for a free slot and takes it, or until the slots are closed. One task at a time may wait.
    pub async fn take(&self) {
        poll_fn(|task| {
            if let Some(free) = self.free.get().checked_sub(1) {
                self.free.set(free);
                return Poll::Ready(());
            }
            if self.is_closed.get() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(task.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub fn release(&self) {
        self.free.set(self.free.get() + 1);
        self.wake();
    }

    /// The run is over: nobody waits any more.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}
