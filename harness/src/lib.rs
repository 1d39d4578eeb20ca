//! Holds any server to the written protocol, over real sockets and nothing else.
#![forbid(unsafe_code)]

pub mod case;
pub mod cases;
pub mod cli;
pub mod client;
pub mod codec;
pub mod commands;
pub mod context;
pub mod known;
pub mod latency;
pub mod mutants;
pub mod probe;
pub mod property;
pub mod reference;
pub mod report;
pub mod runner;
pub mod skips;
