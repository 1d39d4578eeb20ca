//! The one clock: `CLOCK_MONOTONIC` in nanoseconds, shared by every process of a machine, so that a
//! stamp written by one generator process can be read by another.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock.
#[inline]
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock always exists");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

pub const SECOND_NS: u64 = 1_000_000_000;

#[must_use]
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[must_use]
pub fn nanos(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}
