//! WebSocket byte streams: a session's own, a probe that asks to take over, or a raw echo.

use throng_wire::eio::{self, Kind};
use throng_wire::{Fault, ws};

use super::trust::Trust;
use super::{Carrier, CloseReason, Engine, SessionEvent};
use crate::canary::{Canary, is_armed};
use crate::ids::{PipeId, SessionId};
use crate::input::PipeEnd;
use crate::outbox::Class;
use crate::timers::Timer;

/// How long a closing pipe may take to send its last bytes.
const CLOSING_MS: u64 = 5_000;
/// A probe says `2probe` and `5`; the limit is that of a control frame.
const PROBE_BYTES_MAX: usize = 125;
/// The raw echo of the conformance binary takes what RFC 6455 suites send.
const RAW_LIMITS: ws::Limits =
    ws::Limits { message_bytes_max: 16 * 1024 * 1024, fragments_max: 1 << 20 };

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    /// No pipe, or one whose bytes no longer matter.
    #[default]
    Gone,
    Session(SessionId),
    Probe {
        session: SessionId,
        is_probed: bool,
    },
    RawEcho,
    Closing,
}

/// Bytes of echoes that may wait.
pub(super) const ECHO_OUTBOUND_MAX: u32 = 64 * 1024 * 1024;

/// Bytes of one read, as far as they are not decoded.
pub(crate) struct Read<'a> {
    pub(crate) input: &'a mut [u8],
    /// Messages of it that were whole.
    messages: usize,
}

impl<'a> Read<'a> {
    pub(crate) fn new(input: &'a mut [u8]) -> Read<'a> {
        Read { input, messages: 0 }
    }
}

#[derive(Default)]
pub(super) struct Pipe {
    pub(super) generation: u32,
    pub(super) role: Role,
    /// Its bytes are not wanted now.
    is_paused: bool,
    pub(super) decoder: ws::Decoder,
    /// What came and is not charged yet: less than a unit.
    pub(super) uncharged_bytes: usize,
    /// Fragments of the message that is not whole, as far as they are charged.
    pub(super) charged_fragments: u32,
}

impl Engine {
    pub(super) fn open_pipe(&mut self, pipe: PipeId, role: Role) {
        let index = pipe.slot as usize;
        if self.pipes.len() <= index {
            self.pipes.resize_with(index + 1, Pipe::default);
        }
        self.pipes[index] = Pipe { generation: pipe.generation, role, ..Pipe::default() };
    }

    pub(super) fn pipe_mut(&mut self, pipe: PipeId) -> Option<&mut Pipe> {
        self.pipes.get_mut(pipe.slot as usize).filter(|p| p.generation == pipe.generation)
    }

    pub(super) fn role(&self, pipe: PipeId) -> Role {
        match self.pipes.get(pipe.slot as usize) {
            Some(entry) if entry.generation == pipe.generation => entry.role,
            _ => Role::Gone,
        }
    }

    pub(super) fn set_role(&mut self, pipe: PipeId, role: Role) {
        self.pipe_mut(pipe).expect("only an open pipe has a role").role = role;
    }

    /// Drops what is not whole of a message.
    fn drop_input(&mut self, pipe: PipeId) {
        let entry = self.pipe_mut(pipe).expect("a pipe with a role is open");
        entry.decoder = ws::Decoder::default();
    }

    pub(super) fn closing_pipes(&self) -> impl Iterator<Item = PipeId> + '_ {
        let pipes = self.pipes.iter().enumerate();
        pipes
            .filter(|(_, entry)| entry.role == Role::Closing)
            .map(|(slot, entry)| PipeId { slot: slot as u32, generation: entry.generation })
    }

    pub(super) fn is_paused(&self, pipe: PipeId) -> bool {
        let entry = self.pipes.get(pipe.slot as usize);
        entry.is_some_and(|entry| entry.generation == pipe.generation && entry.is_paused)
    }

    pub(super) fn set_paused(&mut self, pipe: PipeId, is_paused: bool) {
        self.pipe_mut(pipe).expect("a session's pipe is open").is_paused = is_paused;
    }

    pub(crate) fn reads(&self, pipe: PipeId) -> bool {
        !self.is_paused(pipe) && !matches!(self.role(pipe), Role::Closing | Role::Gone)
    }

    pub(crate) fn is_preferred(&self, pipe: PipeId) -> bool {
        match self.role(pipe) {
            Role::Session(id) => self.live(id).trust() == Trust::Identified && !self.is_busy(id),
            Role::RawEcho => true,
            Role::Probe { .. } | Role::Closing | Role::Gone => false,
        }
    }

    /// Sends a close frame and shuts the pipe down behind it.
    pub(super) fn close_pipe(&mut self, pipe: PipeId, code: u16, reason: &str) {
        let role = self.role(pipe);
        if matches!(role, Role::Gone | Role::Closing) {
            return;
        }
        self.outbox.push(pipe, &ws::close_frame(code, reason));
        self.shut_pipe(pipe);
    }

