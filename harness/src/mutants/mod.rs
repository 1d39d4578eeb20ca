//! Shows that the harness detects errors: it is run against servers with one thing wrong.
//!
//! A mutant is judged by what is new: a result counts against it only if the same case passed on the correct reference
//! server, in the same invocation, with the same seed, and fails twice on the mutant. It breaks a clause if such a case names the clause. Clauses that
//! no mutant breaks show gaps: in the mutants or in the cases.
//!
//! | module | what is in it |
//! |---|---|
//! | [`server`] | reference servers to run against: one node, two, with default limits, in a process of their own |
//! | [`trial`] | one mutant, and what failed because of it |
//! | [`correct`] | what passes on the correct server |
//! | [`mod@attempt`] | the cases against one mutant |
//! | [`matrix`], [`page`] | clause by mutant, as figures and as a page |

pub mod attempt;
pub mod correct;
pub mod matrix;
pub mod page;
pub mod server;
pub mod trial;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use throng_reference::Mutant;

use attempt::attempt;
use correct::Correct;
use server::Kind;
use trial::Trial;

/// How mutants are tried.
#[derive(Clone, Copy)]
pub struct Effort<'a> {
    /// Mutants at a time.
    pub jobs: usize,
    /// Run every case against each mutant, not only those that name one of its clauses.
    pub all_cases: bool,
    /// throng-harness itself, for servers that need a process of their own.
    pub program: &'a Path,
}

/// Tries the mutants, after the correct server, and passes each trial to `progress` when it ends.
pub fn try_all(
    mutants: &[Mutant],
    effort: Effort<'_>,
    progress: &(dyn Fn(&Trial) + Sync),
) -> (Correct, Vec<Trial>) {
    let correct = Correct::run(mutants, effort);
    // Abused servers are judged by their latency: they are tried last, one at a time.
    let is_abused =
        |(_, mutant): &(usize, &Mutant)| matches!(Kind::of(mutant), Kind::Abused { .. });
    let (abused, others): (Vec<_>, Vec<_>) = mutants.iter().enumerate().partition(is_abused);
    let queue: Mutex<VecDeque<(usize, &Mutant)>> = Mutex::new(others.into());
    let trials: Mutex<Vec<(usize, Trial)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..effort.jobs.max(1) {
            scope.spawn(|| {
                while let Some((index, mutant)) =
                    queue.lock().ok().and_then(|mut queue| queue.pop_front())
                {
                    let trial = attempt(mutant, &correct, effort);
                    progress(&trial);
                    if let Ok(mut trials) = trials.lock() {
                        trials.push((index, trial));
                    }
                }
            });
        }
    });
    let mut trials = trials.into_inner().unwrap_or_default();
    for (index, mutant) in abused {
        let trial = attempt(mutant, &correct, effort);
        progress(&trial);
        trials.push((index, trial));
    }
    trials.sort_by_key(|(index, _)| *index);
    (correct, trials.into_iter().map(|(_, trial)| trial).collect())
}
