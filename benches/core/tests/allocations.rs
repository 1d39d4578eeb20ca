//! A shard that is at work allocates nothing for a message.

#![forbid(unsafe_code)]

use allocation_counter::measure;
use throng_core_benches::{Crowd, publishes};

/// Allocations of the shard in a time of many turns, in which nothing else is due, after a while of the same.
fn allocations(members: u32, publishes_per_turn: u32) -> u64 {
    let mut crowd = Crowd::new(members);
    let said = publishes(publishes_per_turn);
    let mut bytes = said.clone();
    let mut turns = |turns: u32| {
        for turn in 0..turns {
            bytes.copy_from_slice(&said);
            crowd.hear(turn % members, &mut bytes);
        }
    };
    turns(600);
    measure(|| turns(500)).count_total
}

#[test]
fn a_message_costs_no_allocation() {
    for members in [10, 100] {
        for publishes_per_turn in [1, 8] {
            let count = allocations(members, publishes_per_turn);
            assert_eq!(count, 0, "{members} members, {publishes_per_turn} publishes a turn");
        }
    }
}
