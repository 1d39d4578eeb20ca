//! Lanes: one item from one shard to another.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::thread;

use divan::Bencher;
use divan::counter::ItemsCount;
use throng_mesh::{Bell, lane};

fn main() {
    divan::main();
}

/// Push and pop on one thread: the cost without a second core.
#[divan::bench]
fn push_and_pop(bencher: Bencher<'_, '_>) {
    let bell = Arc::new(Bell::new().expect("an eventfd"));
    let (mut sender, mut receiver) = lane::<u64>(1024, bell);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        assert!(sender.push(7).is_ok());
        receiver.pop()
    });
}

/// A batch over to another thread and an answer back.
#[divan::bench(args = [1, 64])]
fn there_and_back(bencher: Bencher<'_, '_>, batch: usize) {
    let bell = || Arc::new(Bell::new().expect("an eventfd"));
    let (mut to, mut from_here) = lane::<u64>(1024, bell());
    let (mut back, mut answers) = lane::<u64>(1024, bell());
    let echo = thread::spawn(move || {
        loop {
            match from_here.pop() {
                Some(u64::MAX) => return,
                Some(item) => assert!(back.push(item).is_ok()),
                None => thread::yield_now(),
            }
        }
    });
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        for item in 0..batch as u64 {
            assert!(to.push(item).is_ok());
        }
        for item in 0..batch as u64 {
            loop {
                match answers.pop() {
                    Some(answer) => break assert_eq!(answer, item),
                    None => thread::yield_now(),
                }
            }
        }
    });
    assert!(to.push(u64::MAX).is_ok());
    echo.join().expect("the echo thread ends");
}
