//! Throng and other servers under the same load.

pub mod cell;
pub mod outcome;
pub mod page;
pub mod peer;
pub mod picture;
pub mod ratios;
