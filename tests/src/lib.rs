//! Support for the end-to-end tests in `it/`: a chat session, and a WebSocket that can also send what
//! no library allows. What starts a server is in `kit/`; the tests with real clients are in `js/`,
//! `python/` and `rust-client/`.
#![forbid(unsafe_code)]

pub mod chat;
pub mod ws;

pub use throng_kit::{Signal, eventually, http, server};
