//! The harness's own client: blocking sockets and threads, written for plainness.

pub mod chat;
pub mod http;
pub mod open;
pub mod options;
pub mod poller;
mod readers;
pub mod rest;
mod shared;
pub mod socket;
pub mod state;
pub mod target;
pub mod transcript;
pub mod websocket;

use std::fmt;

/// Why the client could not go on. The case decides what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The TCP connection could not be opened.
    Unreachable(String),
    /// Nothing came in time.
    Timeout(String),
    /// The peer closed or reset the connection.
    Closed(String),
    /// The peer sent what no protocol text allows.
    Protocol(String),
    /// The server refused a WebSocket handshake with this HTTP answer.
    Refused(http::Response),
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Unreachable(why) => write!(out, "cannot connect: {why}"),
            Trouble::Timeout(what) => write!(out, "timed out: {what}"),
            Trouble::Closed(why) => write!(out, "connection closed: {why}"),
            Trouble::Protocol(why) => write!(out, "protocol error: {why}"),
            Trouble::Refused(response) => {
                write!(out, "handshake refused: HTTP {} {}", response.status, response.text())
            }
        }
    }
}

impl std::error::Error for Trouble {}
