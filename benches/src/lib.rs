//! Throng and other servers, Throng at scale, through Redis, and the programs that takes.

#![forbid(unsafe_code)]

pub mod environment;
pub mod flags;
pub mod measure;
mod median;
pub mod page;
pub mod result;
pub mod server;
pub mod target;
pub mod users;

pub mod peers;
pub mod redis;
pub mod scale;

pub mod floor;
