//! Warnings that anyone can cause, logged once a minute.

use std::collections::HashMap;
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
        let due = self.0.lock().unwrap_or_else(PoisonError::into_inner).due(Instant::now());
        if let Some(left_out) = due {
            log(left_out);
        }
    }
}

/// The same for warnings about several settings: each has its minute.
#[derive(Debug, Default)]
pub struct RareWarnings(Mutex<HashMap<&'static str, State>>);

impl RareWarnings {
    /// Calls `log` with the number of warnings about `setting` that were left out, unless it is too early.
    pub fn log(&self, setting: &'static str, log: impl FnOnce(u64)) {
        if let Some(left_out) = self.due(setting, Instant::now()) {
            log(left_out);
        }
    }

    fn due(&self, setting: &'static str, now: Instant) -> Option<u64> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.entry(setting).or_default().due(now)
    }
}

impl State {
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.logged.is_some_and(|logged| now.duration_since(logged) < INTERVAL) {
            self.left_out += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute_is_logged_and_the_others_are_counted() {
        let mut state = State::default();
        let start = Instant::now();
        let mut at = |ms| state.due(start + Duration::from_millis(ms));
        assert_eq!((at(0), at(1), at(59_999)), (Some(0), None, None));
        assert_eq!((at(60_000), at(60_001), at(120_000)), (Some(2), None, Some(1)));
    }

    #[test]
    fn each_setting_has_its_own_minute() {
        let warnings = RareWarnings::default();
        let now = Instant::now();
        assert_eq!(warnings.due("a", now), Some(0));
        assert_eq!((warnings.due("a", now), warnings.due("b", now)), (None, Some(0)));
    }
}
