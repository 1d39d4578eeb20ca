//! Bodies of POSTs that arrive piece by piece.
//!
//! The session is known before the first byte is kept, and what has arrived is booked on its account: it
//! has a deadline, counts towards the budgets, and is no larger than the session's messages may be.

use bytes::Bytes;
use throng_wire::http::EngineError;

use super::poll_queue::{Polling, Post, Receiving};
use super::polling::JSON;
use super::{Carrier, CloseReason, Engine};
use crate::engine_request::Answer;
use crate::ids::{PollId, SessionId};

impl Engine {
    /// A body is on its way. `announced`: its bytes, if that is known.
    pub(super) fn begin_body(&mut self, id: SessionId, post: Post, announced: Option<u64>) {
        let most = self.payload_max(self.live(id).trust());
        if announced.is_some_and(|bytes| bytes > most as u64) {
            return self.refuse_large(id, post.poll);
        }
        self.polling_mut(id).receiving = Some(Receiving::new(post));
        self.bodies.insert(post.poll, id);
        self.counters.bodies += 1;
        self.book_body(id);
    }

    /// A piece of a body has arrived.
    pub(crate) fn body(&mut self, poll: PollId, bytes: &[u8], is_last: bool) {
        // Its POST was answered if the session has ended or moved.
        let Some(id) = self.bodies.get(&poll).copied() else { return };
        if !is_last {
            // Bodies in many small pieces cost more than their bytes.
            self.charge(id, 1);
        }
        let Some(trust) = self.session(id).map(|session| session.trust()) else { return };
        let most = self.payload_max(trust);
        let receiving = self.polling_mut(id).receiving.as_mut();
        let receiving = receiving.expect("a body that is known is arriving");
        if receiving.len() + bytes.len() > most {
            self.forget_body(id);
            return self.refuse_large(id, poll);
        }
        receiving.add(bytes, most);
        if !is_last {
            return self.book_body(id);
        }
        let Receiving { post, bytes } = self.forget_body(id).expect("a body that is known");
        self.take_body(id, post, bytes);
    }

    fn book_body(&mut self, id: SessionId) {
        let session = self.live(id);
        self.set_unfinished(id, session.assembled() + session.received());
    }

    /// The body is no longer waited for. What is not whole from now on is what its packets began.
    fn forget_body(&mut self, id: SessionId) -> Option<Receiving> {
        let receiving = self.polling_mut(id).receiving.take()?;
        self.bodies.remove(&receiving.post.poll);
        self.counters.bodies -= 1;
        self.set_unfinished(id, self.live(id).assembled());
        Some(receiving)
    }

    /// The client has given up the POST. True if its body was arriving.
    pub(super) fn body_gone(&mut self, poll: PollId) -> bool {
        let Some(id) = self.bodies.get(&poll).copied() else { return false };
        self.forget_body(id);
        true
    }

    /// The session has moved to a WebSocket: its POST is one of the old transport (TRN-45).
    pub(super) fn move_from_body(&mut self, id: SessionId, polling: &mut Polling) {
        self.refuse_body(polling, CloseReason::PollingOverlap);
        self.set_unfinished(id, self.live(id).assembled());
    }

    /// Answers that a body is too large, and ends the session.
    ///
    /// Spec: TRN-39.
    pub(super) fn refuse_large(&mut self, id: SessionId, poll: PollId) {
        self.answer_json(poll, 413, r#"{"code":3,"message":"Payload too large"}"#);
        self.end(id, self.too_large(id));
    }

    /// The body of the session, if there is one, has not arrived in time.
    pub(super) fn time_out_body(&mut self, id: SessionId) {
        if !self.live(id).is_polling() {
            return;
        }
        if let Some(receiving) = self.forget_body(id) {
            self.counters.bodies_too_slow += 1;
            self.answer_json(receiving.post.poll, 408, r#"{"code":3,"message":"Request timeout"}"#);
        }
    }

    /// Answers the POST whose body was arriving when its session ended.
    pub(super) fn refuse_body(&mut self, polling: &mut Polling, reason: CloseReason) {
        let Some(receiving) = polling.receiving.take() else { return };
        let poll = receiving.post.poll;
        self.bodies.remove(&poll);
        self.counters.bodies -= 1;
        match reason {
            CloseReason::Limit(_) => {
                self.answer_json(poll, 503, r#"{"code":6,"message":"Server is full"}"#);
            }
            CloseReason::PollingOverlap => self.refuse_poll(poll, EngineError::BadRequest),
            CloseReason::TransportClose
            | CloseReason::TransportError
            | CloseReason::PingTimeout
            | CloseReason::ConnectTimeout
            | CloseReason::ClientDisconnect
            | CloseReason::ParseError
            | CloseReason::Protocol(_)
            | CloseReason::TooLarge(_)
            | CloseReason::SlowConsumer(_)
            | CloseReason::ServerDisconnect
            | CloseReason::ServerStop => self.refuse_poll(poll, EngineError::SessionUnknown),
        }
    }

    pub(super) fn answer_json(&mut self, poll: PollId, status: u16, json: &'static str) {
        let body = vec![Bytes::from_static(json.as_bytes())];
        self.answers
            .push((poll, Answer { status, content_type: JSON, body, is_identified: false }));
    }

    /// Asserts that each body that is known is arriving at its session.
    pub(super) fn check_bodies(&self) {
        let mut arriving = 0;
        for session in self.sessions() {
            let Carrier::Polling(polling) = &session.carrier else { continue };
            let Some(receiving) = &polling.receiving else { continue };
            arriving += 1;
            let poll = receiving.post.poll;
            assert_eq!(self.bodies.get(&poll), Some(&session.id), "a body names its session");
        }
        assert_eq!(self.bodies.len(), arriving, "only bodies that are arriving are known");
        assert_eq!(self.counters.bodies, arriving as u64, "bodies that are arriving are counted");
    }
}
