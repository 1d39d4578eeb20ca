//! How mutants are tried.

use std::path::Path;

/// How many at a time, and how much of each.
#[derive(Clone, Copy)]
pub struct Effort<'a> {
    /// Mutants at a time.
    pub jobs: usize,
    /// Run every case against each mutant, not only those that name one of its clauses.
    pub all_cases: bool,
    /// throng-harness itself, for servers that need a process of their own.
    pub program: &'a Path,
}
