//! One bounded queue from one shard to another.

use crate::bell::Bell;
use crate::ring::{Consumer, Producer, ring};
use crate::sync::Arc;

/// The lane is full; contains the item that was not queued.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// The sending end of a lane. Owned by one shard.
pub struct Sender<T> {
    items: Producer<T>,
    capacity: usize,
    bell: Arc<Bell>,
    /// Items were pushed since the receiver's bell was last rung.
    owes_ring: bool,
}

/// The receiving end of a lane. Owned by one shard.
pub struct Receiver<T> {
    items: Consumer<T>,
}

/// Creates a lane of `capacity` items; its receiver parks on `bell`.
pub fn lane<T>(capacity: usize, bell: Arc<Bell>) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = ring(capacity);
    (Sender { items: producer, capacity, bell, owes_ring: false }, Receiver { items: consumer })
}

impl<T> Sender<T> {
    /// Slots of the lane, free or not.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Free slots. The receiver may increase the number at any time; nothing but
    /// [`push`](Sender::push) decreases it.
    pub fn free_slots(&self) -> usize {
        self.items.slots()
    }

    /// Queues `item`. A parked receiver sees it only after [`Sender::ring`].
    ///
    /// # Errors
    /// [`Full`] when no slot is free.
    pub fn push(&mut self, item: T) -> Result<(), Full<T>> {
        #[cfg(not(loom))]
        let pushed = self.items.push(item).map_err(|rtrb::PushError::Full(item)| Full(item));
        #[cfg(loom)]
        let pushed = self.items.push(item).map_err(Full);
        self.owes_ring |= pushed.is_ok();
        pushed
    }

    /// Wakes the receiver if anything was pushed since the last ring: once per batch.
    pub fn ring(&mut self) {
        if std::mem::take(&mut self.owes_ring) {
            self.bell.ring();
        }
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest item, `None` if the lane is empty.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop().ok()
    }

    /// No item waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of items that wait.
    pub fn len(&self) -> usize {
        self.items.slots()
    }
}
