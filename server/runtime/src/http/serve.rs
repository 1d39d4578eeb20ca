//! One connection of the HTTP thread: HTTP/1 requests, one after the other.

use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header,
};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use throng_engine::{App, Endpoint, HandshakeRefusal, Sid};
use throng_wire::http::{
    Caller, ExceededSetting, FIELDS_MAX, HEAD_BYTES_MAX, Peer, retry_after_s, weighted,
};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::activity::{Activity, Expired, Timeouts};
use super::prefixed::{Closed, Prefixed};
use super::request::{closing, engine_request, exceeding, fields, plain, too_many};
use super::throttle::{Delays, TooMany};
use super::upgrade::{self, SharedPermit};
use super::{HttpServer, polling};
use crate::limiter::ConnectionLimiter;
use crate::link::{Handover, IsIdentified, ToShard};
use crate::per_client::ClientPlace;

/// Answers of at least so many bytes are compressed, if the client can read that (TRN-47).
const COMPRESSED_BYTES_MIN: u64 = 1024;
/// And of at most so many: these take a millisecond of the thread.
const COMPRESSED_BYTES_MAX: u64 = 64 * 1024;

/// How long a request under way may take once the server is stopping.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Begins when it is the connection's turn: until then it has none of the buffers that a connection has.
pub(super) async fn serve<A: App>(
    http: Arc<HttpServer<A>>,
    mut connection: Handover,
    mut stopping: watch::Receiver<bool>,
) {
    if let Some(sid) = connection.elsewhere.take() {
        connection.is_identified = is_identified(&http, sid).await;
    }
    if !connection.is_identified {
        tokio::select! {
            () = http.turns.first() => {}
            () = stop_requested(&mut stopping) => {}
        }
    }
    Box::pin(serve_now(http, connection, stopping)).await;
}

/// Asks the shard that would have the session. One that is hung or full knows nobody.
async fn is_identified<A: App>(http: &HttpServer<A>, sid: Sid) -> bool {
    let Some(handle) = http.handles.to(sid.shard()) else { return false };
    let (answer, answered) = oneshot::channel();
    if handle.try_send(ToShard::IsIdentified { sid, answer }).is_err() {
        return false;
    }
    tokio::select! {
        is_identified = answered => is_identified.unwrap_or(false),
        () = handle.hung() => false,
    }
}

async fn serve_now<A: App>(
    http: Arc<HttpServer<A>>,
    connection: Handover,
    mut stopping: watch::Receiver<bool>,
) {
    let Handover { stream, prefix, peer, permit, is_identified, .. } = connection;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "a connection could not be registered with the runtime");
            return;
        }
    };
    let activity = Activity::new();
    let link = Link {
        peer,
        limiter: permit.limiter(),
        permit: Arc::new(Mutex::new(Some(permit))),
        activity: activity.clone(),
        delays: Delays::default(),
        is_identified: IsIdentified::from(is_identified),
    };
    let is_identified = link.is_identified.clone();
    let permit = Arc::clone(&link.permit);
    // A proxy chooses itself which of its connections it uses for the next request.
    let idle = (!http.settings.policy.trusted_proxies.trusts(peer))
        .then_some([&http.idle, &http.idle_users]);
    let settings = &http.settings;
    let [keep_alive, head, users_silence] =
        [settings.keep_alive_ms, settings.request_timeout_ms, settings.users_silence_ms]
            .map(|ms| Duration::from_millis(u64::from(ms)));
    let timeouts = Timeouts {
        keep_alive,
        head,
        users_silence,
        unsent: &http.unsent,
        heads: &http.heads,
        idle,
    };
    let server = Arc::clone(&http);
    let service = service_fn(move |request| answer(Arc::clone(&server), link.clone(), request));
    let is_worth_it = SizeAbove::new(COMPRESSED_BYTES_MIN)
        .and(NotForContentType::IMAGES)
        .and(is_made_for_request)
        .and(IsShort);
    let compression =
        CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(is_worth_it);
    // In a box: a connection has space for a body from its beginning, and the state of a compressor is large.
    let service = compression.layer(service).map_response(|response| response.map(Body::new));
    let service = service.map_request(with_identity);
    let service = TowerToHyperService::new(service);
    let closed = Closed::default();
    let prefixed =
        Prefixed::new(prefix, stream, activity.clone(), Arc::clone(&http.unsent), closed.clone());
    let connection = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        // What has come behind a head is in the same buffer; `is_head_too_large` is exact.
        .max_buf_size(HEAD_BYTES_MAX)
        // Counted from the first byte of a head, which hyper does not: see `activity`.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(prefixed), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        // What wakes it wakes the connection too, which would then wait for its turn and not be idle.
        biased;
        expired = activity.expired(timeouts, &is_identified) => {
            let counters = &http.settings.counters;
            match expired {
                Expired::Late => {}
                Expired::HeadDisplaced => drop(counters.heads_displaced.fetch_add(1, Relaxed)),
                Expired::IdleDisplaced => drop(counters.idle_displaced.fetch_add(1, Relaxed)),
            }
            Ok(())
        }
        ended = http.turns.take(&is_identified, &activity, connection.as_mut()) => ended,
        () = stop_requested(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(STOP_TIMEOUT, connection).await {
                Ok(ended) => ended,
                Err(_) => Ok(()),
            }
        }
    };
    activity.answers(0, &http.unsent);
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the HTTP thread failed");
    }
    // An upgrade may have taken it.
    drop(permit.lock().unwrap_or_else(PoisonError::into_inner).take());
    if let Some(stream) = closed.take() {
        http.lingering.begin(stream);
    }
}

