//! Chapter 8: limits that the other chapters do not cover.

use throng_codec::websocket::{Mask, frame};

use super::prelude::*;
use crate::client::state::Event;
use crate::client::websocket::upgrade;

cases! {
    half_a_request "lim.half-a-request" ["LIM-5"] over NONE needs NOTHING
        does "sends an incomplete request head and waits"
        expects "the connection is closed within the handshake timeout";
    large_head "lim.large-head" ["LIM-8"] over NONE needs NOTHING
        does "sends a request head of 64 KiB, as the first of a connection and as the third"
        expects "a 4xx status, or the end of the connection";
    slow_consumer "lim.slow-consumer" ["LIM-15", "LIM-50", "CHAT-84"] over ONLY_E4W needs CHAT
        does "stops reading in a room while another member sends megabytes as fast as allowed"
        expects "the session is closed and leaves the room; the other members lose nothing";
    sessions_per_user "lim.sessions-per-user" ["LIM-12", "LIM-53"] over ONLY_E4W needs CHAT
        does "opens 70 sessions of one user"
        expects "sessions beyond the limit are closed with code 4004";
    lifted "lim.lifted" ["LIM-27", "LIM-23", "LIM-31"] over ONLY_E4W needs CHAT
        does "sends 40 logins at once on one session"
        expects "all are accepted, or some are rate_limited; the session stays open";
    close_is_prompt "lim.close-is-prompt" ["LIM-58"] over WEBSOCKET needs NOTHING
        does "makes the server close, with and without answering its close frame"
        expects "the TCP connection ends within 1 s and 5 s respectively";
}

/// Messages without waiting for the acknowledgement of each.
const AT_ONCE: usize = 16;
/// Five times what LIM-15 says by default: the system's own buffers are far smaller than the rest.
const SLOW_BYTES_MAX: usize = 40 << 20;

