//! The HTTP API over its router, with a real store.

mod account;
mod chat;
mod common;
mod requests;
mod site;
mod tokens;