/// A client that refuses an answer as it is may get one as it is: the layer of compression would make it 406,
/// after what was asked for is done.
fn with_identity(mut request: Request<Incoming>) -> Request<Incoming> {
    let lines = request.headers().get_all(header::ACCEPT_ENCODING).into_iter();
    let lines: Vec<String> =
        lines.filter_map(|line| line.to_str().ok().map(str::to_owned)).collect();
    let items = || lines.iter().flat_map(|line| line.split(','));
    if items().any(refuses_identity) {
        let others: Vec<&str> = items().filter(|item| !refuses_identity(item)).collect();
        let others = HeaderValue::try_from(others.join(","));
        let others = others.expect("pieces of the value of a field make one");
        request.headers_mut().insert(header::ACCEPT_ENCODING, others);
    }
    request
}

/// `identity;q=0` or `*;q=0`.
fn refuses_identity(item: &str) -> bool {
    let (name, weight) = weighted(item);
    weight == 0.0 && (name == "*" || name.eq_ignore_ascii_case("identity"))
}

/// Not a file, which has a validator, and was compressed in advance if that is worth it: a client that does
/// not read it would keep the state of the compressor here, hundreds of KiB.
fn is_made_for_request(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    !headers.contains_key(header::ETAG) && !headers.contains_key(header::LAST_MODIFIED)
}

/// Not so long that others wait while it is compressed.
#[derive(Clone, Copy)]
struct IsShort;

impl Predicate for IsShort {
    fn should_compress<B: HttpBody>(&self, response: &Response<B>) -> bool {
        response.body().size_hint().upper().is_some_and(|bytes| bytes <= COMPRESSED_BYTES_MAX)
    }
}

