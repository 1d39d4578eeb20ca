//! Whole nodes against the model: faults, and what must be so afterwards.

mod bounds;
mod faults;
mod random;
pub mod world;
