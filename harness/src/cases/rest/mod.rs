//! Chapter 9: the HTTP API.

pub mod accounts;
pub mod files;
pub mod history;
pub mod routes;
pub mod tokens;
