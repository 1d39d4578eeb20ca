//! The first request of a connection decides where it belongs: to this shard, another one, or the
//! HTTP thread.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use throng_engine::{
    Accept, App, Endpoint, EngineRequest, HandshakeRefusal, Input, PipeId, ShardId, Sid, judge,
};
use throng_wire::eio;
use throng_wire::http::{
    self, EngineError, Forwarded, HEAD_BYTES_MAX, PROXY_BYTES_MAX, ProxyHeader,
};

use super::awaited_head::AwaitedHead;
use super::connections::Connections;
use super::readiness::Readiness;
use super::turn::Worker;
use crate::link::{Handover, ToShard, Upgraded};
use crate::listen::{HTTP_RECV_BYTES, keep_unread};
use crate::policy::{Fields, HttpPolicy, TOO_MANY_CONNECTIONS};

/// Bytes of heads that are not whole, on one shard. Nearly every client sends its head in one piece,
/// which is not kept.
const HEADS_BYTES_MAX: usize = 4 << 20;
/// Bytes of a connection that are read first: nearly every head is shorter. What comes behind it, as a client
/// sends ahead, would be kept here until the HTTP thread has read it.
const FIRST_READ_BYTES: usize = 2048;
const MALFORMED: &str = r#"{"code":3,"message":"Bad request"}"#;
const TIMEOUT: &str = r#"{"code":3,"message":"Request timeout"}"#;

/// What the first bytes of a connection ask for.
enum Route {
    NeedMore,
    Refuse {
        status: u16,
        json: &'static str,
    },
    /// `len`: bytes of the request head.
    Upgrade {
        len: usize,
        owner: ShardId,
        accept: Accept,
        request: EngineRequest,
    },
    /// `sid`: of the session that the request names.
    HttpServer {
        sid: Option<Sid>,
    },
}

