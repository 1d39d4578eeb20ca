//! The echo application of the `conformance` binary: same engine, no chat. Its surface is what the
//! official protocol suites expect; it is never part of the server.

use bytes::Bytes;
use throng_wire::sio;

use crate::Logic;
use crate::counters::Counters;
use crate::effect::{Effects, LaneSlots};
use crate::engine::{Engine, SessionEvent};
use crate::ids::SessionId;
use crate::input::{EngineRequest, Input};
use crate::now::Now;
use crate::outbox::Outbox;
use crate::settings::{Seed, Settings};

const NAMESPACES: &[&str] = &["/", "/custom"];

pub struct Echo {
    engine: Engine,
}

impl Echo {
    pub fn new(settings: Settings, seed: Seed) -> Echo {
        Echo { engine: Engine::new(settings, seed.random, NAMESPACES) }
    }

    fn pump(&mut self) {
        while let Some(session_event) = self.engine.next_session_event() {
            match session_event {
                SessionEvent::Connected { conn, namespace, auth } => {
                    let auth = auth.as_deref().unwrap_or("{}");
                    let mut packet = String::new();
                    sio::put_event(&mut packet, name_of(namespace), None, "auth", &[auth]);
                    self.engine.emit(conn, &packet);
                }
                SessionEvent::Event { conn, namespace, ack, data, attachments, .. } => {
                    self.event(conn, name_of(namespace), ack, &data, &attachments);
                }
                SessionEvent::Text { conn, text } => self.engine.emit(conn, &format!("4{text}")),
                SessionEvent::Binary { conn, bytes } => self.engine.emit_binary(conn, &bytes),
                SessionEvent::Opened { .. }
                | SessionEvent::Disconnected { .. }
                | SessionEvent::Moved { .. }
                | SessionEvent::Ended { .. } => {}
            }
        }
    }

    fn event(
        &mut self,
        conn: SessionId,
        namespace: &str,
        ack: Option<u64>,
        data: &str,
        attachments: &[Bytes],
    ) {
        let Ok(event) = sio::event(data) else { return };
        let count = attachments.len() as u32;
        let mut packet = String::new();
        match (&*event.name, ack) {
            ("message", _) if count == 0 => {
                let args: &[&str] = if event.args.is_empty() { &[] } else { &[event.args] };
                sio::put_event(&mut packet, namespace, None, "message-back", args);
            }
            ("message", _) => {
                let separator = if event.args.is_empty() { "" } else { "," };
                let data = format!(r#"["message-back"{separator}{}]"#, event.args);
                sio::put_binary_event(&mut packet, namespace, count, None, &data);
            }
            ("message-with-ack", Some(id)) if count == 0 => {
                sio::put_ack(&mut packet, namespace, id, event.args);
            }
            ("message-with-ack", Some(id)) => {
                let data = format!("[{}]", event.args);
                sio::put_binary_ack(&mut packet, namespace, count, id, &data);
            }
            _ => return,
        }
        self.engine.emit(conn, &packet);
        for attachment in attachments {
            self.engine.emit_binary(conn, attachment);
        }
    }
}

fn name_of(namespace: u8) -> &'static str {
    NAMESPACES[usize::from(namespace)]
}

impl Logic for Echo {
    fn begin(&mut self, now: Now, _room: &LaneSlots) {
        self.engine.now = now;
    }

    fn step(&mut self, input: Input<'_>, _effects: &mut Effects) {
        match input {
            Input::Upgrade { pipe, accept, request } => self.engine.upgrade(pipe, accept, request),
            Input::Bytes { pipe, bytes } => self.engine.bytes(pipe, bytes),
            Input::PipeClosed { pipe, end } => self.engine.pipe_closed(pipe, end),
            Input::Http { poll, request, body } => self.engine.http(poll, request, body),
            Input::HttpGone { poll } => self.engine.http_gone(poll),
            Input::Stop => self.engine.stop(),
            // Nothing here sends to other shards or to a store.
            Input::Request { .. }
            | Input::Delivery { .. }
            | Input::Reply(_)
            | Input::Revoked(_)
            | Input::UserChanged(_)
            | Input::Cluster(_) => {}
        }
        self.pump();
    }

    fn settle(&mut self, effects: &mut Effects) {
        self.engine.run_timers();
        self.pump();
        self.engine.evict_slow();
        self.pump();
        self.engine.finish_turn(effects);
    }

    fn takes_requests(&self) -> bool {
        true
    }

    fn knows(&self, request: &EngineRequest) -> bool {
        self.engine.knows(request)
    }

    fn next_deadline(&self) -> Option<Now> {
        self.engine.next_deadline()
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.engine.outbox
    }

    fn counters(&self) -> &Counters {
        &self.engine.counters
    }
}
