//! Warnings that anyone can cause, logged once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// A warning that is logged at most once a minute, with the number of those left out since.
#[derive(Debug, Default)]
pub struct RareWarning(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logged: Option<Instant>,
    left_out: u64,
}

impl RareWarning {
    /// Calls `log` with the number of warnings that were left out, unless it is too early.
    pub fn log(&self, log: impl FnOnce(u64)) {
        if let Some(left_out) = self.due(Instant::now()) {
            log(left_out);
        }
    }

    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.logged.is_some_and(|logged| now.duration_since(logged) < INTERVAL) {
            state.left_out += 1;
            return None;
        }
        state.logged = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute_is_logged_and_the_others_are_counted() {
        let warning = RareWarning::default();
        let start = Instant::now();
        let at = |ms| warning.due(start + Duration::from_millis(ms));
        assert_eq!((at(0), at(1), at(59_999)), (Some(0), None, None));
        assert_eq!((at(60_000), at(60_001), at(120_000)), (Some(2), None, Some(1)));
    }
}
