//! The bounded single-producer single-consumer ring buffer of a lane: `rtrb`, or a stand-in with the
//! same memory orderings that loom can explore.

#[cfg(loom)]
pub(crate) use modelled::{Consumer, Producer, ring};
#[cfg(not(loom))]
pub(crate) use real::{Consumer, Producer, ring};

#[cfg(not(loom))]
mod real {
    pub(crate) use rtrb::{Consumer, Producer};

    pub(crate) fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
        rtrb::RingBuffer::new(capacity)
    }
}

#[cfg(loom)]
#[allow(unsafe_code, reason = "the stand-in must race where the real ring would")]
mod modelled {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};

    struct Ring<T> {
        cells: Vec<UnsafeCell<Option<T>>>,
        popped: AtomicUsize,
        pushed: AtomicUsize,
    }

    // SAFETY: the producer accesses a cell only while `pushed - popped` excludes it, the consumer
    // only while it includes it; loom checks exactly that.
    unsafe impl<T: Send> Send for Ring<T> {}
    // SAFETY: as above.
    unsafe impl<T: Send> Sync for Ring<T> {}

    pub(crate) struct Producer<T>(Arc<Ring<T>>);
    pub(crate) struct Consumer<T>(Arc<Ring<T>>);

    pub(crate) fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let ring = Arc::new(Ring {
            cells: (0..capacity).map(|_| UnsafeCell::new(None)).collect(),
            popped: AtomicUsize::new(0),
            pushed: AtomicUsize::new(0),
        });
        (Producer(Arc::clone(&ring)), Consumer(ring))
    }

    impl<T> Producer<T> {
        pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
            let pushed = self.0.pushed.load(Ordering::Relaxed);
            if self.slots() == 0 {
                return Err(item);
            }
            let cell = &self.0.cells[pushed % self.0.cells.len()];
            // SAFETY: the consumer has released this cell (Acquire in `slots`).
            cell.with_mut(|cell| unsafe { *cell = Some(item) });
            self.0.pushed.store(pushed + 1, Ordering::Release);
            Ok(())
        }

        pub(crate) fn slots(&self) -> usize {
            let pushed = self.0.pushed.load(Ordering::Relaxed);
            self.0.cells.len() - (pushed - self.0.popped.load(Ordering::Acquire))
        }
    }

    impl<T> Consumer<T> {
        pub(crate) fn pop(&mut self) -> Result<T, ()> {
            if self.is_empty() {
                return Err(());
            }
            let popped = self.0.popped.load(Ordering::Relaxed);
            let cell = &self.0.cells[popped % self.0.cells.len()];
            // SAFETY: the producer has published this cell (Acquire in `is_empty`).
            let item = cell.with_mut(|cell| unsafe { (*cell).take() });
            self.0.popped.store(popped + 1, Ordering::Release);
            item.ok_or(())
        }

        pub(crate) fn slots(&self) -> usize {
            let popped = self.0.popped.load(Ordering::Relaxed);
            self.0.pushed.load(Ordering::Acquire) - popped
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.slots() == 0
        }
    }
}
