//! The reader thread of a session: it reads what arrives, and sends the pings of protocol 3.

use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use throng_codec::engine::{self, Frame, Kind, Packet, Protocol};

use super::ClientError;
use super::http::{Connection, Request};
use super::shared::{Orders, Shared};
use super::websocket::RawSocket;

/// How often a reader checks for due heartbeats and for orders.
const READER_TURN: Duration = Duration::from_millis(20);
/// A poll without an answer for this long is held by the server.
const HELD: Duration = Duration::from_millis(100);
pub const CUT_WAIT: Duration = Duration::from_secs(2);

/// The orders of the session's handle, once it is not muted.
fn orders(shared: &Shared) -> Orders {
    loop {
        match shared.orders() {
            Orders::Mute => thread::sleep(READER_TURN),
            orders => return orders,
        }
    }
}

pub fn read_websocket(shared: &Shared, mut raw: RawSocket) {
    let mut pinged = Instant::now();
    loop {
        if orders(shared) == Orders::Stop {
            return shared.end(0, "closed by this client");
        }
        if let Some(due) = ping_due(shared, pinged) {
            pinged = due;
            if shared.send(&Packet::text(Kind::Ping, "")).is_err() {
                return shared.end(1006, "cannot send a ping");
            }
        }
        let taken = match raw.receive(READER_TURN) {
            Ok(frame) => take_frame(shared, &frame),
            Err(ClientError::Timeout(_)) => Ok(()),
            Err(ClientError::Closed(why)) => {
                let (code, why) = match raw.closed() {
                    Some(close) => (close.code, close.reason.clone()),
                    None => (1006, why),
                };
                return shared.end(code, why);
            }
            Err(other) => Err(other),
        };
        if let Err(why) = taken {
            return shared.end(1006, why.to_string());
        }
    }
}

fn take_frame(shared: &Shared, frame: &Frame) -> Result<(), ClientError> {
    let packet = engine::decode(shared.options.protocol, frame)?;
    shared.take(packet)
}

/// In protocol 3 the client pings: the moment of this ping, if one is due.
fn ping_due(shared: &Shared, pinged: Instant) -> Option<Instant> {
    if shared.options.protocol != Protocol::Eio3 {
        return None;
    }
    let interval = shared.state().open.as_ref()?.ping_interval;
    // A third early: a busy machine must not make the client late.
    let early = interval.mul_f64(0.66).min(Duration::from_secs(20));
    (pinged.elapsed() >= early).then(Instant::now)
}

pub fn read_polling(shared: &Shared, connection: Connection) {
    let mut connection = Some(connection);
    let mut pinged = Instant::now();
    let path = shared.path(Some(&shared.sid()));
    loop {
        if orders(shared) == Orders::Stop {
            return shared.end(0, "closed by this client");
        }
        {
            let mut state = shared.state();
            if state.polling_paused || state.ending.is_some() {
                return;
            }
            state.poll_in_flight = true;
        }
        shared.wake.notify_all();
        let outcome = poll_once(shared, &mut connection, &path, &mut pinged);
        shared.state().poll_in_flight = false;
        shared.wake.notify_all();
        match outcome {
            Ok(true) => {}
            Ok(false) => return shared.end(0, "closed by this client"),
            Err(ClientError::Refused(response)) => {
                return shared.end(response.status, response.text());
            }
            Err(why) => return shared.end(1006, why.to_string()),
        }
    }
}

/// Ends TCP under a held poll; `false` once that is done. When an answer was already on its way, the
/// server has not seen the end, and the next poll has to be cut.
fn cut(shared: &Shared, mut connection: Connection) -> Result<bool, ClientError> {
    shared.log.note("FIN");
    let _ = connection.stream().shutdown(Shutdown::Write);
    match connection.receive(CUT_WAIT / 2) {
        Ok(response) if response.status == 200 => shared.take_payload(&response).map(|()| true),
        _ => Ok(false),
    }
}

/// One poll; `false` when the client was ordered to stop meanwhile.
fn poll_once(
    shared: &Shared,
    slot: &mut Option<Connection>,
    path: &str,
    pinged: &mut Instant,
) -> Result<bool, ClientError> {
    let mut connection = match slot.take() {
        Some(connection) => connection,
        None => Connection::open(&shared.target, &shared.log)?,
    };
    connection.send(&Request::get(path))?;
    let sent = Instant::now();
    loop {
        match orders(shared) {
            Orders::Cut if sent.elapsed() > HELD => return cut(shared, connection),
            Orders::Stop => return Ok(false),
            Orders::Run | Orders::Cut | Orders::Mute => {}
        }
        if let Some(due) = ping_due(shared, *pinged) {
            *pinged = due;
            shared.send(&Packet::text(Kind::Ping, ""))?;
        }
        match connection.receive(READER_TURN) {
            Ok(response) if response.status == 200 => {
                if !response.closes() {
                    *slot = Some(connection);
                }
                shared.take_payload(&response)?;
                return Ok(true);
            }
            Ok(response) => return Err(ClientError::Refused(response)),
            Err(ClientError::Timeout(_)) => {}
            Err(other) => return Err(other),
        }
    }
}
