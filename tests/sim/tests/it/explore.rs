//! A bounded batch of seeds, none of which may break a rule, and what must have happened in them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use throng_sim::run::{Options, run_seed};

pub struct Batch {
    pub seeds: Range<u64>,
    /// Stops the batch early on a slow machine.
    pub budget: Duration,
    /// So many seeds are enough for `must_move` to have moved.
    pub seeds_for_marks: u64,
    /// What must happen in some of the seeds; a fault that never fires proves nothing.
    pub must_move: &'static [&'static str],
}

impl Batch {
    pub fn run(&self, options: fn(u64) -> Options) {
        let start = Instant::now();
        let mut marks: BTreeMap<String, u64> = BTreeMap::new();
        let mut runs: u32 = 0;
        for seed in self.seeds.clone() {
            let options = options(seed);
            let report = run_seed(seed, options);
            assert_eq!(report.violation, None, "{}", repro(seed, options));
            for (name, count) in report.marks {
                *marks.entry(name).or_default() += count;
            }
            runs += 1;
            if start.elapsed() > self.budget && u64::from(runs) >= self.seeds_for_marks {
                break;
            }
        }
        let is_still = |name: &&&str| marks.get(**name).is_none_or(|count| *count == 0);
        let still: Vec<_> = self.must_move.iter().filter(is_still).collect();
        assert!(still.is_empty(), "these never happened in {runs} seeds: {still:?}");
        let rate = f64::from(runs) / start.elapsed().as_secs_f64();
        println!("{runs} schedules, {rate:.0} per second");
    }
}

/// The same seed twice gives the same trace.
pub fn repeats(seed: u64, options: Options) {
    let (first, second) = (run_seed(seed, options), run_seed(seed, options));
    assert_eq!(first.digest, second.digest, "seed {seed}");
    assert_eq!(first.turns, second.turns, "seed {seed}");
    // Keeping the lines changes nothing.
    let readable = run_seed(seed, Options { is_readable: true, ..options });
    assert_eq!(first.digest, readable.digest, "seed {seed}");
    assert!(!readable.lines.is_empty());
}

pub fn repro(seed: u64, options: Options) -> String {
    let Options { nodes, shards, .. } = options;
    format!("repro: cargo xtask sim --seed {seed} --shards {shards} --nodes {nodes}")
}
