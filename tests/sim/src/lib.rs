//! Deterministic simulation of the shards: every choice comes from one finite string of bytes.
//! README.md says what is injected, what is checked, and how much that is worth.
#![forbid(unsafe_code)]

pub mod backplane;
pub mod bounds;
pub mod canary;
pub mod client;
pub mod cluster;
pub mod entropy;
pub mod facts;
pub mod lanes;
pub mod mirror;
pub mod onslaught;
mod receive;
pub mod run;
pub mod scenario;
pub mod script;
pub mod session;
pub mod settled;
pub mod shrink;
pub mod steps;
pub mod store;
pub mod trace;
pub mod world;
