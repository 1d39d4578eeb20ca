//! The WebSocket side of a session: the upgrade, then frames until the connection ends.

use memchr::memmem;

use super::text::header;
use super::turn::Turn;
use super::{Session, State};
use crate::dialect::Dialect;
use crate::ended::Ended;
use crate::frame::{self, Head};
use crate::samples::Metric;

impl Session {
    /// Handles the bytes of one read; returns how many were used up.
    ///
    /// # Errors
    /// The connection is over.
    #[inline]
    pub fn consume(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Ended> {
        let mut at = 0;
        if self.state == State::ExpectUpgrade {
            match self.upgrade(turn, bytes)? {
                Some(used) => at = used,
                None => return Ok(0),
            }
        }
        loop {
            match frame::head(&bytes[at..]) {
                Head::Frame { fin: true, opcode: frame::TEXT, header, len } => {
                    turn.local.stats.counters.frames_in += 1;
                    let start = at + header;
                    self.text(turn, &bytes[start..start + len])?;
                    at = start + len;
                }
                Head::Frame { fin, opcode, header, len } => {
                    turn.local.stats.counters.frames_in += 1;
                    let start = at + header;
                    self.other(turn, fin, opcode, &bytes[start..start + len])?;
                    at = start + len;
                }
                Head::Partial { .. } => return Ok(at),
                Head::Malformed(what) => return Err(Ended::Malformed(what)),
            }
        }
    }

    #[cold]
    fn other(
        &mut self,
        turn: &mut Turn<'_>,
        fin: bool,
        opcode: u8,
        payload: &[u8],
    ) -> Result<(), Ended> {
        match opcode {
            frame::PING => {
                let mask = self.next_mask();
                frame::put(&mut self.out, frame::PONG, mask, payload);
            }
            frame::PONG => {}
            frame::CLOSE => {
                let code =
                    payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                return Err(Ended::Close(code));
            }
            frame::TEXT | frame::BINARY | frame::CONTINUATION => {
                if opcode != frame::CONTINUATION {
                    self.fragment.clear();
                }
                self.fragment.extend_from_slice(payload);
                if self.fragment.len() > frame::PAYLOAD_MAX {
                    return Err(Ended::Malformed("message too long"));
                }
                if fin {
                    let message = std::mem::take(&mut self.fragment);
                    self.text(turn, &message)?;
                }
            }
            _ => return Err(Ended::Malformed("unknown opcode")),
        }
        Ok(())
    }

    /// The HTTP response to the upgrade request; none while it is not complete.
    fn upgrade(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<Option<usize>, Ended> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return if bytes.len() > 16_384 {
                Err(Ended::Malformed("endless response head"))
            } else {
                Ok(None)
            };
        };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let status = head.split(' ').nth(1).unwrap_or("none");
        if status != "101" {
            return Err(Ended::Refused(format!("http {status}")));
        }
        if header(&head, "sec-websocket-accept") != Some(self.accept.as_str()) {
            return Err(Ended::Malformed("wrong Sec-WebSocket-Accept"));
        }
        self.accept = String::new();
        if let Dialect::Broker(broker) = &turn.shared.dialect {
            self.greet(turn, &**broker);
        } else if matches!(turn.shared.dialect, Dialect::Raw) {
            turn.local.stats.samples.record_ns(Metric::Handshake, turn.now_ns - self.asked_ns);
            self.prepare(turn);
            for index in 0..self.memberships.len() {
                self.entered(turn, index);
            }
        } else if self.opened_by_polling.is_some() {
            self.state = State::ExpectProbe;
            self.send_text(b"2probe");
        } else {
            self.state = State::ExpectOpen;
        }
        Ok(Some(end + 4))
    }
}
