//! The conformance cases, one table per part of a chapter of the protocol.
//!
//! Each table begins with `prelude`, the vocabulary that cases share: `scenes` sets up rooms with
//! sessions in them, `checks` judges values, acknowledgements, events and HTTP answers, `alive` judges
//! whether a session is usable or has ended as it must.

mod abuse;
mod acks;
mod alive;
mod binary;
mod checks;
mod crowds;
mod deltas;
mod disconnect;
mod engine;
mod equal;
mod errors;
mod heartbeat;
mod identity;
mod images;
mod jsonp;
mod limits;
mod many;
mod messages;
mod namespaces;
mod nodes;
mod plain;
mod polling;
mod prelude;
mod presence;
mod quiet;
mod rates;
mod repeats;
mod rest;
mod restart;
mod rooms;
mod scenes;
mod socketio;
mod tabs;
mod transport;
mod unread;
mod upgrade;
mod websocket;

use crate::case::Case;

const TABLES: &[&[Case]] = &[
    transport::CASES,
    polling::CASES,
    jsonp::CASES,
    websocket::CASES,
    engine::CASES,
    heartbeat::CASES,
    upgrade::CASES,
    socketio::CASES,
    namespaces::CASES,
    acks::CASES,
    binary::CASES,
    disconnect::CASES,
    errors::CASES,
    identity::CASES,
    rooms::CASES,
    tabs::CASES,
    messages::CASES,
    repeats::CASES,
    equal::CASES,
    many::CASES,
    quiet::CASES,
    images::CASES,
    rates::CASES,
    presence::CASES,
    crowds::CASES,
    deltas::CASES,
    unread::CASES,
    limits::CASES,
    rest::routes::CASES,
    rest::tokens::CASES,
    rest::accounts::CASES,
    rest::history::CASES,
    rest::files::CASES,
    nodes::CASES,
    restart::CASES,
    plain::membership::CASES,
    plain::deliveries::CASES,
    plain::names::CASES,
    plain::rosters::CASES,
    abuse::REPLIES,
    abuse::UNFINISHED,
    abuse::FLOODS,
    crate::property::CASES,
];

pub fn all() -> Vec<&'static Case> {
    TABLES.iter().flat_map(|table| table.iter()).collect()
}

pub fn find(id: &str) -> Option<&'static Case> {
    let id = id.split('[').next().unwrap_or(id);
    all().into_iter().find(|case| case.id == id)
}