    /// Shuts the pipe down behind what is queued.
    pub(super) fn shut_pipe(&mut self, pipe: PipeId) {
        self.outbox.close_when_empty(pipe);
        self.outbox.set_class(pipe, Class::Closing);
        self.set_role(pipe, Role::Closing);
        self.drop_input(pipe);
        self.timers.schedule(self.now.plus_ms(CLOSING_MS), Timer::Closing(pipe));
    }

    pub(super) fn closing_timer(&mut self, pipe: PipeId) {
        if self.role(pipe) == Role::Closing {
            self.closes.push(pipe);
        }
    }

    /// The probe came to nothing: polls are held again.
    fn end_probe(&mut self, id: SessionId) {
        let session = self.live_mut(id);
        session.probe = None;
        if let Carrier::Polling(polling) = &mut session.carrier {
            polling.is_released = false;
        }
    }

    pub(super) fn probe_timer(&mut self, pipe: PipeId) {
        if let Role::Probe { session: id, .. } = self.role(pipe) {
            self.end_probe(id);
            self.close_pipe(pipe, 1000, "");
        }
    }

    pub(crate) fn pipe_closed(&mut self, pipe: PipeId, end: PipeEnd) {
        let role = self.role(pipe);
        self.set_role(pipe, Role::Gone);
        self.drop_input(pipe);
        self.outbox.close(pipe);
        match role {
            Role::Session(id) => {
                let reason = match end {
                    PipeEnd::Eof => CloseReason::TransportClose,
                    PipeEnd::Failed => CloseReason::TransportError,
                };
                self.end(id, reason);
            }
            Role::Probe { session: id, .. } => self.end_probe(id),
            Role::RawEcho | Role::Closing | Role::Gone => {}
        }
    }

    /// Takes bytes off `input`. False when it stopped behind a message that may change what the
    /// session is allowed: the application is to see it before the next one is judged.
    pub(crate) fn bytes(&mut self, pipe: PipeId, read: &mut Read<'_>) -> bool {
        if matches!(self.role(pipe), Role::Gone | Role::Closing) {
            return true; // What is closing is read no more.
        }
        let (before, messages) = (read.input.len(), read.messages);
        let is_done = self.decode(pipe, read);
        let came = before - read.input.len();
        self.counters.bytes_in += came as u64;
        self.charge_read(pipe, came, read.messages - messages);
        is_done
    }

    fn decode(&mut self, pipe: PipeId, read: &mut Read<'_>) -> bool {
        let entry = self.pipe_mut(pipe).expect("a pipe with a role is open");
        // Taken out so that a message may borrow from it while the engine changes.
        let mut decoder = std::mem::take(&mut entry.decoder);
        loop {
            // A probe may have become the pipe of a session.
            let limits = self.pipe_limits(pipe);
            match decoder.next(&mut read.input, &limits) {
                Ok(Some(message)) => {
                    read.messages += 1;
                    self.ws_message(pipe, message);
                }
                Ok(None) => break,
                Err(fault) => {
                    self.ws_fault(pipe, fault);
                    break;
                }
            }
            match self.role(pipe) {
                Role::Gone | Role::Closing => return true,
                Role::Session(id) if self.is_unjudged(id) => {
                    self.pipe_mut(pipe).expect("only the runtime ends a pipe").decoder = decoder;
                    return false;
                }
                Role::Session(_) | Role::Probe { .. } | Role::RawEcho => {}
            }
        }
        let buffered = decoder.buffered();
        self.pipe_mut(pipe).expect("only the runtime ends a pipe").decoder = decoder;
        if let Role::Session(id) = self.role(pipe) {
            let assembled = self.live(id).assembled();
            if read.messages > 0 && assembled == 0 {
                // What is not whole now began in this read.
                self.set_unfinished(id, 0);
            }
            self.set_unfinished(id, buffered + assembled);
        }
        true
    }

    /// The application has not seen the last message of a client that it does not know.
    fn is_unjudged(&self, id: SessionId) -> bool {
        !self.session_events.is_empty() && self.live(id).trust() == Trust::Anonymous
    }

    fn pipe_limits(&self, pipe: PipeId) -> ws::Limits {
        let message_bytes_max = match self.role(pipe) {
            Role::RawEcho => return RAW_LIMITS,
            Role::Session(id) => self.payload_max(self.live(id).trust()),
            Role::Probe { .. } | Role::Closing | Role::Gone => PROBE_BYTES_MAX,
        };
        ws::Limits { message_bytes_max, fragments_max: self.settings.fragments_max }
    }

    fn ws_fault(&mut self, pipe: PipeId, fault: Fault) {
        let code = fault.close_code();
        match self.role(pipe) {
            Role::Session(id) => {
                let reason = if fault == Fault::TooManyFragments {
                    CloseReason::TooLarge("engine.fragments_max")
                } else if code == 1009 {
                    self.too_large(id)
                } else {
                    CloseReason::Protocol(code)
                };
                self.end(id, reason);
            }
            Role::Probe { .. } | Role::RawEcho | Role::Closing | Role::Gone => {
                self.drop_pipe(pipe, code);
            }
        }
    }

