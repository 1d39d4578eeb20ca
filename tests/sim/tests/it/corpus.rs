//! Every seed that ever found something is run again, for ever.

use throng_sim::run::{Options, run_seed};

#[test]
fn seeds_that_once_failed_pass() {
    let seeds = include_str!("../../seeds.txt");
    for line in seeds.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(seed), Some(shards)) = (number(), number()) else {
            panic!("a line of seeds.txt has a seed, a number of shards and a story: {line}");
        };
        let report = run_seed(seed, Options::new(shards as u8));
        assert_eq!(
            report.violation, None,
            "{line}\nrepro: cargo xtask sim --seed {seed} --shards {shards}"
        );
    }
}
