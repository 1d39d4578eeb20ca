//! Real Redis servers, started and broken by the tests.

mod access;
mod adapter;
mod cluster;
mod executor;
mod faults;
mod orders;
mod relay;
mod rights;
mod sentinel;
mod server;
