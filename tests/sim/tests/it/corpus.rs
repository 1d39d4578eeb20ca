//! Every seed that ever found something is run again, for ever.

use throng_sim::run::{Options, run_seed};

use crate::explore::repro;

#[test]
fn seeds_that_once_failed_pass() {
    let seeds = include_str!("../../seeds.txt");
    for line in seeds.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let mut words = line.splitn(4, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(seed), Some(nodes), Some(shards)) = (number(), number(), number()) else {
            panic!(
                "a line of seeds.txt has a seed, how many nodes of how many shards, and a story: {line}"
            );
        };
        let options = Options { nodes: nodes as u8, ..Options::new(shards as u8) };
        let report = run_seed(seed, options);
        assert_eq!(report.violation, None, "{line}\n{}", repro(seed, options));
    }
}
