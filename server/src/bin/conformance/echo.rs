//! The echo application: what generic Engine.IO and Socket.IO suites expect.

use std::convert::Infallible;

use bytes::Bytes;
use throng_engine::{App, Cx, Engine, Items, Lanes, Place, SessionEvent, SessionId};
use throng_wire::sio::{self, EventData};

/// Echoes; sends nothing to other shards or to a store.
pub struct Echo;

impl Items for Echo {
    type Request = Infallible;
    type Delivery = Infallible;
    type Command = Infallible;
    type Reply = Infallible;
    type Signal = Infallible;
    type Notice = Infallible;
    type Log = Infallible;
    type Change = Infallible;
}

impl App for Echo {
    type Settings = ();
    type View = Vec<Infallible>;
    type Counters = ();

    const NAMESPACES: &'static [&'static str] = &["/", "/custom"];

    fn new(_settings: &(), _place: &Place) -> Echo {
        Echo
    }

    fn session_event(&mut self, event: SessionEvent, cx: &mut Cx<'_, Echo>) {
        match event {
            SessionEvent::Connected { session, namespace, auth, .. } => {
                let auth = auth.as_deref().unwrap_or("{}");
                let mut packet = String::new();
                sio::put_event(&mut packet, name_of(namespace), None, "auth", &[auth]);
                cx.engine.emit(session, &packet);
            }
            SessionEvent::Event { session, namespace, ack, data, attachments, .. } => {
                echo(cx.engine, session, name_of(namespace), ack, &data, &attachments);
            }
            SessionEvent::Text { session, text } => cx.engine.emit_message(session, &text),
            SessionEvent::Binary { session, bytes } => cx.engine.emit_binary(session, &bytes),
            SessionEvent::Opened { .. }
            | SessionEvent::Disconnected { .. }
            | SessionEvent::Moved { .. }
            | SessionEvent::Ended { .. } => {}
        }
    }

    fn request(&mut self, request: Infallible, _cx: &mut Cx<'_, Echo>) {
        match request {}
    }

    fn delivery(&mut self, delivery: Infallible, _engine: &mut Engine) {
        match delivery {}
    }

    fn reply(&mut self, reply: Infallible, _cx: &mut Cx<'_, Echo>) {
        match reply {}
    }

    fn notice(&mut self, notice: Infallible, _cx: &mut Cx<'_, Echo>) {
        match notice {}
    }

    fn takes_requests(&self, _lanes: &Lanes<Echo>) -> bool {
        true
    }

    fn counters(&self) -> &() {
        &()
    }
}

fn echo(
    engine: &mut Engine,
    session: SessionId,
    namespace: &str,
    ack: Option<u64>,
    data: &EventData,
    attachments: &[Bytes],
) {
    let count = attachments.len() as u32;
    let mut packet = String::new();
    match (data.name(), ack) {
        ("message", _) if count == 0 => {
            let args: &[&str] = if data.args().is_empty() { &[] } else { &[data.args()] };
            sio::put_event(&mut packet, namespace, None, "message-back", args);
        }
        ("message", _) => {
            let separator = if data.args().is_empty() { "" } else { "," };
            let data = format!(r#"["message-back"{separator}{}]"#, data.args());
            sio::put_binary_event(&mut packet, namespace, count, None, &data);
        }
        ("message-with-ack", Some(id)) if count == 0 => {
            sio::put_ack(&mut packet, namespace, id, data.args());
        }
        ("message-with-ack", Some(id)) => {
            let data = format!("[{}]", data.args());
            sio::put_binary_ack(&mut packet, namespace, count, id, &data);
        }
        _ => return,
    }
    engine.emit(session, &packet);
    for attachment in attachments {
        engine.emit_binary(session, attachment);
    }
}

fn name_of(namespace: u8) -> &'static str {
    Echo::NAMESPACES[usize::from(namespace)]
}
