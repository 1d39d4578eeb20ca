//! Engine.IO payloads of long-polling: several packets in one body.

use memchr::memmem;

use crate::ended::Ended;
use crate::scenario::Protocol;

/// The packets of a payload.
///
/// # Errors
/// Engine.IO 3: a length is missing or wrong.
pub fn split(protocol: Protocol, body: &[u8]) -> Result<Vec<&[u8]>, Ended> {
    if protocol != Protocol::Eio3 {
        return Ok(body.split(|byte| *byte == 0x1e).filter(|packet| !packet.is_empty()).collect());
    }
    let mut packets = Vec::new();
    let mut rest = std::str::from_utf8(body).map_err(|_| Ended::Malformed("payload"))?;
    while !rest.is_empty() {
        let (len, tail) = rest.split_once(':').ok_or(Ended::Malformed("payload length"))?;
        let units: usize = len.parse().map_err(|_| Ended::Malformed("payload length"))?;
        // Engine.IO 3 counts UTF-16 code units.
        let mut left = units;
        let mut end = 0;
        for letter in tail.chars() {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(letter.len_utf16());
            end += letter.len_utf8();
        }
        packets.push(&tail.as_bytes()[..end]);
        rest = &tail[end..];
    }
    Ok(packets)
}

/// Appends one packet to a payload.
pub fn put(protocol: Protocol, out: &mut Vec<u8>, packet: &[u8]) {
    if protocol == Protocol::Eio3 {
        // What a generator sends is ASCII: one code unit per byte.
        out.extend_from_slice(packet.len().to_string().as_bytes());
        out.push(b':');
    } else if !out.is_empty() {
        out.push(0x1e);
    }
    out.extend_from_slice(packet);
}

/// The response to the handshake GET.
pub struct Opened {
    pub sid: String,
    /// JSON of the open packet.
    pub json: Vec<u8>,
    /// Engine.IO 3: the Socket.IO CONNECT came along.
    pub is_connected: bool,
}

impl Opened {
    /// # Errors
    /// The first packet is not an open packet with a `sid`.
    pub fn parse(protocol: Protocol, body: &[u8]) -> Result<Self, Ended> {
        let packets = split(protocol, body)?;
        let json = packets.first().and_then(|packet| packet.strip_prefix(b"0"));
        let json = json.ok_or(Ended::Malformed("no open packet"))?;
        let sid = memmem::find(json, b"\"sid\":\"").map(|at| &json[at + 7..]);
        let sid = sid.and_then(|text| text.split(|byte| *byte == b'"').next());
        let sid = sid.ok_or(Ended::Malformed("no sid"))?;
        Ok(Self {
            sid: String::from_utf8_lossy(sid).into_owned(),
            json: json.to_vec(),
            is_connected: packets.iter().any(|packet| packet.starts_with(b"40")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_split_as_they_were_put_together() {
        for protocol in [Protocol::Eio3, Protocol::Eio4] {
            let mut body = Vec::new();
            put(protocol, &mut body, b"40");
            put(protocol, &mut body, b"42[\"a\"]");
            assert_eq!(split(protocol, &body).unwrap(), [&b"40"[..], b"42[\"a\"]"]);
        }
    }

    #[test]
    fn engine_io_3_lengths_count_utf16_units() {
        let body = "5:4ü☃😀2:40".as_bytes();
        assert_eq!(split(Protocol::Eio3, body).unwrap(), ["4ü☃😀".as_bytes(), b"40"]);
        assert!(split(Protocol::Eio3, b"x:40").is_err());
    }
}
