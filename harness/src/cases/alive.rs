//! Whether a session is usable, or has ended as it must.

use std::time::Duration;

use throng_codec::engine::{Kind, Packet};

use super::checks::{UNKNOWN_SID, nothing, refused, status};
use crate::client::ClientError;
use crate::client::options::Transport;
pub use crate::client::poller::texts;
use crate::client::poller::{Poller, is_message};
use crate::client::socket::Socket;
use crate::client::websocket::{CloseFrame, RawSocket};
use crate::context::Context;
use crate::outcome::{Outcome, fail, require, shown};

/// How long a case waits for the server to close a session.
pub const CLOSES: Duration = Duration::from_secs(3);
/// The part of the time after which a silent session is closed in which another reason must have closed it.
const OF_SILENCE: f64 = 0.6;
/// CONNECT to an unknown namespace: every server answers it, with or without chat.
pub const ASK: &str = "0/nope,";

pub fn is_answer(packet: &Packet, namespace: &str) -> bool {
    is_message(packet, &format!("4{namespace},"))
}

/// The answer to [`ASK`] is among these packets.
pub fn is_answered(packets: &[Packet]) -> Outcome {
    let found = packets.iter().any(|packet| is_answer(packet, "/nope"));
    require(found, "an answer", || format!("{:?}", texts(packets)))
}

/// The polling session is usable: a CONNECT is answered.
pub fn is_alive(poller: &Poller) -> Outcome {
    status(&poller.post_message("0/alive,")?, 200)?;
    poller.poll_until(|packet| is_answer(packet, "/alive"))?;
    Ok(())
}

/// The WebSocket session is usable: a CONNECT is answered.
pub fn is_alive_on(context: &Context, socket: &mut RawSocket) -> Outcome {
    socket.send("40/alive,")?;
    context.text_until(socket, |text| text.starts_with("44/alive,"))?;
    Ok(())
}

/// The session is usable: a CONNECT is answered.
pub fn goes_on(context: &Context, socket: &Socket) -> Outcome {
    socket.send_message(ASK)?;
    socket.wait_packet(context.wait(), "an answer", |packet| packet.namespace == "/nope")?;
    Ok(())
}

pub fn stays_open(what: &str, socket: &Socket) -> Outcome {
    nothing(what, socket.ending())
}

/// How many polls may still be answered with what was queued, where EIO-93 is not judged.
const LAST_POLLS_MAX: usize = 3;

/// The `sid` of this session is unknown now.
pub fn is_gone(poller: &Poller) -> Outcome {
    // A session that ends for its silence has not ended for what the case did.
    let wait = CLOSES.min(poller.silence_bound().mul_f64(OF_SILENCE));
    let poll = || match poller.get_within(wait) {
        Err(ClientError::Timeout(_)) => {
            fail("the end of the session", "it goes on: a poll is held")
        }
        answer => Ok(answer?),
    };
    let mut answer = poll()?;
    for _ in 0..LAST_POLLS_MAX {
        if !poller.may_send_last || answer.status != 200 {
            break;
        }
        let last = kinds(&poller.packets(answer)?);
        require(
            !last.contains(&Kind::Ping),
            "the end of the session, or what it ends with",
            || shown(&last),
        )?;
        answer = poll()?;
        if last.last() == Some(&Kind::Close) {
            break;
        }
    }
    refused(&answer, UNKNOWN_SID)
}

/// How long the server may take to close a session: where no code says why, it must not be for its silence.
fn close_wait(context: &Context) -> Duration {
    let is_judged = context.judges("EIO-94");
    if is_judged {
        CLOSES
    } else {
        CLOSES.min(context.capabilities().silence_bound().mul_f64(OF_SILENCE))
    }
}

/// Whether a session may be closed with this code. Those of RFC 6455 are everybody's, those of 8.2 Throng's.
pub fn code_fits(context: &Context, observed: u16, code: u16) -> bool {
    const OF_RFC_6455: [u16; 3] = [1002, 1007, 1009];
    let is_judged = OF_RFC_6455.contains(&code) || context.judges("EIO-94");
    observed == code || !is_judged
}

/// The server closes the WebSocket within `wait`, in a way that `fits`.
pub fn closes(
    socket: &mut RawSocket,
    expected: &str,
    wait: Duration,
    fits: impl FnOnce(&CloseFrame) -> bool,
) -> Outcome {
    let close = socket.wait_close(wait);
    require(close.as_ref().is_some_and(fits), expected, || match close {
        Some(close) => format!("close code {} {}", close.code, shown(&close.reason)),
        None => "the connection stays open".to_owned(),
    })
}

/// The server closes the WebSocket with this code.
pub fn closes_with(
    context: &Context,
    socket: &mut RawSocket,
    code: u16,
    wait: Duration,
) -> Outcome {
    let expected = format!("a close frame with code {code}");
    closes(socket, &expected, wait, |close| code_fits(context, close.code, code))
}

/// The server ends TCP within `wait`, after its close frame.
pub fn tcp_ends(socket: &mut RawSocket, wait: Duration) -> Outcome {
    let ended = socket.receive(wait);
    let is_open = matches!(ended, Err(ClientError::Timeout(_)) | Ok(_));
    require(!is_open, &format!("the end of TCP within {wait:?}"), || format!("{ended:?}"))
}

/// A new WebSocket session is closed with this code after what `act` sends.
pub fn closes_after(
    context: &Context,
    code: u16,
    act: impl FnOnce(&mut RawSocket) -> Result<(), ClientError>,
) -> Outcome {
    let (mut socket, _) = context.connected_websocket()?;
    act(&mut socket)?;
    closes_with(context, &mut socket, code, close_wait(context))
}

/// A new session, connected or not, ends after this text in an Engine.IO message: a WebSocket with
/// code 1008.
pub fn dies_of(context: &Context, text: &str, is_connected: bool) -> Outcome {
    context.step(format!("sends 4{text}"));
    match context.combo.transport {
        Transport::Websocket => {
            let (mut socket, _) = match is_connected {
                true => context.connected_websocket()?,
                false => context.bare_websocket()?,
            };
            socket.send(&format!("4{text}"))?;
            closes_with(context, &mut socket, 1008, close_wait(context))
        }
        Transport::Polling => {
            let poller = context.poller()?;
            if is_connected {
                poller.connect()?;
            }
            // A server may detect the error while it reads the POST, or after it answered ok.
            let _ = poller.post_message(text);
            is_gone(&poller)
        }
    }
}

/// The session ends; a WebSocket with this close code.
pub fn ends_with(context: &Context, socket: &Socket, code: u16) -> Outcome {
    match (context.combo.transport, socket.wait_end(CLOSES)) {
        (_, None) => fail("the session is closed", "it stays open"),
        (Transport::Polling, Some(_)) => Ok(()),
        (Transport::Websocket, Some(ending)) => code_is(context, ending.code, code),
    }
}

pub fn code_is(context: &Context, observed: u16, code: u16) -> Outcome {
    require(code_fits(context, observed, code), &format!("the close code {code}"), || {
        observed.to_string()
    })
}

pub fn kinds(packets: &[Packet]) -> Vec<Kind> {
    packets.iter().map(|packet| packet.kind).collect()
}
