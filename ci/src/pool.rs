//! Jobs that run next to each other.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

use crate::Outcome;

/// Does all jobs, two at a time; the order of the results is that of their ends. One thread takes jobs from the front,
/// the other from the back: put what waits most to the front and what computes to the back.
pub fn two_at_a_time<J: Send, R: Send>(
    jobs: Vec<J>,
    work: impl Fn(J) -> Outcome<R> + Sync,
) -> Outcome<Vec<R>> {
    let jobs = Mutex::new(VecDeque::from(jobs));
    let results = Mutex::new(Vec::new());
    let take = |is_front: bool| {
        let mut jobs = jobs.lock().expect("no thread panics while it takes a job");
        if is_front { jobs.pop_front() } else { jobs.pop_back() }
    };
    let work_off = |is_front: bool| {
        while let Some(job) = take(is_front) {
            let result = work(job)?;
            results.lock().expect("no thread panics while it adds a result").push(result);
        }
        Outcome::Ok(())
    };
    thread::scope(|scope| {
        let back = scope.spawn(|| work_off(false));
        work_off(true)?;
        back.join().expect("a job does not panic")
    })?;
    Ok(results.into_inner().expect("no thread panics while it adds a result"))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::two_at_a_time;
    use crate::Failure;

    #[test]
    fn two_jobs_run_at_a_time_and_each_runs_once() {
        let both = Barrier::new(2);
        let done = two_at_a_time((0..6).collect(), |job| {
            both.wait();
            Ok(job)
        });
        let mut done = done.unwrap_or_else(|_| panic!("no job fails"));
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_job_that_cannot_be_done_fails_the_whole() {
        let work = |job: u32| {
            if job == 1 { Err(Failure::Failed("cannot".to_owned())) } else { Ok(()) }
        };
        assert!(matches!(two_at_a_time(vec![0, 1], work), Err(Failure::Failed(_))));
        assert!(matches!(two_at_a_time(vec![1, 0], work), Err(Failure::Failed(_))));
    }
}
