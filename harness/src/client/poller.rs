//! A polling session that a case drives by hand.

use throng_codec::engine::{Data, Kind, Packet, Protocol};
use throng_codec::payload::{self, Body};

use super::ClientError;
use super::http::{Request, Response};
use super::open::Open;
use super::rest::Rest;

/// A session on polling that the case drives by hand.
pub struct Poller {
    pub sid: String,
    pub open: Open,
    /// Packets that arrived with the open packet.
    pub first: Vec<Packet>,
    pub protocol: Protocol,
    pub rest: Rest,
}

impl Poller {
    /// Opens a session at `path`, a handshake for polling with its query.
    pub fn open(rest: Rest, protocol: Protocol, path: &str) -> Result<Poller, ClientError> {
        let response = rest.get(path)?;
        if response.status != 200 {
            return Err(ClientError::Refused(response));
        }
        let packets = payload::decode_body_text(protocol, &response.text())?;
        let mut packets = packets.into_iter();
        let open = match packets.next() {
            Some(Packet { kind: Kind::Open, data: Data::Text(json) }) => Open::parse(&json)?,
            other => return Err(ClientError::Protocol(format!("the first packet is {other:?}"))),
        };
        Ok(Poller { sid: open.sid.clone(), open, first: packets.collect(), protocol, rest })
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
        self.rest.get(&self.path())
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

    /// One poll, decoded.
    pub fn poll(&self) -> Result<Vec<Packet>, ClientError> {
        let response = self.get()?;
        if response.status != 200 {
            return Err(ClientError::Refused(response));
        }
        self.decode(&response)
    }

    pub fn decode(&self, response: &Response) -> Result<Vec<Packet>, ClientError> {
        let body = if response.has_type("application/octet-stream") {
            Body::Octets(response.body.clone())
        } else {
            Body::Text(response.text())
        };
        Ok(payload::decode(self.protocol, &body)?)
    }

    /// Socket.IO CONNECT where the protocol needs one.
    pub fn connect(&self) -> Result<(), ClientError> {
        if self.protocol == Protocol::Eio3 {
            return Ok(());
        }
        self.post_message("0")?;
        let packets = self.poll()?;
        let connected = packets.iter().any(|packet| is_message(packet, "0{"));
        if connected {
            Ok(())
        } else {
            Err(ClientError::Protocol(format!("CONNECT was answered with {packets:?}")))
        }
    }
}

/// Whether the packet is a message whose text begins with `prefix`.
pub fn is_message(packet: &Packet, prefix: &str) -> bool {
    packet.kind == Kind::Message
        && matches!(&packet.data, Data::Text(text) if text.starts_with(prefix))
}
