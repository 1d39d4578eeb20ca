//! The harness's own client: blocking sockets and threads.

pub mod chat;
pub mod http;
pub mod member;
pub mod open;
pub mod options;
pub mod poller;
mod readers;
pub mod rest;
pub mod shared;
pub mod socket;
pub mod state;
pub mod target;
pub mod tls;
pub mod transcript;
pub mod websocket;

use std::fmt;

use throng_codec::Malformed;

/// Why a client operation failed. The case decides what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The TCP connection could not be opened.
    Unreachable(String),
    /// Nothing arrived in time.
    Timeout(String),
    /// The peer closed or reset the connection.
    Closed(String),
    /// The peer violated the protocol.
    Protocol(String),
    /// It was not asked: users are given, and what would make or end them is not the harness's to ask.
    Withheld(String),
    /// The server refused a WebSocket handshake with this HTTP answer.
    Refused(http::Response),
}

impl fmt::Display for ClientError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable(why) => write!(out, "cannot connect: {why}"),
            ClientError::Timeout(what) => write!(out, "timed out: {what}"),
            ClientError::Closed(why) => write!(out, "connection closed: {why}"),
            ClientError::Protocol(why) => write!(out, "protocol error: {why}"),
            ClientError::Withheld(why) => out.write_str(why),
            ClientError::Refused(response) => {
                write!(out, "handshake refused: HTTP {} {}", response.status, response.text())
            }
        }
    }
}

impl std::error::Error for ClientError {}

impl From<std::io::Error> for ClientError {
    fn from(why: std::io::Error) -> ClientError {
        ClientError::Closed(why.to_string())
    }
}

impl From<Malformed> for ClientError {
    fn from(why: Malformed) -> ClientError {
        ClientError::Protocol(why.to_string())
    }
}