    /// Closes a pipe that carries no session.
    pub(super) fn drop_pipe(&mut self, pipe: PipeId, code: u16) {
        if let Role::Probe { session: id, .. } = self.role(pipe) {
            self.end_probe(id);
        }
        self.close_pipe(pipe, code, "");
    }

    fn ws_message(&mut self, pipe: PipeId, message: ws::Message<'_>) {
        if let Role::Session(id) | Role::Probe { session: id, .. } = self.role(pipe) {
            self.charge(id, 1);
            if self.session(id).is_none() {
                return; // It was far beyond its rate.
            }
        }
        match message {
            ws::Message::Ping(payload) => {
                self.outbox.push(pipe, &ws::pong_frame(payload));
            }
            ws::Message::Pong(_) => {}
            ws::Message::Close(reason) => {
                let code = reason.map_or(1000, |(code, _)| code);
                match self.role(pipe) {
                    Role::Session(id) => {
                        // Echo the client's code before the session's own close.
                        self.close_pipe(pipe, code, "");
                        self.end(id, CloseReason::TransportClose);
                    }
                    Role::Probe { .. } | Role::RawEcho | Role::Closing | Role::Gone => {
                        self.drop_pipe(pipe, code);
                    }
                }
            }
            ws::Message::Text(text) => match self.role(pipe) {
                Role::Session(id) => self.text_packet(id, text),
                Role::Probe { session: id, is_probed } => {
                    self.probe_text(pipe, id, is_probed, text)
                }
                Role::RawEcho => {
                    self.outbox.push(pipe, &ws::text_frame(text));
                }
                Role::Gone | Role::Closing => {}
            },
            ws::Message::Binary(bytes) => match self.role(pipe) {
                Role::Session(id) => self.binary_packet(id, bytes),
                Role::Probe { .. } => self.drop_pipe(pipe, 1003),
                Role::RawEcho => {
                    self.outbox.push(pipe, &ws::binary_frame(bytes));
                }
                Role::Gone | Role::Closing => {}
            },
        }
    }

    fn text_packet(&mut self, id: SessionId, text: &str) {
        let version = self.live(id).version;
        match eio::decode_text(version, text) {
            Ok(packet) => self.packet(id, packet),
            Err(_) => self.end(id, CloseReason::ParseError),
        }
    }

    fn binary_packet(&mut self, id: SessionId, bytes: &[u8]) {
        let version = self.live(id).version;
        match eio::decode_binary(version, bytes) {
            Ok(packet) => self.packet(id, packet),
            Err(_) => self.end(id, CloseReason::ParseError),
        }
    }

    /// `2probe` is answered and releases the parked poll; `5` moves the session.
    fn probe_text(&mut self, pipe: PipeId, id: SessionId, is_probed: bool, text: &str) {
        let version = self.live(id).version;
        match eio::decode_text(version, text).map(|packet| (packet.kind, packet.data)) {
            Ok((Kind::Ping, eio::Data::Text("probe"))) if !is_probed => {
                self.outbox.push(pipe, &ws::text_frame("3probe"));
                self.set_role(pipe, Role::Probe { session: id, is_probed: true });
                self.polling_mut(id).is_released = true;
                self.ready_polls.push(id);
            }
            Ok((Kind::Upgrade, _)) if is_probed => self.move_to_pipe(pipe, id),
            _ => self.drop_pipe(pipe, 1008),
        }
    }

    fn move_to_pipe(&mut self, pipe: PipeId, id: SessionId) {
        // The parked poll takes what is queued: it is of the old transport.
        self.answer_poll(id);
        self.set_role(pipe, Role::Session(id));
        let mut counters = std::mem::take(&mut self.counters);
        let session = self.live_mut(id);
        *session.gauge(&mut counters) -= 1;
        let trust = session.account.trust;
        let carrier = std::mem::replace(&mut session.carrier, Carrier::Pipe(pipe));
        session.probe = None;
        *session.gauge(&mut counters) += 1;
        counters.upgrades += 1;
        self.counters = counters;
        self.set_pipe_trust(pipe, trust);
        if let Some(paid_at) = self.paid_later(id) {
            self.pause_until(pipe, id, paid_at);
        }
        if let Carrier::Polling(mut polling) = carrier {
            self.held_mut(trust).polled -= polling.bytes;
            self.move_from_body(id, &mut polling);
            self.answer_late(&polling, trust);
            if !is_armed(Canary::KeepPoll) {
                self.forget_polls(&polling);
            }
            for packet in polling.queue {
                match packet {
                    eio::payload::Out::Text(text) => {
                        let text = std::str::from_utf8(&text);
                        let text = text.expect("text packets are made from strings");
                        // Not copied: one that is longer than the bound is exempt only so (LIM-15).
                        self.emit_frame(id, &ws::text_frame(text));
                    }
                    eio::payload::Out::Binary(bytes) => self.emit_binary(id, &bytes),
                }
            }
        }
        self.session_events.push_back(SessionEvent::Moved { session: id });
    }
}
