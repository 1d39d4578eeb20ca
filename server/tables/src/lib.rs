//! Settings and metrics, each declared once, next to the code that uses it.
//!
//! [`settings!`] makes a struct of settings and the table of its rows: key, unit, range, default and
//! description. Files, environment, flags, `--help`, `check-config --explain` and
//! `server/docs/settings.md` are read from that table. [`metrics!`] makes a struct of counters and
//! the table of its families; `/metrics` and `server/docs/metrics.md` are written from it.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]
#![warn(missing_docs)]

pub mod metrics;
pub mod settings;
