//! The conformance cases, one table per chapter of the protocol or part of one.

mod acks;
mod chat;
mod engine;
mod heartbeat;
mod limits;
mod messages;
mod nodes;
mod polling;
mod presence;
mod rest;
mod socketio;
mod support;
mod transport;
mod unread;
mod upgrade;
mod websocket;

use crate::case::Case;

const TABLES: &[&[Case]] = &[
    transport::CASES,
    polling::CASES,
    websocket::CASES,
    engine::CASES,
    heartbeat::CASES,
    upgrade::CASES,
    socketio::CASES,
    acks::CASES,
    chat::CASES,
    messages::CASES,
    presence::CASES,
    unread::CASES,
    limits::CASES,
    rest::CASES,
    nodes::CASES,
    crate::property::CASES,
];

pub fn all() -> Vec<&'static Case> {
    TABLES.iter().flat_map(|table| table.iter()).collect()
}

pub fn find(id: &str) -> Option<&'static Case> {
    let id = id.split('[').next().unwrap_or(id);
    all().into_iter().find(|case| case.id == id)
}
