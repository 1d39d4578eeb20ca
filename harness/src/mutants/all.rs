//! All mutants, after the correct server.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

use throng_reference::Mutant;

use super::attempt::attempt;
use super::correct::Correct;
use super::effort::Effort;
use super::server::Kind;
use super::trial::Trial;

/// Whether a mutant shows only while it is abused: its latency, memory or processor time is judged, alone.
pub fn is_abused(mutant: &Mutant) -> bool {
    matches!(Kind::of(mutant), Kind::Abused { .. })
}

/// Tries the mutants, after the correct server, and passes each trial to `progress` when it ends.
pub fn try_all(
    mutants: &[Mutant],
    effort: Effort<'_>,
    progress: &(dyn Fn(&Trial) + Sync),
) -> (Correct, Vec<Trial>) {
    let correct = Correct::run(mutants, effort);
    // Abused servers are judged by their latency: they are tried last, one at a time.
    let (abused, others): (Vec<_>, Vec<_>) =
        mutants.iter().enumerate().partition(|(_, mutant)| is_abused(mutant));
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
