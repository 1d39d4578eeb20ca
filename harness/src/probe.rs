//! Finds out what the target offers before the first case: what it lacks is reported as not
//! supported, never as passed.

use std::thread;
use std::time::Duration;

use serde_json::json;
use throng_spec::Profile;

use crate::capabilities::{Capabilities, Capability};
use crate::client::ClientError;
use crate::client::http::Response;
use crate::client::open::Open;
use crate::client::options::{Options, Transport};
use crate::client::rest::{Rest, User};
use crate::client::socket::Socket;
use crate::client::target::Target;
use crate::client::transcript::{Log, Transcript};
use crate::combo::{Combo, E3P, E3W, E4P, E4W};
use crate::credentials::Credentials;

/// How long an answer may take here: a target that answers nothing is known within ten seconds.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
const ECHO_WAIT: Duration = Duration::from_millis(300);
/// How much of an unexpected answer is quoted.
const QUOTED_CHARS_MAX: usize = 120;

/// Probes the target. The profile of upstream registers no user.
///
/// # Errors
/// Why it cannot be tested at all: it cannot be reached, or it answers no handshake.
pub fn probe(
    target: &Target,
    profile: Profile,
    credentials: Option<&Credentials>,
) -> Result<Capabilities, String> {
    target.dial().map_err(|why| why.to_string())?;
    let target = &target.with_answer_wait(ANSWER_WAIT);
    let log = &Transcript::default().log("probe");
    let mut found = Capabilities::default();
    let lack = |found: &mut Capabilities, capability: Capability, why: String| {
        found.lacking.insert(capability.name(), why);
    };
    let combos = [E4W, E4P, E3W, E3P];
    // All sessions have the same token: what is found must not depend on whose it is.
    let given = match credentials.filter(|_| profile == Profile::Upstream) {
        Some(credentials) => {
            let token = credentials.of_user(0)?.ok_or("no token is given")?;
            Some((credentials, token))
        }
        None => None,
    };
    let sessions = thread::scope(|scope| {
        let given = given.as_ref();
        let probe = |combo| scope.spawn(move || session(target, combo, given, log));
        let threads = combos.map(probe);
        threads.map(|thread| thread.join().expect("a probe does not panic"))
    });
    let mut upgrades = None;
    for (combo, session) in combos.into_iter().zip(sessions) {
        let (open, echoes) = match session {
            Ok(session) => session,
            Err(why) => {
                lack(&mut found, Capability::of(combo), describe(&why));
                continue;
            }
        };
        found.ping_interval_ms = open.ping_interval.as_millis() as u64;
        found.ping_timeout_ms = open.ping_timeout.as_millis() as u64;
        found.max_payload = open.max_payload.or(found.max_payload);
        match Capability::of(combo) {
            Capability::Eio3Polling => found.eio3_polling = true,
            Capability::Eio3Websocket => found.eio3_websocket = true,
            Capability::Eio4Polling => found.eio4_polling = true,
            _ => found.eio4_websocket = true,
        }
        if combo.transport == Transport::Polling {
            found.upgrade |= open.upgrades.iter().any(|name| name == "websocket");
            upgrades = upgrades.or(Some(open.upgrades));
        }
        found.echo |= echoes;
    }
    let Some(combo) = found.preferred() else {
        // The answer to a GET says most about what is there instead.
        let why = found.instead_of(Capability::Eio4Polling);
        let path = &target.engine_path;
        return Err(format!("no Engine.IO handshake at {path}, a GET gets: {why}"));
    };
    if !found.upgrade {
        let why = match upgrades {
            Some(upgrades) => format!("the open packet offers the upgrades {upgrades:?}"),
            None => "there is no polling session".to_owned(),
        };
        lack(&mut found, Capability::Upgrade, why);
    }
    if !found.echo {
        let why = "`message` is not answered with `message-back`".to_owned();
        lack(&mut found, Capability::Echo, why);
    }
    if profile == Profile::Upstream {
        let why = "the profile upstream has no chat".to_owned();
        lack(&mut found, Capability::Chat, why.clone());
        lack(&mut found, Capability::Rooms, why);
        return Ok(found);
    }
    let rest = Rest { target: target.clone(), log: log.clone() };
    let found_user = match credentials {
        None => user(&rest),
        Some(credentials) => given_user(&rest, credentials),
    };
    match found_user {
        Ok(user) => {
            found.chat = true;
            let rooms = rest.rooms(&user.token).unwrap_or_default();
            found.rooms = rooms.iter().filter_map(|room| room["id"].as_u64()).collect();
            match join(target, combo, user, log) {
                Ok(()) => found.rooms_on_demand = true,
                Err(why) => lack(&mut found, Capability::Rooms, why),
            }
        }
        Err(why) => {
            lack(&mut found, Capability::Chat, why);
            lack(&mut found, Capability::Rooms, "there is no chat".to_owned());
        }
    }
    Ok(found)
}

