//! Which requests open a session, join one, or are refused.

use smallvec::SmallVec;
use throng_wire::eio::{Open, Version};
use throng_wire::http;

use super::account::Account;
use super::pipe::Role;
use super::poll_queue::{Polling, Post};
use super::polling::form;
use super::session::{Beat, Session};
use super::trust::Trust;
use super::{Carrier, Engine, SessionEvent};
use crate::engine_request::{Accept, Body, Eio, Endpoint, EngineRequest, Method, Transport};
use crate::handshake_refusal::HandshakeRefusal;
use crate::ids::{PipeId, PollId, SessionId, Sid};
use crate::now::Now;
use crate::outbox::Class;
use crate::timers::Timer;

impl Engine {
    /// The live session that a request's `sid` names.
    fn lookup(&mut self, request: &EngineRequest, sid: &str) -> Option<SessionId> {
        self.named(request, sid).filter(|id| self.is_alive(*id))
    }

    /// The session of that name, whether its heartbeat is due or not.
    fn named(&self, request: &EngineRequest, sid: &str) -> Option<SessionId> {
        let session = self.session_of(&Sid::parse(sid)?)?;
        (session.endpoint == request.endpoint).then_some(session.id)
    }

    fn session_of(&self, sid: &Sid) -> Option<&Session> {
        let slot = self.slots.get(sid.slot() as usize).filter(|_| sid.shard() == self.shard)?;
        let session = slot.session.as_deref()?;
        let is_match = subtle::ConstantTimeEq::ct_eq(&session.sid_random[..], sid.random());
        bool::from(is_match).then_some(session)
    }

    pub(crate) fn names_identified(&self, sid: &Sid) -> bool {
        self.session_of(sid).is_some_and(|session| session.trust() == Trust::Identified)
    }

    pub(crate) fn has_session(&self, request: &EngineRequest) -> bool {
        request.sid.as_deref().is_some_and(|sid| self.named(request, sid).is_some())
    }

    /// [`judge`]s the request, and the session it names.
    fn verify(
        &mut self,
        request: &EngineRequest,
        is_upgrade: bool,
    ) -> Result<Verified, HandshakeRefusal> {
        match judge(request, is_upgrade)? {
            Admission::RawEcho => return Ok(Verified::RawEcho),
            Admission::New(version) => {
                return self.find_place(request).map(|()| Verified::New(version));
            }
            Admission::Session => {}
        }
        let sid = request.sid.as_deref().unwrap_or_default();
        let id = self.lookup(request, sid).ok_or(HandshakeRefusal::UnknownSid)?;
        let is_polling = self.session(id).is_some_and(Session::is_polling);
        let wants_polling = request.transport == Transport::Polling;
        if is_upgrade == wants_polling || (!is_upgrade && !is_polling) {
            return Err(HandshakeRefusal::WrongTransport);
        }
        Ok(Verified::Session(id))
    }

    pub(crate) fn http(&mut self, poll: PollId, request: EngineRequest, body: Body) {
        match self.verify(&request, false) {
            Err(why) => self.refuse_http(poll, &request, why),
            Ok(Verified::RawEcho) => {
                self.refuse_http(poll, &request, HandshakeRefusal::WrongTransport);
            }
            Ok(Verified::Session(id)) => match request.method {
                Method::Get => self.poll(id, poll, request.jsonp),
                Method::Post => {
                    let form = form(request.octet_stream);
                    let post = Post { poll, form, is_jsonp: request.jsonp.is_some() };
                    self.post(id, post, body);
                }
                Method::Other => self.refuse_http(poll, &request, HandshakeRefusal::BadRequest),
            },
            Ok(Verified::New(version)) => {
                let polling = Box::new(Polling::new(request.b64));
                let jsonp = request.jsonp;
                let id = self.open(version, request, Carrier::Polling(polling));
                self.poll(id, poll, jsonp);
                self.answer_poll(id);
            }
        }
    }

    pub(crate) fn upgrade(&mut self, pipe: PipeId, accept: Accept, request: EngineRequest) {
        self.outbox.open(pipe, Class::Anonymous);
        self.open_pipe(pipe, Role::Gone);
        match self.verify(&request, true) {
            Ok(Verified::RawEcho) => {
                self.outbox.set_class(pipe, Class::Echo);
                self.greet(pipe, accept);
                self.set_role(pipe, Role::RawEcho);
            }
            Err(why) => self.refuse_pipe(pipe, accept, &request, why),
            Ok(Verified::Session(id)) => {
                self.greet(pipe, accept);
                self.set_role(pipe, Role::Probe { session: id, is_probed: false });
                let is_free = self
                    .session(id)
                    .is_some_and(|session| session.is_polling() && session.probe.is_none());
                if !is_free || !self.settings.allow_upgrades {
                    self.refused.push((request.peer, HandshakeRefusal::WrongTransport));
                    return self.close_pipe(pipe, 1008, "");
                }
                let session = self.live_mut(id);
                session.probe = Some(pipe);
                let trust = session.account.trust;
                self.outbox.set_class(pipe, trust.class());
                let due = self.now.plus_ms(u64::from(self.settings.upgrade_timeout_ms));
                self.timers.schedule(due, Timer::Probe(pipe));
            }
            Ok(Verified::New(version)) => {
                self.greet(pipe, accept);
                let id = self.open(version, request, Carrier::Pipe(pipe));
                self.set_role(pipe, Role::Session(id));
            }
        }
    }