impl<A: App> Worker<A> {
    /// Reads a connection whose head is awaited and decides where it belongs.
    pub(super) fn read_head(&mut self, pipe: PipeId) {
        let head = self.connections.head_mut(pipe).expect("the caller found the head");
        // What comes behind the head is read by what serves the connection: nobody has booked it yet.
        let first = if head.bytes.is_empty() { FIRST_READ_BYTES } else { usize::MAX };
        let most = HEAD_BYTES_MAX + PROXY_BYTES_MAX - head.bytes.len();
        let most = most.min(self.buffer.len()).min(first);
        let count = match (&head.stream).read(&mut self.buffer[..most]) {
            Ok(0) => return self.drop_head(pipe),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return self.await_head(pipe);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return self.new_heads.push_back(pipe);
            }
            Err(_) => return self.drop_head(pipe),
        };
        let (policy, shards) = (&self.config.policy, self.config.shards);
        let mut kept = self.connections.swap_head_bytes(pipe, Vec::new());
        let head = self.connections.head_mut(pipe).expect("the caller found the head");
        let arrived = &self.buffer[..count];
        let is_first = kept.is_empty();
        if !is_first {
            kept.extend_from_slice(arrived);
        }
        let bytes = if is_first { arrived } else { &kept };
        let (used, route) = match read_proxy_header(bytes, head, policy) {
            Ok(used) => (used, route(&bytes[used..], head, policy, self.id, shards)),
            Err(route) => (0, route),
        };
        // What arrived and is needed.
        let used = match route {
            Route::NeedMore | Route::HttpServer { .. } => used,
            Route::Upgrade { len, .. } => used + len,
            Route::Refuse { .. } => bytes.len(),
        };
        let rest = if is_first {
            arrived[used..].to_vec()
        } else {
            kept.drain(..used);
            kept
        };
        self.connections.swap_head_bytes(pipe, rest);
        match route {
            Route::NeedMore => {
                if count == most {
                    // The rest has come as well.
                    self.new_heads.push_back(pipe);
                } else {
                    self.await_head(pipe);
                }
                self.shed_heads();
            }
            Route::Refuse { status, json } => self.refuse(pipe, status, json),
            Route::Upgrade { owner, accept, request, .. } if owner == self.id => {
                self.upgrade(pipe, accept, request);
            }
            Route::Upgrade { owner, accept, request, .. } => {
                self.send_to_owner(pipe, owner, accept, request);
            }
            Route::HttpServer { sid } => self.hand_over(pipe, sid),
        }
    }

    fn upgrade(&mut self, pipe: PipeId, accept: Accept, request: EngineRequest) {
        let mut leftover = self.connections.swap_head_bytes(pipe, Vec::new());
        if !self.watch_head(pipe) {
            return;
        }
        self.connections.promote(pipe);
        let input = Input::Upgrade { pipe, accept, request };
        self.shard.step(input, &mut self.effects);
        if !leftover.is_empty() {
            self.shard.step(Input::Bytes { pipe, bytes: &mut leftover }, &mut self.effects);
        }
    }

    /// The handshake names a session of another shard.
    fn send_to_owner(
        &mut self,
        pipe: PipeId,
        owner: ShardId,
        accept: Accept,
        request: EngineRequest,
    ) {
        let AwaitedHead { stream, bytes: leftover, peer, permit, .. } =
            *detach(&mut self.connections, &self.readiness, pipe);
        let handle = self.channels.handles.to(owner).expect("a shard of this process");
        let upgraded = Upgraded { stream, permit, accept, request, leftover };
        if let Err(ToShard::Upgraded(back)) = handle.try_send(ToShard::Upgraded(Box::new(upgraded)))
        {
            self.counters.connections_refused += 1;
            self.config.policy.log_refused(peer, 503);
            self.refuse_stream(back.stream, &http::refusal(503, TOO_MANY_CONNECTIONS));
        }
    }

    /// Only the shard that owns a session knows whether its user is known. The HTTP thread asks another one.
    fn hand_over(&mut self, pipe: PipeId, sid: Option<Sid>) {
        let Ok(slot) = self.channels.handovers.try_reserve() else {
            return self.refuse(pipe, 503, TOO_MANY_CONNECTIONS);
        };
        let AwaitedHead { stream, bytes: prefix, peer, permit, .. } =
            *detach(&mut self.connections, &self.readiness, pipe);
        self.counters.connections_handed_over += 1;
        keep_unread(&stream, HTTP_RECV_BYTES);
        let is_identified = sid.as_ref().is_some_and(|sid| self.shard.names_identified(sid));
        let elsewhere = sid.filter(|sid| sid.shard() != self.id);
        slot.send(Handover { stream, prefix, peer, permit, is_identified, elsewhere });
    }

    pub(super) fn refuse(&mut self, pipe: PipeId, status: u16, json: &str) {
        let head = detach(&mut self.connections, &self.readiness, pipe);
        self.config.policy.log_refused(head.peer, status);
        self.refuse_stream(head.stream, &http::refusal(status, json));
    }

    /// Answers, and leaves the connection to the HTTP thread, without a permit: closing with unread
    /// bytes would reset it, and the client might never see the answer.
    pub(super) fn refuse_stream(&mut self, stream: TcpStream, answer: &[u8]) {
        // The socket buffer of a new connection holds it.
        if (&stream).write_all(answer).is_ok() && self.channels.refused.try_send(stream).is_err() {
            self.counters.refusals_cut += 1;
        }
    }

    pub(super) fn drop_head(&mut self, pipe: PipeId) {
        self.connections.take_head(pipe).expect("the caller found the head");
    }

    /// Answers heads that took too long with 408, and closes them; those that a turn has no time for in a later one.
    pub(super) fn drop_overdue_heads(&mut self) {
        // Most turns have none, and do not ask the clock.
        let mut begun = None;
        while let Some(pipe) = self.connections.overdue_head(self.now) {
            let begun = *begun.get_or_insert_with(|| self.config.clock.now());
            self.counters.handshake_timeouts += 1;
            self.refuse(pipe, 408, TIMEOUT);
            if self.is_share_over(begun) {
                return;
            }
        }
    }

    /// Gives up the oldest heads if all together hold too much, and some more: the next byte must not
    /// make it look at all heads again.
    fn shed_heads(&mut self) {
        let excess = self.connections.head_bytes().saturating_sub(HEADS_BYTES_MAX);
        if excess == 0 {
            return;
        }
        for pipe in self.connections.oldest_heads(excess + HEADS_BYTES_MAX / 8) {
            self.counters.heads_over_budget += 1;
            self.refuse(pipe, 408, TIMEOUT);
        }
    }

    /// Watches the socket from now on. False if that failed: the connection is closed then.
    fn watch_head(&mut self, pipe: PipeId) -> bool {
        let head = self.connections.head_mut(pipe).expect("the caller found the head");
        if head.is_watched {
            return true;
        }
        match self.readiness.add_pipe(&head.stream, pipe) {
            Ok(()) => head.is_watched = true,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be watched");
                self.drop_head(pipe);
                return false;
            }
        }
        true
    }

    /// Waits for more of a head.
    fn await_head(&mut self, pipe: PipeId) {
        // A connection that cannot be watched has been closed and logged.
        let _ = self.watch_head(pipe);
    }
}

