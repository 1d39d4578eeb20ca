//! Chapter 12: rooms of plain Socket.IO servers, whose events an events file names.

pub mod deliveries;
pub mod membership;
pub mod names;
pub mod rosters;
mod scenes;
