//! Real Redis servers, started and broken by the tests.

mod access;
mod adapter;
mod cluster;
mod executor;
mod faults;
mod orders;
mod sentinel;
mod server;
