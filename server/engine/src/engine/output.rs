//! Output to clients.
//!
//! What is for a session that has ended is dropped: the application learns of the end when it handles
//! [`SessionEvent::Ended`](super::SessionEvent::Ended), and what it does before that comes too late by
//! design.

use bytes::Bytes;
use throng_wire::{eio, ws};
use ws::{Data, OpCode};

use super::pipe::Role;
use super::{Carrier, Engine};
use crate::ids::{PipeId, SessionId};

impl Engine {
    /// Queues whole WebSocket frames for one pipe.
    pub fn push_frames(&mut self, pipe: PipeId, frames: &[u8]) {
        self.outbox.push(pipe, frames);
    }

    /// Sends one Engine.IO text packet, type digit included, behind all that was sent before. Spec:
    /// EIO-13, EIO-40.
    pub fn emit(&mut self, id: SessionId, packet: &str) {
        let Some(session) = self.session_mut(id) else { return };
        match &session.carrier {
            Carrier::Pipe(pipe) => {
                let pipe = *pipe;
                let mut frame = std::mem::take(&mut self.scratch);
                frame.clear();
                ws::put_header(&mut frame, OpCode::Data(Data::Text), packet.len());
                frame.extend_from_slice(packet.as_bytes());
                self.outbox.push(pipe, &frame);
                self.scratch = frame;
            }
            Carrier::Polling(_) => {
                let packet = Bytes::copy_from_slice(packet.as_bytes());
                self.queue_for_poll(id, eio::payload::Out::Text(packet));
            }
        }
    }

    /// Sends one Engine.IO text message, without Socket.IO. Spec: EIO-10.
    pub fn emit_message(&mut self, id: SessionId, text: &str) {
        let mut packet = String::with_capacity(text.len() + 1);
        eio::put_message(&mut packet, text);
        self.emit(id, &packet);
    }

    /// As [`Engine::emit`], if the session is connected to `/`: before CONNECT and after DISCONNECT
    /// nothing of the namespace reaches the client. Spec: SIO-15, SIO-64.
    pub fn emit_event(&mut self, id: SessionId, packet: &str) {
        if self.session(id).is_some_and(|session| session.is_connected(0)) {
            self.emit(id, packet);
        }
    }

    /// Sends one binary Engine.IO message, without Socket.IO. Spec: EIO-14, EIO-15.
    pub fn emit_binary(&mut self, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.session_mut(id) else { return };
        let version = session.version;
        match &session.carrier {
            Carrier::Pipe(pipe) => {
                let pipe = *pipe;
                let mut frame = Vec::with_capacity(bytes.len() + 11);
                let prefix: &[u8] = if version == eio::Version::V3 { &[4] } else { &[] };
                ws::put_header(&mut frame, OpCode::Data(Data::Binary), prefix.len() + bytes.len());
                frame.extend_from_slice(prefix);
                frame.extend_from_slice(bytes);
                self.outbox.push(pipe, &frame);
            }
            Carrier::Polling(_) => {
                let bytes = Bytes::copy_from_slice(bytes);
                self.queue_for_poll(id, eio::payload::Out::Binary(bytes));
            }
        }
    }

    /// Sends a ready WebSocket frame that many sessions share.
    pub fn emit_frame(&mut self, id: SessionId, frame: &Bytes) {
        let Some(session) = self.session(id) else { return };
        match &session.carrier {
            Carrier::Pipe(pipe) => {
                self.outbox.push_shared(*pipe, frame);
            }
            Carrier::Polling(_) => {
                let payload = frame.slice_ref(ws::payload_of(frame));
                self.queue_for_poll(id, eio::payload::Out::Text(payload));
            }
        }
    }

    /// How many WebSockets have got bytes since the last flush.
    pub fn pipes_with_output(&self) -> usize {
        self.outbox.dirty().len()
    }

    /// The session of one of them.
    pub fn session_with_output(&self, index: usize) -> Option<SessionId> {
        match self.role(*self.outbox.dirty().get(index)?) {
            Role::Session(session) => Some(session),
            Role::Gone | Role::Probe { .. } | Role::RawEcho | Role::Closing => None,
        }
    }

    /// Bytes waiting for a client.
    pub fn queued(&mut self, id: SessionId) -> usize {
        match self.session(id).map(|session| &session.carrier) {
            Some(Carrier::Pipe(pipe)) => {
                let pipe = *pipe;
                self.outbox.queued(pipe)
            }
            Some(Carrier::Polling(polling)) => polling.bytes,
            None => 0,
        }
    }
}
