//! Finds out what the target offers before the first case: what it lacks is reported as not
//! supported, never as passed.

use std::time::Duration;

use serde_json::json;
use throng_codec::engine::Protocol;

use crate::capabilities::Capabilities;
use crate::client::ClientError;
use crate::client::http::Request;
use crate::client::options::{Options, Transport};
use crate::client::rest::{Rest, User};
use crate::client::socket::Socket;
use crate::client::target::Target;
use crate::client::transcript::Transcript;
use crate::combo::{Combo, E3P, E3W, E4P, E4W};

/// Probes the target; fails only when it cannot be reached at all.
pub fn probe(target: &Target) -> Result<Capabilities, ClientError> {
    target.dial()?;
    let log = Transcript::default().log("probe");
    let mut found = Capabilities::default();
    for combo in [E4W, E4P, E3W, E3P] {
        let Ok(socket) = Socket::connect(target, options(combo), &log) else {
            continue;
        };
        let open = socket.open();
        found.ping_interval_ms = open.ping_interval.as_millis() as u64;
        found.ping_timeout_ms = open.ping_timeout.as_millis() as u64;
        found.max_payload = open.max_payload.or(found.max_payload);
        match (combo.protocol, combo.transport) {
            (Protocol::Eio3, Transport::Polling) => found.eio3_polling = true,
            (Protocol::Eio3, Transport::Websocket) => found.eio3_websocket = true,
            (Protocol::Eio4, Transport::Polling) => found.eio4_polling = true,
            (Protocol::Eio4, Transport::Websocket) => found.eio4_websocket = true,
        }
        found.upgrade |= open.upgrades.iter().any(|name| name == "websocket");
        let answer = socket.emit("message", &[json!("throng-harness")]);
        let back = answer.is_ok()
            && socket
                .wait_event(Duration::from_millis(300), "message-back", |e| {
                    e.name == "message-back"
                })
                .is_ok();
        found.echo |= back;
        socket.close();
    }
    let rest = Rest { target: target.clone(), log: log.clone() };
    let email = format!("probe{}@example.com", std::process::id());
    let body = json!({ "name": email, "password": "correct horse" }).to_string();
    let headers = &[("Content-Type", "application/json")];
    let request = Request { method: "POST", path: "/api/register", headers, body: body.as_bytes() };
    let answer = rest.call(&request);
    let user = match answer {
        Ok(answer) if answer.json()["errno"] == json!(0) => User::parse(&answer.json()),
        // The user may exist from an earlier run against the same server.
        Ok(answer) if answer.json()["errno"] == json!(1) => rest.login(&email).ok(),
        _ => None,
    };
    found.chat = user.is_some();
    if let (Some(user), Some(combo)) = (user, found.preferred()) {
        let options = Options { token: Some(user.token), ..options(combo) };
        if let Ok(socket) = Socket::connect(target, options, &log) {
            let room = json!({ "roomid": 999_999_000 + u64::from(std::process::id() % 999) });
            let joined = socket.ask("room", &[room], Duration::from_secs(5));
            found.rooms_on_demand = joined.is_ok_and(|answer| answer["ok"] == json!(true));
        }
    }
    Ok(found)
}

fn options(combo: Combo) -> Options {
    Options::new(combo.protocol, combo.transport)
}
