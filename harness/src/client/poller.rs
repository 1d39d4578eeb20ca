//! A polling session that a case drives by hand.

use std::time::Duration;

use serde_json::Value;
use throng_codec::engine::{Data, Kind, Packet, Protocol};
use throng_codec::payload::{self, Body};

use super::ClientError;
use super::http::{Request, Response, fetch};
use super::open::Open;
use super::rest::Rest;

/// Polls until a packet must have arrived: an answer may carry as little as one.
const POLLS_MAX: usize = 30;

pub struct Poller {
    pub sid: String,
    pub open: Open,
    /// Packets that arrived with the open packet.
    pub first: Vec<Packet>,
    pub protocol: Protocol,
    pub rest: Rest,
    /// After its end, polls may still be answered with what was queued.
    pub may_send_last: bool,
    /// Payload of a CONNECT.
    pub auth: Option<Value>,
}

impl Poller {
    /// Opens a session at `path`, a handshake for polling with its query, and perhaps with this `Authorization`.
    pub fn open(
        rest: Rest,
        protocol: Protocol,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<Poller, ClientError> {
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("Authorization", *value)).collect();
        let response = accepted(rest.call(&Request { headers: &headers, ..Request::get(path) })?)?;
        let packets = payload::decode_body_text(protocol, &response.text())?;
        let mut packets = packets.into_iter();
        let open = match packets.next() {
            Some(Packet { kind: Kind::Open, data: Data::Text(json) }) => Open::parse(&json)?,
            other => {
                let first = texts(other.as_slice());
                return Err(ClientError::Protocol(format!("the first packet is {first:?}")));
            }
        };
        let (sid, first) = (open.sid.clone(), packets.collect());
        Ok(Poller { sid, open, first, protocol, rest, may_send_last: false, auth: None })
    }

    /// The id of the session, which goes on.
    pub fn into_sid(mut self) -> String {
        std::mem::take(&mut self.sid)
    }

    pub fn path(&self) -> String {
        format!(
            "{}?EIO={}&transport=polling&sid={}",
            self.rest.target.engine_path,
            self.protocol.number(),
            self.sid
        )
    }

    pub fn websocket_path(&self) -> String {
        self.path().replace("transport=polling", "transport=websocket")
    }

    pub fn get(&self) -> Result<Response, ClientError> {
        self.rest.poll(&self.path(), self.open.ping_interval)
    }

    /// A poll of a session that ought to have ended: it is held no longer than this.
    pub fn get_within(&self, wait: Duration) -> Result<Response, ClientError> {
        fetch(&self.rest.target, &self.rest.log, &Request::get(&self.path()), wait)
    }

    /// When the server closes a session that says nothing, at the earliest.
    pub fn silence_bound(&self) -> Duration {
        self.open.ping_interval + self.open.ping_timeout
    }

    pub fn post(&self, body: &str) -> Result<Response, ClientError> {
        self.rest.call(&Request::post(&self.path(), body.as_bytes()))
    }

    /// POSTs packets in the protocol's own form.
    pub fn post_packets(&self, packets: &[Packet]) -> Result<Response, ClientError> {
        self.post(&payload::encode_text(self.protocol, packets))
    }

    pub fn post_message(&self, text: &str) -> Result<Response, ClientError> {
        self.post_packets(&[Packet::message(text)])
    }

    /// POSTs bytes as this type.
    pub fn post_as(&self, content_type: &str, body: &[u8]) -> Result<Response, ClientError> {
        let headers = &[("Content-Type", content_type)];
        self.rest.call(&Request { method: "POST", path: &self.path(), headers, body })
    }

    /// One poll, decoded.
    pub fn poll(&self) -> Result<Vec<Packet>, ClientError> {
        self.packets(self.get()?)
    }

    /// Polls, answering pings, until a packet is `wanted`; returns all packets up to then.
    pub fn poll_until(&self, wanted: impl Fn(&Packet) -> bool) -> Result<Vec<Packet>, ClientError> {
        let mut seen = Vec::new();
        for _ in 0..POLLS_MAX {
            let packets = self.poll()?;
            let is_found = packets.iter().any(&wanted);
            self.answer_pings(&packets)?;
            seen.extend(packets);
            if is_found {
                return Ok(seen);
            }
        }
        Err(ClientError::Protocol(format!(
            "only other packets in {POLLS_MAX} polls: {:?}",
            texts(&seen)
        )))
    }

    /// On protocol 4 the client answers pings.
    pub fn answer_pings(&self, packets: &[Packet]) -> Result<(), ClientError> {
        let is_pinged = packets.iter().any(|packet| packet.kind == Kind::Ping);
        if self.protocol == Protocol::Eio4 && is_pinged {
            self.post_packets(&[Packet::text(Kind::Pong, "")])?;
        }
        Ok(())
    }

    /// The packets of a poll's answer, which must be 200.
    pub fn packets(&self, response: Response) -> Result<Vec<Packet>, ClientError> {
        self.decode(&accepted(response)?)
    }

    pub fn decode(&self, response: &Response) -> Result<Vec<Packet>, ClientError> {
        packets_of(self.protocol, response)
    }

    /// Socket.IO CONNECT where the protocol needs one.
    pub fn connect(&self) -> Result<(), ClientError> {
        if self.protocol == Protocol::Eio3 {
            return Ok(());
        }
        let auth = self.auth.as_ref().map_or_else(String::new, Value::to_string);
        self.post_message(&format!("0{auth}"))?;
        let packets = self.poll()?;
        let connected = packets.iter().any(|packet| is_message(packet, "0{"));
        if connected {
            Ok(())
        } else {
            Err(ClientError::Protocol(format!("CONNECT was answered with {:?}", texts(&packets))))
        }
    }
}

/// A close packet as the body of a POST.
pub fn close_body(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Eio4 => "1",
        Protocol::Eio3 => "1:1",
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // It would stay in its room until its heartbeat fails.
        if !self.sid.is_empty() {
            let _ = self.post(close_body(self.protocol));
        }
    }
}

fn accepted(response: Response) -> Result<Response, ClientError> {
    if response.status == 200 { Ok(response) } else { Err(ClientError::Refused(response)) }
}

/// The packets in the body of an answer.
pub fn packets_of(protocol: Protocol, response: &Response) -> Result<Vec<Packet>, ClientError> {
    let body = if response.has_type("application/octet-stream") {
        Body::Octets(response.body.clone())
    } else {
        let text = std::str::from_utf8(&response.body)
            .map_err(|_| ClientError::Protocol("a text payload that is not UTF-8".into()))?;
        Body::Text(text.to_owned())
    };
    Ok(payload::decode(protocol, &body)?)
}

/// Whether the packet is a message whose text begins with `prefix`.
pub fn is_message(packet: &Packet, prefix: &str) -> bool {
    packet.kind == Kind::Message
        && matches!(&packet.data, Data::Text(text) if text.starts_with(prefix))
}

/// Packets as they are written.
pub fn texts(packets: &[Packet]) -> Vec<String> {
    let text = |packet: &Packet| match &packet.data {
        Data::Text(text) => format!("{}{text}", packet.kind.digit()),
        Data::Binary(bytes) => format!("{} bytes of binary", bytes.len()),
    };
    packets.iter().map(text).collect()
}
