//! Tests any server for conformance to the written protocol, over real sockets and nothing else.
//!
//! The program `throng-harness` is described in the README. Where to find what:
//!
//! | modules | what is in them |
//! |---|---|
//! | [`cli`], [`commands`] | the command line |
//! | [`case`], [`cases`] | conformance cases, one table per part of a chapter, tied to clauses |
//! | [`property`] | random scripts of many clients against a small model of the chat |
//! | [`abuse`] | what abuses a target while others watch; the inputs are rows of the cases `abuse.*` |
//! | [`mutants`] | the cases against the reference server with one defect each |
//! | [`latency`] | delivery latency and completeness at a fixed rate |
//! | [`capabilities`], [`mod@probe`] | what the target offers; cases for missing features are skipped |
//! | [`mod@run`], [`context`], [`shapes`], [`deliveries`], [`borrowed`], [`credentials`], [`outcome`], [`combo`] | what a case works with and reports |
//! | [`runner`], [`profile`], [`demands`], [`report`], [`output`], [`known`], [`skips`] | selection, verdicts, what must be judged, reports and lists |
//! | [`client`] | sockets, HTTP, WebSocket, Engine.IO and Socket.IO sessions, chat users |
//!
//! `throng-codec` holds the packets and frames, `throng-reference` the reference server. No crate of the
//! harness depends on server code; a test checks it.
//!
//! A case is a function with an entry in the `cases!` table of its module:
//!
//! ```
//! let case = throng_harness::cases::find("msg.author").expect("a case of chapter 4");
//! assert!(case.clauses.contains(&"CHAT-39"));
//! ```
#![forbid(unsafe_code)]

pub mod abuse;
pub mod borrowed;
pub mod capabilities;
pub mod case;
pub mod cases;
pub mod cli;
pub mod client;
pub mod combo;
pub mod commands;
pub mod context;
pub mod credentials;
pub mod deliveries;
pub mod demands;
pub mod invariants;
pub mod known;
pub mod latency;
pub mod mutants;
pub mod outcome;
pub mod output;
pub mod probe;
pub mod profile;
pub mod property;
pub mod report;
pub mod run;
pub mod runner;
pub mod shapes;
pub mod skips;
pub mod slo;
mod together;