/// Completes also when the sender is gone.
async fn stop_requested(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// What all requests of a connection have in common.
#[derive(Clone)]
struct Link {
    peer: Peer,
    permit: SharedPermit,
    limiter: Arc<ConnectionLimiter>,
    activity: Activity,
    delays: Delays,
    is_identified: IsIdentified,
}

async fn answer<A: App>(
    http: Arc<HttpServer<A>>,
    link: Link,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (activity, is_identified) = (link.activity.clone(), link.is_identified.clone());
    let _serving = activity.serve();
    let is_proxy = http.settings.policy.trusted_proxies.trusts(link.peer);
    let delays = link.delays.clone();
    let mut response = if is_head_too_large(&request) {
        closing(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    } else {
        // An idle connection keeps the space of this future, and not of those in boxes.
        Box::pin(respond(&http, link, request)).await
    };
    // Every answer of this thread comes by here: what made it may know the time, or not.
    if let Some(seconds) = retry_after_s(response.status().as_u16()) {
        let retry_after = response.headers_mut().entry(header::RETRY_AFTER);
        retry_after.or_insert(HeaderValue::from(seconds));
    }
    // What was sent ahead would be refused or have to wait as well. On the connection of a proxy come
    // requests of others, and none ahead.
    let is_refused = response.headers().contains_key(header::RETRY_AFTER);
    if !is_proxy && (is_refused || delays.are_too_many()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // Of a user's session: a shorter one may be compressed, and the kernel takes it at once.
    let bytes = response
        .body()
        .size_hint()
        .exact()
        .filter(|bytes| *bytes > COMPRESSED_BYTES_MAX && is_identified.get());
    let bytes = bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    activity.answers(bytes, &http.unsent);
    Ok(response)
}

/// Whether the head, written without needless spaces, is longer than a head may be.
///
/// Spec: LIM-8.
fn is_head_too_large<T>(request: &Request<T>) -> bool {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len())
        + uri.authority().map_or(0, |authority| authority.as_str().len());
    let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n".len();
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + ": \r\n".len()
    };
    let fields: usize = request.headers().iter().map(field).sum();
    line + fields + "\r\n".len() > HEAD_BYTES_MAX
}

async fn respond<A: App>(
    http: &HttpServer<A>,
    link: Link,
    request: Request<Incoming>,
) -> Response<Body> {
    let policy = &http.settings.policy;
    let caller = policy.caller(link.peer, &fields(&request));
    // A proxy's connection carries requests of many clients; each counts while it is served.
    let place = if policy.trusted_proxies.trusts(link.peer) {
        // This request may be anybody's.
        link.is_identified.set(false);
        let Some(place) = link.limiter.place(&caller.client) else {
            policy.refusals.note(caller.client.ip, HandshakeRefusal::ConnectionsPerIp);
            return plain(StatusCode::SERVICE_UNAVAILABLE);
        };
        Some(place)
    } else {
        None
    };
    let mut response = match http.per_client.place(&caller.client) {
        Some(_while_served) => by_path(http, caller, place, link, request).await,
        None => {
            http.settings.counters.requests_crowded_out.fetch_add(1, Relaxed);
            exceeding("http.requests_per_ip_max", plain(StatusCode::SERVICE_UNAVAILABLE))
        }
    };
    if let Some(ExceededSetting(setting)) = response.extensions_mut().remove() {
        let client = caller.client.ip;
        tracing::debug!(%client, setting, "refused a request");
        http.exceeded.log(setting, |left_out| {
            tracing::warn!(%client, left_out, "a request is refused: {setting} is reached");
        });
    }
    response
}

async fn by_path<A: App>(
    http: &HttpServer<A>,
    caller: Caller,
    place: Option<ClientPlace>,
    link: Link,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(endpoint) = http.settings.policy.endpoint(request.uri().path()) else {
        return Box::pin(to_router(http, caller, link, request)).await.unwrap_or_else(too_many);
    };
    let route = request.uri().path().to_owned();
    let asked = to_engine(http, endpoint, caller, place, link, request);
    let response = Box::pin(asked).await.unwrap_or_else(too_many);
    (http.settings.on_request)(&route, response.status().as_u16());
    response
}

async fn to_router<A: App>(
    http: &HttpServer<A>,
    caller: Caller,
    link: Link,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, TooMany> {
    // An answer may be a file, which stays open while it is sent: the connection is idle then, and takes a place.
    link.is_identified.set(false);
    http.throttle.admit(&caller.client, &link.delays).await?;
    request.extensions_mut().insert(caller);
    let Ok(response) = http.settings.router.clone().oneshot(request.map(Body::new)).await;
    Ok(response)
}

/// A request to the engine. One of a session is paid for by the session, if there is one.
async fn to_engine<A: App>(
    http: &HttpServer<A>,
    endpoint: Endpoint,
    caller: Caller,
    place: Option<ClientPlace>,
    link: Link,
    request: Request<Incoming>,
) -> Result<Response<Body>, TooMany> {
    let Link { permit, delays, is_identified, .. } = link;
    let asked = engine_request(http, endpoint, caller, &request);
    let names_session = asked.sid.is_some() && request.method() != Method::OPTIONS;
    if !names_session {
        http.throttle.admit(&caller.client, &delays).await?;
    }
    let response = if upgrade::is_asked(request.headers()) {
        Box::pin(upgrade::upgrade(http, asked, place, permit, request)).await
    } else {
        Box::pin(polling::poll(http, asked, &is_identified, request)).await
    };
    if names_session && response.status().is_client_error() {
        http.throttle.pay(&caller.client, &delays).await?;
    }
    Ok(response)
}
