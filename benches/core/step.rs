//! The core: one publish into a room, through one shard, to bytes for every member.

#![forbid(unsafe_code)]

use divan::Bencher;
use divan::counter::ItemsCount;

use throng_core_benches::{Crowd, publishes};

fn main() {
    divan::main();
}

/// Publishes in one turn, each of 128 bytes, into a room of `members`.
fn fan_out(bencher: Bencher<'_, '_>, members: u32, count: u32) {
    let mut crowd = Crowd::new(members);
    let frames = publishes(count);
    bencher
        .counter(ItemsCount::new(members * count))
        .with_inputs(|| frames.clone())
        .bench_local_refs(|bytes| {
            let before = crowd.sent_bytes;
            crowd.hear(members / 2, bytes);
            let each = (crowd.sent_bytes - before) / (members * count) as usize;
            assert!(each > 128, "every member gets every message, {each} bytes each");
        });
}

/// Items are deliveries.
#[divan::bench(args = [10, 1000])]
fn one_publish(bencher: Bencher<'_, '_>, members: u32) {
    fan_out(bencher, members, 1);
}

#[divan::bench(args = [10, 1000])]
fn sixty_four_publishes_in_one_turn(bencher: Bencher<'_, '_>, members: u32) {
    fan_out(bencher, members, 64);
}