    /// Whether there is a place for one more session, and for one more of this client.
    fn find_place(&self, request: &EngineRequest) -> Result<(), HandshakeRefusal> {
        let most = self.settings.anonymous.sessions_per_ip_max;
        let has_most =
            self.traits.identifies && most > 0 && self.addresses.count(request.peer) >= most;
        if self.is_stopping {
            return Err(HandshakeRefusal::Stopping);
        }
        if self.is_full() {
            return Err(HandshakeRefusal::ServerFull);
        }
        if has_most { Err(HandshakeRefusal::ClientFull) } else { Ok(()) }
    }

    fn greet(&mut self, pipe: PipeId, accept: Accept) {
        if let Accept::Write { key, protocol } = accept {
            let answer = http::switching_protocols(&key, protocol.as_deref());
            self.outbox.push(pipe, answer.as_bytes());
        }
    }

    fn refuse_http(&mut self, poll: PollId, request: &EngineRequest, why: HandshakeRefusal) {
        self.refused.push((request.peer, why));
        self.answer_json(poll, why.status(), why.json());
    }

    fn refuse_pipe(
        &mut self,
        pipe: PipeId,
        accept: Accept,
        request: &EngineRequest,
        why: HandshakeRefusal,
    ) {
        self.refused.push((request.peer, why));
        match accept {
            Accept::Write { .. } => {
                self.outbox.push(pipe, &http::refusal(why.status(), why.json()));
                self.set_role(pipe, Role::Closing);
                self.shut_pipe(pipe);
            }
            Accept::Done => {
                self.set_role(pipe, Role::RawEcho);
                self.close_pipe(pipe, 1008, "");
            }
        }
    }

    fn open(&mut self, version: Version, request: EngineRequest, carrier: Carrier) -> SessionId {
        let now = self.now;
        let settings = &self.settings;
        let (ping_interval_ms, ping_timeout_ms) =
            (settings.ping_interval_ms, settings.ping_timeout_ms);
        let max_payload = settings.max_payload;
        let is_polling = matches!(carrier, Carrier::Polling(_));
        let upgrades_websocket = is_polling && settings.allow_upgrades;
        let interval = u64::from(ping_interval_ms);
        let (beat, deadline) = match version {
            Version::V3 => (Beat::AwaitPing, now.plus_ms(interval + u64::from(ping_timeout_ms))),
            Version::V4 => (Beat::SendPing, now.plus_ms(interval)),
        };
        let is_socket_io = request.endpoint == Endpoint::SocketIo;
        let connect_by = if is_socket_io && version == Version::V4 {
            now.plus_ms(u64::from(settings.connect_timeout_ms))
        } else {
            Now(u64::MAX)
        };
        let (trust, identify_by) = match self.traits.identifies {
            true => (Trust::Anonymous, self.identify_by()),
            false => (Trust::Identified, Now(u64::MAX)),
        };
        let address = self.traits.identifies.then(|| self.addresses.add(request.peer, now));
        if let Carrier::Pipe(pipe) = &carrier {
            self.set_pipe_trust(*pipe, trust);
        }
        let id = self.insert(|id, sid_random| Session {
            id,
            endpoint: request.endpoint,
            version,
            beat,
            connected: 0,
            sid_random,
            carrier,
            probe: None,
            deadline,
            timer_at: Now(u64::MAX),
            opened: now,
            connect_by,
            connections: SmallVec::new(),
            assembly: None,
            account: Account::new(trust, identify_by),
            address,
            peer: request.peer,
            messages_in: 0,
            has_left: false,
            was_disconnected: false,
        });
        let sid = self.live(id).sid().text();
        let mut open = String::with_capacity(128);
        Open { sid: &sid, upgrades_websocket, ping_interval_ms, ping_timeout_ms, max_payload }
            .write(&mut open);
        self.emit(id, &open);
        let EngineRequest { peer, token, .. } = request;
        self.session_events.push_back(SessionEvent::Opened { session: id, peer, token });
        self.list_anonymous_polling(id);
        if is_socket_io && version == Version::V3 {
            // Engine.IO 3 clients send no CONNECT for `/`; the server connects them (SIO).
            self.connect_namespace(id, 0, None);
        }
        id
    }
}

enum Verified {
    New(Version),
    Session(SessionId),
    RawEcho,
}

/// What a request may go on to, as far as is known without its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A new session of this protocol.
    New(Version),
    /// The session that its `sid` names, if the shard has it.
    Session,
    /// A plain WebSocket echo.
    RawEcho,
}

/// Judges a request to the engine, in the order of the reference server. Any thread that holds
/// the connection may ask; the shard that owns the session decides about the session itself.
///
/// # Errors
/// The refusal, with its status and JSON body.
///
/// Spec: TRN-10 to TRN-17.
pub fn judge(request: &EngineRequest, is_upgrade: bool) -> Result<Admission, HandshakeRefusal> {
    let is_get = request.method == Method::Get;
    if request.endpoint == Endpoint::RawEcho {
        return if is_get { Ok(Admission::RawEcho) } else { Err(HandshakeRefusal::BadRequest) };
    }
    if request.transport == Transport::Unknown {
        return Err(HandshakeRefusal::Transport);
    }
    if !request.origin_allowed {
        return Err(HandshakeRefusal::Origin);
    }
    if request.sid.is_some() {
        // RFC 6455 §4.1: a WebSocket handshake is a GET.
        let is_broken = is_upgrade && !is_get;
        return if is_broken { Err(HandshakeRefusal::BadRequest) } else { Ok(Admission::Session) };
    }
    if !is_get {
        return Err(HandshakeRefusal::Method);
    }
    if is_upgrade != (request.transport == Transport::Websocket) {
        return Err(HandshakeRefusal::WrongTransport);
    }
    match request.eio {
        Eio::V3 => Ok(Admission::New(Version::V3)),
        Eio::V4 => Ok(Admission::New(Version::V4)),
        Eio::Unsupported => Err(HandshakeRefusal::ProtocolVersion),
    }
}
