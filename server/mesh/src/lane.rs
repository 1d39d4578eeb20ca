//! One bounded queue from one shard to another.

use crate::bell::Bell;
use crate::ring::{Consumer, Producer, ring};
use crate::sync::Arc;

/// The lane is full: the item comes back.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

pub struct Sender<T> {
    items: Producer<T>,
    capacity: usize,
    bell: Arc<Bell>,
    /// Something was pushed and the receiver's bell was not rung since.
    owes_ring: bool,
}

pub struct Receiver<T> {
    items: Consumer<T>,
}

/// A lane of `capacity` items whose receiver sleeps on `bell`.
pub fn lane<T>(capacity: usize, bell: Arc<Bell>) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = ring(capacity);
    (Sender { items: producer, capacity, bell, owes_ring: false }, Receiver { items: consumer })
}

impl<T> Sender<T> {
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Free slots. Only the receiver changes it behind our back, and only upwards.
    pub fn room(&self) -> usize {
        self.items.slots()
    }

    /// Queues `item`; the receiver need not see it before [`Sender::ring`].
    ///
    /// # Errors
    /// [`Full`] when there is no slot.
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
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop().ok()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.items.slots()
    }
}
