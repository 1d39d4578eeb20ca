//! Throng beside other servers, and the programs that takes.

#![forbid(unsafe_code)]

pub mod cell;
pub mod measure;
pub mod peer;

pub mod outcome;
pub mod picture;
pub mod table;

pub mod floor;
