//! The simulation as a test: seeds that once failed, a bounded batch of others, determinism, and
//! the proof that the checkers can fail.

mod batch;
mod canaries;
mod cluster;
mod corpus;
mod explore;
mod onslaught;
mod shrinking;
