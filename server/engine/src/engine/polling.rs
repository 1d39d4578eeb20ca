//! The polling transport of a session: what waits for the next GET, and what a POST carries.

use bytes::Bytes;
use throng_wire::eio::payload::{self, Form, Out};
use throng_wire::eio::{self, Kind, Version};
use throng_wire::http::EngineError;

use super::poll_queue::{Parked, Polling, Post, bytes_of};
use super::trust::Trust;
use super::{Carrier, CloseReason, Engine};
use crate::canary::{Canary, is_armed};
use crate::engine_request::{Answer, Body};
use crate::ids::{PollId, SessionId};
use crate::timers::Timer;

const TEXT: &str = "text/plain; charset=UTF-8";
const BINARY: &str = "application/octet-stream";
const SCRIPT: &str = "text/javascript; charset=UTF-8";
pub(super) const JSON: &str = "application/json";
/// Packets in one POST: as many as a user may send at once, with some to spare. Spec: TRN-40.
const POST_PACKETS_MAX: usize = 4096;
/// Bytes of the packets in one answer to a GET, unless one has more: what has left the queue is on no account until
/// the client has read it. The next GET gets the others. Spec: TRN-31.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

impl Engine {
    /// Answers a request of a session, which ends or has ended: its end has a reason of its own.
    pub(super) fn refuse_poll(&mut self, poll: PollId, error: EngineError) {
        let body = vec![Bytes::from_static(error.json().as_bytes())];
        let answer =
            Answer { status: error.status(), content_type: JSON, body, is_identified: false };
        self.answers.push((poll, answer));
    }

    /// The transport of a session that its caller knows to poll.
    pub(super) fn polling_mut(&mut self, id: SessionId) -> &mut Polling {
        match &mut self.live_mut(id).carrier {
            Carrier::Polling(polling) => polling,
            Carrier::Pipe(_) => unreachable!("the caller looked at its transport"),
        }
    }

    pub(super) fn queue_for_poll(&mut self, id: SessionId, packet: Out) {
        let packets_max = self.settings.poll_packets_max as usize;
        let polling = self.polling_mut(id);
        let added = if is_armed(Canary::UncountedPollBytes) { 0 } else { bytes_of(&packet) };
        polling.bytes += added;
        polling.queue.push_back(packet);
        let packets = polling.queue.len();
        if packets == 1 {
            self.ready_polls.push(id);
        }
        let trust = self.live(id).trust();
        self.held_mut(trust).polled += added;
        let bytes_max = self.outbox.bound(trust.class()) as usize;
        let bytes = self.polling_mut(id).counted(trust, bytes_max);
        if packets > packets_max {
            self.slow.push((id, "limits.poll_packets_max"));
        } else if bytes > bytes_max {
            self.slow.push((id, trust.outbound_setting()));
        }
    }

    /// GET: parks until there is something to carry.
    pub(super) fn poll(&mut self, id: SessionId, poll: PollId, jsonp: Option<u32>) {
        let polling = self.polling_mut(id);
        if polling.parked.is_some() {
            self.refuse_poll(poll, EngineError::BadRequest);
            return self.end(id, CloseReason::PollingOverlap);
        }
        polling.parked = Some(Parked { poll, jsonp });
        if let Some(answered) = polling.last.replace(poll) {
            self.polls.remove(&answered);
        }
        self.polls.insert(poll, id);
        self.ready_polls.push(id);
    }

    /// POST: packets of the client. A body that is arriving waits in [`bodies`](super::bodies).
    pub(super) fn post(&mut self, id: SessionId, post: Post, body: Body) {
        let polling = self.polling_mut(id);
        if polling.receiving.is_some() || polling.late_post.is_some() {
            // It has not waited for the answer to the one before (TRN-37).
            self.refuse_poll(post.poll, EngineError::BadRequest);
            return self.end(id, CloseReason::PollingOverlap);
        }
        match body {
            Body::Whole(bytes) => self.take_body(id, post, bytes),
            Body::Arriving { announced } => self.begin_body(id, post, announced),
        }
    }

    /// The packets of a whole body.
    pub(super) fn take_body(&mut self, id: SessionId, post: Post, body: Vec<u8>) {
        let Post { poll, form, is_jsonp } = post;
        let session = self.live(id);
        let version = session.version;
        if body.len() > self.payload_max(session.trust()) {
            return self.refuse_large(id, poll);
        }
        self.counters.bytes_in += body.len() as u64;
        let unwrapped =
            if is_jsonp { payload::jsonp_body(&body).map(String::into_bytes) } else { Ok(body) };
        let packets = unwrapped
            .as_deref()
            .map_err(|fault| *fault)
            .and_then(|body| payload::decode(version, form, body, POST_PACKETS_MAX));
        let Ok(packets) = packets else {
            self.refuse_poll(poll, EngineError::BadRequest);
            return self.end(id, CloseReason::ParseError);
        };
        for packet in packets {
            let is_close = packet.kind == Kind::Close;
            if is_close {
                self.release(id);
            }
            let bytes = match &packet.data {
                eio::Data::Text(text) => text.len(),
                eio::Data::Binary(bytes) => bytes.len(),
            };
            self.charge_packet(id, bytes);
            if self.session(id).is_some() {
                self.packet(id, packet);
            }
            if is_close {
                break;
            }
            if self.session(id).is_none() {
                // The packet broke a rule of its protocol (TRN-40).
                return self.refuse_poll(poll, EngineError::BadRequest);
            }
        }
        let Some(session) = self.session(id) else {
            return self.accept_post(poll, false); // It was a close.
        };
        self.set_unfinished(id, session.assembled());
        // The client sends its next packets when it has the answer: when the turn ends, or when their
        // work is paid for.
        self.polling_mut(id).late_post = Some(poll);
        self.posts.push(id);
    }

