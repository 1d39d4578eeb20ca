//! The written protocol as data: clauses, vectors and schemas.
//!
//! The text files of this folder are authoritative; the README explains how to read them. This crate
//! only parses them: it contains no codec and no rule of its own, so that servers, clients and
//! harnesses can all depend on it without depending on each other.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod clause;
mod schema;
mod trace;
mod vector;

pub use clause::{
    Clause, Level, PREFIXES, Party, Profile, clause, clauses, parse as parse_clauses, texts,
};
pub use schema::{Schema, client_events, schema, schemas};
pub use trace::{Citation, citations};
pub use vector::{Direction, Origin, Protocol, Vector, Verdict, vector_files, vectors};

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests read the files of the data")]
mod tests;