fn half_a_request(context: &Context) -> Outcome {
    let mut connection = context.connection()?;
    connection.send_bytes(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n")?;
    let timeout = Duration::from_millis(13_000);
    let start = Instant::now();
    match connection.receive(timeout) {
        Err(ClientError::Closed(_)) => Ok(()),
        // An answer such as 408 may precede the end.
        Ok(response) if response.status >= 400 => Ok(()),
        Ok(response) => fail("the end of the connection", format!("status {}", response.status)),
        Err(_) => {
            fail("the end of the connection", format!("it is open after {:?}", start.elapsed()))
        }
    }
}

fn large_head(context: &Context) -> Outcome {
    for before in [0, 2] {
        context.step(format!("a large head behind {before} others"));
        large_head_behind(context, before)?;
    }
    Ok(())
}

fn large_head_behind(context: &Context, before: u32) -> Outcome {
    let mut connection = context.connection()?;
    let none = context.path("transport=none");
    for _ in 0..before {
        refused(&connection.exchange(&Request::get(&none), context.wait())?, UNKNOWN_TRANSPORT)?;
    }
    let head = format!(
        "GET {}?EIO=4&transport=polling HTTP/1.1\r\nHost: {}\r\nX-Padding: {}\r\n\r\n",
        context.target().engine_path,
        context.target().authority,
        "x".repeat(64 * 1024)
    );
    // The server may close before it has read everything.
    let _ = connection.send_bytes(head.as_bytes());
    match connection.receive(context.wait()) {
        Err(ClientError::Closed(_)) => Ok(()),
        Ok(response) if (400..500).contains(&response.status) => Ok(()),
        Ok(response) => fail("a 4xx status or the end", format!("status {}", response.status)),
        Err(other) => fail("a 4xx status or the end", other.to_string()),
    }
}

fn slow_consumer(context: &Context) -> Outcome {
    let (room, sleeper, witness) = guest_and_witness(context)?;
    let talker = observer_in(context, room, "talker")?;
    let all_users = [talker.user.id, witness.user.id, sleeper.user.id];
    witness.roster_of(room, &all_users)?;
    let mut seen = witness.socket.event_count();
    sleeper.socket.mute();
    // 2000 scalar values of four bytes each are 8 KB on the wire and to every member.
    let text = "😀".repeat(2_000);
    let start = Instant::now();
    let timeout = Duration::from_secs(20);
    let mut sent = 0;
    while start.elapsed() < timeout && sent * text.len() < SLOW_BYTES_MAX {
        let answers = talker.ask_all((0..AT_ONCE).map(|_| ("message", message(room, &text))))?;
        if answers.iter().any(|answer| answer["code"] == json!("rate_limited")) {
            return skip("the target limits messages: the queue cannot be filled in time");
        }
        sent += AT_ONCE;
        let events = witness.socket.events_since(seen);
        seen += events.len();
        let is_gone = |event: &Event| {
            is_roster_of(event, room) && !roster_ids(event.arg(0)).contains(&sleeper.user.id)
        };
        if events.iter().any(is_gone) {
            // A ping may have been on its way when it fell silent.
            let capabilities = context.capabilities();
            if start.elapsed() >= capabilities.silence_bound() - capabilities.ping_interval() {
                return skip("its heartbeat ended the session before the queue was full");
            }
            let last = talker.say(room, "the end")?;
            let event = witness.message_with("the end")?;
            has_fields(&event, json!({ "seq": last["seq"] }))?;
            let heard = witness.messages(room).len();
            equal("the messages the witness got", &heard, &(sent + 1))?;
            return closed_as_slow(context, &sleeper);
        }
    }
    let bytes = sent * text.len();
    if bytes < SLOW_BYTES_MAX {
        return skip(format!("{bytes} bytes in {timeout:?} did not fill the queue"));
    }
    fail("LIM-15: the end of a session for which so much waits", format!("{bytes} bytes wait"))
}

/// Now it reads again: a close frame, if there is one, has the code of LIM-50.
fn closed_as_slow(context: &Context, sleeper: &Chat) -> Outcome {
    sleeper.socket.unmute();
    let Some(ending) = sleeper.socket.wait_end(context.wait() * 3) else {
        return fail("LIM-50: the end of the session", "it is open");
    };
    let fits = matches!(ending.code, 1006 | 4001);
    require(fits, "LIM-50: close code 4001, or none", || shown(&ending))
}

fn sessions_per_user(context: &Context) -> Outcome {
    let user = context.user()?;
    let mut sessions: Vec<Socket> = Vec::new();
    for index in 0..70 {
        match context.chat(&user, &format!("tab{index}")) {
            Ok(chat) => sessions.push(chat.socket),
            Err(why) => {
                let why = why.to_string();
                return require(why.contains("4004"), "close code 4004", || why.clone());
            }
        }
    }
    match sessions.iter().find_map(|socket| socket.wait_end(Duration::from_millis(5))) {
        Some(ending) => equal("the close code", &ending.code, &4004),
        None => skip(
            "70 sessions of one user are accepted: the limit is lifted, or each thread of the target counts apart",
        ),
    }
}

fn lifted(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    for answer in guest.ask_all((0..40).map(|_| ("login", json!({}))))? {
        let fine = answer["ok"] == json!(true) || answer["code"] == json!("rate_limited");
        require(fine, "ok or rate_limited", || answer.to_string())?;
    }
    stays_open("an open session", &guest.socket)
}

fn close_is_prompt(context: &Context) -> Outcome {
    context.step("answers the close frame");
    let (mut socket, _) = context.connected_websocket()?;
    socket.send("x")?;
    closes_with(context, &mut socket, 1008, Duration::from_secs(2))?;
    // The close frame has been answered; the connection must end.
    tcp_ends(&mut socket, Duration::from_millis(1_500))?;
    context.step("does not answer it");
    let (mut connection, _) =
        upgrade(context.target(), &context.handshake_path(), &[], &context.log)?;
    connection.send_bytes(&frame(0x81, b"x", Mask::Client))?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(6_000) {
        if connection.is_closed_within(Duration::from_millis(200)) {
            return Ok(());
        }
    }
    fail("the end of TCP within 5 s", "the connection is open after 6 s")
}