/// Opens a session and closes it: its open packet, and whether it has the echo surface.
fn session(
    target: &Target,
    combo: Combo,
    given: Option<&(&Credentials, String)>,
    log: &Log,
) -> Result<(Open, bool), ClientError> {
    let mut options = options(combo);
    if let Some((credentials, token)) = given {
        options = credentials.options(token, options);
    }
    let socket = Socket::connect(target, options, log)?;
    let open = socket.open();
    let asked = socket.emit("message", &[json!("throng-harness")]).is_ok();
    let is_echo = |event: &crate::client::state::Event| event.name == "message-back";
    let echoes = asked && socket.wait_event(ECHO_WAIT, "message-back", is_echo).is_ok();
    socket.close();
    Ok((open, echoes))
}

/// A user of this run, or what was answered instead.
fn user(rest: &Rest) -> Result<User, String> {
    let email = format!("probe{}@example.com", std::process::id());
    let answer = rest.post_registration(&email).map_err(|why| describe(&why));
    let answer = answer.map_err(|why| format!("POST /api/register: {why}"))?;
    let user = match answer.json()["errno"].as_i64() {
        Some(0) => User::parse(&answer.json()),
        // The user may exist from an earlier run against the same server.
        Some(1) => rest.login(&email).ok(),
        _ => None,
    };
    user.ok_or_else(|| format!("POST /api/register: {}", describe_answer(&answer)))
}

/// The first of the users that are given, or what was answered instead.
fn given_user(rest: &Rest, credentials: &Credentials) -> Result<User, String> {
    let token = credentials.of_user(0)?.ok_or("no token is given")?;
    rest.user_of(&token).map_err(|why| describe(&why))
}

fn join(target: &Target, combo: Combo, user: User, log: &Log) -> Result<(), String> {
    let options = Options { token: Some(user.token), ..options(combo) };
    let room = json!({ "roomid": 999_999_000 + u64::from(std::process::id() % 999) });
    let joined = Socket::connect(target, options, log)
        .and_then(|socket| socket.ask("room", &[room], ANSWER_WAIT));
    match joined {
        Ok(answer) if answer["ok"] == json!(true) => Ok(()),
        Ok(answer) => Err(format!("a new room is answered with {answer}")),
        Err(why) => Err(describe(&why)),
    }
}

fn options(combo: Combo) -> Options {
    Options::new(combo.protocol, combo.transport)
}

/// The error for somebody who looks for what is wrong with the target, or with its address.
fn describe(error: &ClientError) -> String {
    match error {
        ClientError::Refused(response) => describe_answer(response),
        ClientError::Timeout(what) => format!("no answer in {ANSWER_WAIT:?} ({what})"),
        other => other.to_string(),
    }
}

fn describe_answer(answer: &Response) -> String {
    let kind = if answer.has_type("text/html") { ", an HTML page" } else { "" };
    let text = answer.text();
    let mut quoted: String = text.trim().chars().take(QUOTED_CHARS_MAX).collect();
    if quoted.len() < text.trim().len() {
        quoted.push('…');
    }
    format!("HTTP {}{kind}: {quoted:?}", answer.status)
}
