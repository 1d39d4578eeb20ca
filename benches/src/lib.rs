//! Throng beside other servers, Throng at scale, and the programs that takes.

#![forbid(unsafe_code)]

pub mod environment;
pub mod flags;
pub mod measure;
pub mod server;
pub mod target;

pub mod cell;
pub mod outcome;
pub mod peer;
pub mod picture;
pub mod ratios;
pub mod table;

pub mod scale;

pub mod floor;