    pub(super) fn answer_posts(&mut self) {
        for id in std::mem::take(&mut self.posts) {
            self.counters.reads_paused += u64::from(self.wait_for_rate(id).is_some());
            self.answer_post(id);
        }
    }

    fn accept_post(&mut self, poll: PollId, is_identified: bool) {
        let body = vec![Bytes::from_static(b"ok")];
        let answer = Answer { status: 200, content_type: "text/html", body, is_identified };
        self.answers.push((poll, answer));
    }

    /// The work of the session's last POST is paid for, unless the session has ended or moved.
    pub(super) fn answer_post(&mut self, id: SessionId) {
        let paid_later = self.paid_later(id);
        let Some(session) = self.session_mut(id) else { return };
        let is_identified = session.trust() == Trust::Identified;
        let Carrier::Polling(polling) = &mut session.carrier else { return };
        match (polling.late_post, paid_later) {
            (Some(poll), None) => {
                polling.late_post = None;
                self.accept_post(poll, is_identified);
            }
            (Some(_), Some(paid_at)) => {
                self.postpone_unread(id, paid_at);
                self.timers.schedule(paid_at, Timer::LateAnswer(id));
            }
            (None, _) => {} // It was answered when the client moved, or by an older timer.
        }
    }

    /// Answers the POST that waits, because its session goes on elsewhere or ends.
    pub(super) fn answer_late(&mut self, polling: &Polling, trust: Trust) {
        if let Some(poll) = polling.late_post {
            self.accept_post(poll, trust == Trust::Identified);
        }
    }

    /// The client closes: its parked poll ends with a noop, as upstream does.
    fn release(&mut self, id: SessionId) {
        self.polling_mut(id).is_released = true;
        self.answer_poll(id);
    }

    /// The client's connection ended before it got the answer to a poll: the client is gone. The
    /// answer may be on its way already; what it carried is lost, and with it the session.
    pub(crate) fn http_gone(&mut self, poll: PollId) {
        if self.body_gone(poll) {
            return;
        }
        // Another poll has followed it, or the session has ended or moved to a WebSocket.
        let Some(id) = self.polls.remove(&poll) else { return };
        self.polling_mut(id).parked = None;
        self.end(id, CloseReason::TransportClose);
    }

    pub(super) fn answer_polls(&mut self) {
        for id in std::mem::take(&mut self.ready_polls) {
            self.answer_poll(id);
        }
    }

    /// Answers the parked poll if there is something to carry or it may not be held.
    pub(super) fn answer_poll(&mut self, id: SessionId) {
        // Since it was listed, the session may have ended, or moved to a WebSocket.
        let Some(session) = self.session_mut(id) else { return };
        let version = session.version;
        let Carrier::Polling(polling) = &mut session.carrier else { return };
        let Some(parked) = polling.parked else { return }; // No poll waits.
        if polling.queue.is_empty() {
            if !polling.is_released {
                return;
            }
            polling.queue.push_back(Out::Text(Bytes::from_static(b"6")));
        }
        polling.parked = None;
        let trust = session.account.trust;
        let (packets, taken) = polling.take_some(ANSWER_BYTES_MAX);
        let answer = encode(version, polling.b64, parked.jsonp, &packets, trust);
        self.held_mut(trust).polled -= taken;
        self.answers.push((parked.poll, answer));
    }

    /// What a polling session sends last: what is queued and a close packet, if a poll waits.
    pub(super) fn end_polling(
        &mut self,
        polling: &mut Polling,
        version: Version,
        trust: Trust,
        reason: CloseReason,
    ) {
        self.forget_polls(polling);
        self.answer_late(polling, trust);
        self.refuse_body(polling, reason);
        let Some(parked) = polling.parked.take() else { return }; // No poll waits.
        // The rest ends with the session.
        let (mut packets, _) = polling.take_some(ANSWER_BYTES_MAX);
        if matches!(reason, CloseReason::SlowConsumer(_)) {
            packets.clear();
        }
        packets.push(Out::Text(Bytes::from_static(b"1")));
        let answer = encode(version, polling.b64, parked.jsonp, &packets, trust);
        self.answers.push((parked.poll, answer));
    }

    /// The session polls no more: the end of its last poll means nothing.
    pub(super) fn forget_polls(&mut self, polling: &Polling) {
        if let Some(poll) = polling.last {
            self.polls.remove(&poll);
        }
    }
}

fn encode(
    version: Version,
    b64: bool,
    jsonp: Option<u32>,
    packets: &[Out],
    trust: Trust,
) -> Answer {
    let encoded = payload::encode(version, b64 || jsonp.is_some(), packets);
    let (content_type, body) = match jsonp {
        Some(index) => {
            let body = encoded.whole();
            let text =
                std::str::from_utf8(&body).expect("a payload without binary packets is text");
            (SCRIPT, vec![payload::jsonp(index, text).into()])
        }
        None => (if encoded.is_binary { BINARY } else { TEXT }, encoded.parts),
    };
    Answer { status: 200, content_type, body, is_identified: trust == Trust::Identified }
}

/// The form of a POST body.
pub(super) fn form(octet_stream: bool) -> Form {
    if octet_stream { Form::Binary } else { Form::Text }
}
