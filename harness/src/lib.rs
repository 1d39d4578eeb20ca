//! Holds any server to the written protocol, over real sockets and nothing else.
#![forbid(unsafe_code)]

pub mod capabilities;
pub mod case;
pub mod cases;
pub mod cli;
pub mod client;
pub mod combo;
pub mod commands;
pub mod context;
pub mod known;
pub mod latency;
pub mod mutants;
pub mod outcome;
pub mod probe;
pub mod property;
pub mod report;
pub mod run;
pub mod runner;
pub mod skips;

pub use throng_codec as codec;
