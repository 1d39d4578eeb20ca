//! Several nodes around a Redis that fails: a bounded batch, and determinism.

use std::time::Duration;

use throng_sim::run::{Options, shards_of};

use crate::explore::{Batch, repeats};

const SEEDS: std::ops::Range<u64> = 0..60;

const MUST_MOVE: &[&str] = &[
    "cluster_messages",
    "fetches",
    "lane_refusals_signal",
    "seen node_asleep",
    "seen node_cut",
    "seen node_killed",
    "seen redis_emptied",
    "seen redis_full",
    "seen redis_gone",
    "seen redis_paused",
    "seen redis_slow",
];

fn options(seed: u64) -> Options {
    let nodes = 2 + u8::from(seed.is_multiple_of(3));
    Options { nodes, ..Options::new(shards_of(seed, nodes)) }
}

#[test]
fn a_batch_of_seeds_over_several_nodes_breaks_no_rule_and_meets_every_fault() {
    let budget = Duration::from_secs(12);
    Batch { seeds: SEEDS, budget, seeds_for_marks: 40, must_move: MUST_MOVE }.run(options);
}

#[test]
fn the_same_seed_gives_the_same_trace_on_several_nodes() {
    for seed in (0..SEEDS.end).step_by(17) {
        repeats(seed, options(seed));
    }
}
