//! Several nodes around a Redis that fails: a bounded batch, and determinism.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use throng_sim::run::{Options, run_seed, shards_of};

/// Stops the batch early on a slow machine.
const BUDGET: Duration = Duration::from_secs(12);
const SEEDS: std::ops::Range<u64> = 0..60;
const SEEDS_FOR_MARKS: u64 = 40;

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
    let start = Instant::now();
    let mut marks: BTreeMap<String, u64> = BTreeMap::new();
    let mut runs = 0;
    for seed in SEEDS {
        let options = options(seed);
        let report = run_seed(seed, options);
        assert_eq!(
            report.violation, None,
            "repro: cargo xtask sim --seed {seed} --shards {} --nodes {}",
            options.shards, options.nodes
        );
        for (name, count) in report.marks {
            *marks.entry(name).or_default() += count;
        }
        runs += 1;
        if start.elapsed() > BUDGET && runs >= SEEDS_FOR_MARKS {
            break;
        }
    }
    let still: Vec<&&str> =
        MUST_MOVE.iter().filter(|name| marks.get(**name).is_none_or(|count| *count == 0)).collect();
    assert!(still.is_empty(), "these never happened in {runs} seeds: {still:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace_on_several_nodes() {
    for seed in (0..SEEDS.end).step_by(17) {
        let (first, second) = (run_seed(seed, options(seed)), run_seed(seed, options(seed)));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.turns, second.turns, "seed {seed}");
    }
}
