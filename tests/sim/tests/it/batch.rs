//! A bounded batch of new seeds; `cargo xtask sim --minutes M` goes on.

use std::time::Duration;

use throng_sim::entropy::Stream;
use throng_sim::run::{Options, run, run_seed, shards_of};

use crate::explore::{Batch, repeats};

const SEEDS: std::ops::Range<u64> = 0..1_000;

const MUST_MOVE: &[&str] = &[
    "closed_ping_timeout",
    "closed_parse_error",
    "closed_transport_close",
    "closed_transport_error",
    "closed_limit",
    "closed_polling_overlap",
    "deliveries",
    "joins",
    "lane_refusals_request",
    "leaves",
    "opened_polling_eio3",
    "opened_polling_eio4",
    "opened_ws_eio3",
    "opened_ws_eio4",
    "refused_busy",
    "refused_not_member",
    "refused_rate_limited",
    "refused_room_limit",
    "refused_storage_unavailable",
    "refused_unauthenticated",
    "refused_unknown_event",
    "refused_unknown_room",
    "roster_broadcasts",
    "seen delta_applied",
    "seen identity_changed",
    "seen publish_acked",
    "seen store_failures",
    "seen upgrade_finished",
    "stale_deliveries",
    "upgrades",
];

fn options(seed: u64) -> Options {
    Options::new(shards_of(seed, 1))
}

#[test]
fn a_batch_of_seeds_breaks_no_rule_and_meets_every_fault() {
    let budget = Duration::from_secs(25);
    Batch { seeds: SEEDS, budget, seeds_for_marks: 300, must_move: MUST_MOVE }.run(options);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in (0..SEEDS.end).step_by(53) {
        repeats(seed, options(seed));
    }
}

#[test]
fn other_seeds_give_other_traces() {
    let digests: std::collections::BTreeSet<u64> =
        (0..40).map(|seed| run_seed(seed, Options::new(2)).digest).collect();
    assert_eq!(digests.len(), 40);
}

#[test]
fn a_spent_stream_ends_the_run() {
    for len in [0, 1, 39, 40, 41, 46, 100] {
        let stream = Stream(vec![0; len]);
        assert_eq!(run(&stream, Options::new(2)).violation, None, "{len} bytes");
    }
}
