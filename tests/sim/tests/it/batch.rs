//! A bounded batch of new seeds; `cargo xtask sim --minutes M` goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use throng_sim::entropy::Stream;
use throng_sim::run::{Options, run, run_seed, shards_of};

/// Stops the batch early on a slow machine.
const BUDGET: Duration = Duration::from_secs(25);
const SEEDS: std::ops::Range<u64> = 0..1_000;
/// So many seeds are enough for the counters below to have moved.
const SEEDS_FOR_MARKS: u64 = 300;

/// What must happen in some of the seeds; a fault that never fires proves nothing.
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

#[test]
fn a_batch_of_seeds_breaks_no_rule_and_meets_every_fault() {
    let start = Instant::now();
    let mut marks: BTreeMap<String, u64> = BTreeMap::new();
    let mut runs = 0;
    for seed in SEEDS {
        let shards = shards_of(seed, 1);
        let report = run_seed(seed, Options::new(shards));
        assert_eq!(
            report.violation, None,
            "repro: cargo xtask sim --seed {seed} --shards {shards}"
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
    println!(
        "{runs} schedules, {:.0} per second",
        f64::from(runs as u32) / start.elapsed().as_secs_f64()
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in (0..SEEDS.end).step_by(53) {
        let options = Options::new(shards_of(seed, 1));
        let (first, second) = (run_seed(seed, options), run_seed(seed, options));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.turns, second.turns, "seed {seed}");
        // Keeping the lines changes nothing.
        let told = run_seed(seed, Options { is_readable: true, ..options });
        assert_eq!(first.digest, told.digest, "seed {seed}");
        assert!(!told.lines.is_empty());
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
