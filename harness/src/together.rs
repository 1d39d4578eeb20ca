//! The same on several threads, which begin at the same moment.

use std::panic::resume_unwind;
use std::sync::Barrier;
use std::thread;

/// What `act` makes of each item and its index. A panic in one thread is one here.
pub fn together<T: Sync, R: Send>(items: &[T], act: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(items.len());
    thread::scope(|scope| {
        let (barrier, act) = (&barrier, &act);
        let acting: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                scope.spawn(move || {
                    barrier.wait();
                    act(index, item)
                })
            })
            .collect();
        acting
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|why| resume_unwind(why)))
            .collect()
    })
}
