//! Shows that the harness detects errors: it is run against servers with one thing wrong.
//!
//! A mutant is judged by what is new: a result counts against it only if the same case passed on the correct reference
//! server, in the same invocation, with the same seed, and if it fails twice. The mutant breaks a clause if such a case
//! names the clause. Clauses that no mutant breaks show gaps: in the mutants or in the cases.
//!
//! | module | what is in it |
//! |---|---|
//! | [`server`] | reference servers to run against: one node, two, with default limits, in a process of their own |
//! | [`trial`] | one mutant, and what failed because of it |
//! | [`correct`] | what passes on the correct server |
//! | [`mod@attempt`], [`effort`] | the cases against one mutant, and how many of them |
//! | [`all`] | all mutants |
//! | [`matrix`], [`page`] | clause by mutant, as figures and as a page |

pub mod all;
pub mod attempt;
pub mod correct;
pub mod effort;
pub mod matrix;
pub mod page;
pub mod server;
pub mod trial;
