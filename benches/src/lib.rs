//! Throng beside other servers, and the programs that takes.

#![forbid(unsafe_code)]

pub mod floor;
