//! The request head of a fresh connection, read just far enough to upgrade it to WebSocket here or to
//! hand it to a full HTTP server.

mod answer;
mod head;

pub use answer::{EngineError, refusal, switching_protocols};
pub use head::{HEAD_BYTES_MAX, Head, Request, Upgrade, head, is_same_origin};

pub use crate::Fault;

#[cfg(test)]
mod tests;
