//! Open-loop load generator for Socket.IO and plain WebSocket broadcast servers.
//!
//! It measures what users feel: the time from when a message was *due* to each of its deliveries,
//! and whether each delivery came, once, in order. It marks a run void when its own numbers cannot
//! be trusted. The README documents scenarios, the JSON report, exit codes and void reasons.

#![forbid(unsafe_code)]

pub mod cli;
pub mod outputs;
pub mod sweep;
pub mod sweep_page;
pub mod usage;

pub mod prerequisites;
pub mod run;
pub mod scenario;

mod evidence;
pub mod figures;
pub mod phase;
pub mod plan;
pub mod rest;
pub mod slo;
pub mod target;
pub mod tls;
pub mod users;

pub mod credentials;
mod jwt;

pub mod thread;

mod actions;
mod client;
mod context;
mod life;
mod polling;
mod publish;

pub mod dialect;
pub mod session;
pub mod shared;

mod ended;
mod http;
mod ledger;
pub mod order;
mod packets;
mod precedence;
mod publisher;
mod readiness;

pub mod arrivals;
pub mod body;
pub mod clock;
pub mod frame;
pub mod payload;
pub mod stamp;

mod alarm;
pub mod hints;
mod slots;

pub mod ceiling;
pub mod clock_check;
pub mod compare;
pub mod csv;
pub mod exposition;
pub mod hgrm;
pub mod html;
pub mod live;
pub mod merge;
pub mod page;
pub mod picture;
pub mod proc;
pub mod repetitions;
pub mod report;
pub mod samples;
pub mod slope;
pub mod stats;
pub mod summary;
pub mod table;
pub mod verdict;
pub mod wilcoxon;