/// Takes a head out for another thread, and stops watching it.
fn detach(connections: &mut Connections, readiness: &Readiness, pipe: PipeId) -> Box<AwaitedHead> {
    let head = connections.take_head(pipe).expect("its request was read in this call");
    if head.is_watched {
        readiness.remove(&head.stream);
    }
    head
}

/// Reads the PROXY header, if one has to come, and returns its length. Its client is counted: all
/// requests of the connection are that client's, unless it is a proxy itself.
fn read_proxy_header(
    bytes: &[u8],
    head: &mut AwaitedHead,
    policy: &HttpPolicy,
) -> Result<usize, Route> {
    if !head.awaits_proxy_header {
        return Ok(0);
    }
    let (len, proxied) = match http::proxy_header(bytes) {
        Ok(ProxyHeader::NeedMore) => return Err(Route::NeedMore),
        Ok(ProxyHeader::Complete { len, proxied }) => (len, proxied),
        Err(_) => return Err(Route::Refuse { status: 400, json: MALFORMED }),
    };
    head.awaits_proxy_header = false;
    head.peer.proxied = proxied;
    let client = policy.trusted_proxies.client(head.peer, &Forwarded::default());
    let is_proxy = policy.trusted_proxies.trusts(head.peer);
    if is_proxy || head.permit.count_for(&client) {
        Ok(len)
    } else {
        policy.refusals.note(client.ip, HandshakeRefusal::ConnectionsPerIp);
        Err(Route::Refuse { status: 503, json: TOO_MANY_CONNECTIONS })
    }
}

/// Where the first request belongs.
fn route(
    bytes: &[u8],
    head: &mut AwaitedHead,
    policy: &HttpPolicy,
    shard: ShardId,
    shards: u8,
) -> Route {
    let (len, request) = match http::head(bytes) {
        Ok(http::Head::NeedMore) => return Route::NeedMore,
        Ok(http::Head::Complete { len, request }) => (len, request),
        Err(throng_wire::Fault::HeadTooLarge | throng_wire::Fault::HeadTooManyFields) => {
            return Route::Refuse { status: 431, json: MALFORMED };
        }
        Err(_) => return Route::Refuse { status: 400, json: MALFORMED },
    };
    let endpoint = policy.endpoint(request.path);
    let (Some(upgrade), Some(endpoint)) = (request.upgrade, endpoint) else {
        let sid = endpoint.and_then(|_| Sid::parse(&eio::query(request.query).sid?));
        return Route::HttpServer { sid };
    };
    let fields = Fields {
        method: request.method,
        query: request.query,
        host: request.host,
        origin: request.origin,
        authorization: request.authorization,
        content_type: None,
        forwarded: request.forwarded,
    };
    let caller = policy.caller(head.peer, &fields);
    let engine = policy.engine_request(endpoint, fields, caller);
    // Only the rules of RFC 6455; the shard that owns the session judges the rest. What is wrong in both is
    // refused for the rest, as on the HTTP thread (TRN-52).
    let key = match upgrade.accept() {
        Ok(key) => key.into(),
        Err(status) => {
            let (why, status, json) = match judge(&engine, true) {
                Err(why) => (why, why.status(), why.json()),
                Ok(_) => {
                    (HandshakeRefusal::WebsocketFields, status, EngineError::BadRequest.json())
                }
            };
            policy.refusals.note(engine.peer, why);
            return Route::Refuse { status, json };
        }
    };
    let is_proxy = policy.trusted_proxies.trusts(head.peer);
    if is_proxy && !head.permit.count_for(&caller.client) {
        policy.refusals.note(engine.peer, HandshakeRefusal::ConnectionsPerIp);
        return Route::Refuse { status: 503, json: TOO_MANY_CONNECTIONS };
    }
    // A sid that no shard can own is refused by this one.
    let named = engine.sid.as_deref().and_then(Sid::parse).map(|sid| sid.shard());
    let owner =
        named.filter(|owner| owner.0 < shards && endpoint != Endpoint::RawEcho).unwrap_or(shard);
    let accept = Accept::Write { key, protocol: upgrade.protocol.map(Box::from) };
    Route::Upgrade { len, owner, accept, request: engine }
}
