//! So many places for what waits on a client, of which the oldest is taken away when there are too many.
//!
//! Its client has had the most time. A stranger who fills the places meets the others only when they
//! have waited longer than all of these.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

pub(super) struct Places {
    most: usize,
    /// The oldest first. One that has ended does not listen any more.
    taken: Mutex<VecDeque<oneshot::Sender<()>>>,
}

impl Places {
    pub(super) fn new(most: usize) -> Places {
        Places { most, taken: Mutex::default() }
    }

    /// Takes a place, from the oldest if there is none. What is returned completes when the place is
    /// lost, and gives it back when dropped.
    pub(super) fn take(&self) -> oneshot::Receiver<()> {
        let (sender, lost) = oneshot::channel();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.front().is_some_and(oneshot::Sender::is_closed) {
            taken.pop_front();
        }
        if taken.len() >= self.most {
            taken.pop_front();
        }
        taken.push_back(sender);
        lost
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
        let lost = |waiting: &mut Vec<oneshot::Receiver<()>>| -> Vec<bool> {
            waiting.iter_mut().map(|it| it.try_recv() == Err(TryRecvError::Closed)).collect()
        };
        assert_eq!(lost(&mut waiting), [false; 3]);
        // One that has ended gives its place back.
        drop(waiting.remove(0));
        waiting.push(places.take());
        assert_eq!(lost(&mut waiting), [false; 3]);
        let _next = places.take();
        assert_eq!(lost(&mut waiting), [true, false, false]);
    }
}
