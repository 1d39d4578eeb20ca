//! Whole nodes against the model: faults, and the state that must hold afterwards.

mod bounds;
pub mod cards;
mod faults;
mod random;
pub mod world;
