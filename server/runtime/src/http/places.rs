//! So many places for what waits on a client, of which the oldest is taken away when there are too many.
//!
//! Its client has had the most time. A stranger who fills the places meets the others only when they
//! have waited longer than all of these.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

#[derive(Clone)]
pub(super) struct Places {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

/// The oldest has the lowest number.
#[derive(Default)]
struct Taken {
    next: u64,
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place, given back when dropped.
pub(super) struct Place {
    number: u64,
    lost: oneshot::Receiver<()>,
    places: Places,
}

impl Places {
    pub(super) fn new(most: usize) -> Places {
        Places { most, taken: Arc::default() }
    }

    /// Takes a place, from the oldest if there is none.
    pub(super) fn take(&self) -> Place {
        let (sender, lost) = oneshot::channel();
        let mut taken = self.taken();
        if taken.places.len() >= self.most {
            taken.places.pop_first();
        }
        let number = taken.next;
        taken.next += 1;
        taken.places.insert(number, sender);
        Place { number, lost, places: self.clone() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Completes when another has it.
    pub(super) async fn lost(mut self) {
        // Nothing is sent: the sender is dropped.
        let _: Result<(), _> = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    #[test]
    fn one_too_many_takes_the_place_of_the_oldest() {
        let places = Places::new(3);
        let mut waiting: Vec<_> = (0..3).map(|_| places.take()).collect();
        let lost = |waiting: &mut Vec<Place>| -> Vec<bool> {
            waiting.iter_mut().map(|it| it.lost.try_recv() == Err(TryRecvError::Closed)).collect()
        };
        assert_eq!(lost(&mut waiting), [false; 3]);
        // One that has ended gives its place back, wherever it stood.
        drop(waiting.remove(1));
        waiting.push(places.take());
        assert_eq!(lost(&mut waiting), [false; 3]);
        let _next = places.take();
        assert_eq!(lost(&mut waiting), [true, false, false]);
        drop(waiting);
        assert_eq!(places.taken().places.len(), 1);
    }
}
