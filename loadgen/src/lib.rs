//! Open-loop load generator for Socket.IO and plain WebSocket broadcast servers.
//!
//! It measures what users feel: the time from when a message was *due* to each of its deliveries,
//! and whether each delivery came, once, in order. It says when its own numbers must not be
//! believed. The README documents scenarios, the JSON report, exit codes and void reasons.

#![forbid(unsafe_code)]

pub mod cli;
pub mod run;
pub mod scenario;

pub mod phase;
pub mod plan;
pub mod slo;
pub mod target;
pub mod users;

pub mod actions;
pub mod client;
pub mod polling;
pub mod readiness;
pub mod session;
pub mod shared;
pub mod thread;

pub mod alarm;
pub mod arrivals;
pub mod clock;
pub mod frame;
pub mod ledger;
pub mod payload;
pub mod publisher;
pub mod slots;
pub mod stamp;

pub mod compare;
pub mod hgrm;
pub mod html;
pub mod live;
pub mod merge;
pub mod proc;
pub mod report;
pub mod samples;
pub mod stats;
pub mod summary;
pub mod svg;
pub mod verdict;
