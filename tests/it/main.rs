//! The server as a process, seen from its socket: command line, framing, bad input, durability.
#![forbid(unsafe_code)]

mod bad_input;
mod cli;
mod durability;
mod load;
mod rfc6455;
mod slow;
