//! The polling transport: each request becomes one input of the shard that owns the session.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use throng_engine::{Answer, App, BodyFault, Endpoint, EngineRequest, PollId};
use throng_wire::http::Caller;
use tokio::sync::oneshot;

use super::HttpServer;
use super::request::{engine_request, owner, plain, unavailable};
use crate::link::{ShardHandle, ToShard};

/// Bodies up to this size do not count towards [`super::LARGE_BODIES_MAX`].
const SMALL_BODY_BYTES: u64 = 64 * 1024;

/// Why a request has no body.
enum NoBody {
    Fault(BodyFault),
    /// The client was too slow, or closed the connection.
    Broken,
}

pub(super) async fn poll<A: App>(
    http: &HttpServer<A>,
    endpoint: Endpoint,
    caller: Caller,
    request: Request<Incoming>,
) -> Response<Body> {
    let engine = engine_request(http, endpoint, caller, &request);
    let cors = Cors::of(&request, engine.origin_allowed);
    let mut response = if request.method() == Method::OPTIONS {
        preflight(&request, engine.origin_allowed)
    } else {
        exchange(http, engine, request).await
    };
    cors.apply(&mut response);
    response
}

async fn exchange<A: App>(
    http: &HttpServer<A>,
    engine: EngineRequest,
    request: Request<Incoming>,
) -> Response<Body> {
    let is_post = request.method() == Method::POST;
    let body = if is_post {
        match receive(http, engine.sid.as_deref(), request.into_body()).await {
            Ok(body) => Ok(body),
            Err(NoBody::Fault(fault)) => Err(fault),
            Err(NoBody::Broken) => return plain(StatusCode::REQUEST_TIMEOUT),
        }
    } else {
        Ok(Vec::new())
    };
    let is_unread = body.is_err();
    let shard = owner(http, engine.sid.as_deref());
    let poll = PollId(http.next_poll.fetch_add(1, Ordering::Relaxed));
    let handle = http.handles.to(shard).expect("the owner is a shard of this process");
    let (answer, answered) = oneshot::channel();
    let item = ToShard::Http { poll, request: engine, body, answer };
    // A hung shard gets nothing: what is refused must not be done later.
    tokio::select! {
        biased;
        () = handle.hung() => return unavailable(),
        sent = handle.send(item) => if sent.is_err() { return unavailable() },
    }
    // Dropped with this future when the client gives up.
    let mut guard = PollGuard { handle, poll, is_answered: false };
    // A poll waits for the shard as it waits for packets, and a POST that the shard has may be carried
    // out: neither can be refused any more.
    let answer = if is_post {
        let timeout = Duration::from_millis(u64::from(http.settings.request_timeout_ms));
        match tokio::time::timeout(timeout, answered).await {
            Ok(answer) => answer,
            Err(_) => return plain(StatusCode::GATEWAY_TIMEOUT),
        }
    } else {
        answered.await
    };
    guard.is_answered = true;
    match answer {
        Ok(answer) => respond(answer, is_unread),
        Err(_) => unavailable(),
    }
}

/// A request that waits for the shard; the shard is notified if the client gives up.
struct PollGuard<'a, A: App> {
    handle: &'a ShardHandle<A>,
    poll: PollId,
    is_answered: bool,
}

impl<A: App> Drop for PollGuard<'_, A> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let (handle, poll) = (self.handle.clone(), self.poll);
        if handle.try_send(ToShard::HttpGone { poll }).is_err() {
            tokio::spawn(async move {
                let _ = handle.send(ToShard::HttpGone { poll }).await;
            });
        }
    }
}

/// Sessions whose POST is being received. The order of two at once would be undefined (TRN-37).
#[derive(Default)]
pub(super) struct Receiving(Mutex<HashSet<Box<str>>>);

/// The right to receive one POST of the session.
struct Slot<'a> {
    receiving: &'a Receiving,
    sid: &'a str,
}

impl Receiving {
    /// `None` while another POST of the session is being received.
    fn begin<'a>(&'a self, sid: &'a str) -> Option<Slot<'a>> {
        let mut sids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sids.insert(sid.into()).then(|| Slot { receiving: self, sid })
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut sids = self.receiving.0.lock().unwrap_or_else(PoisonError::into_inner);
        sids.remove(self.sid);
    }
}

async fn receive<A: App>(
    http: &HttpServer<A>,
    sid: Option<&str>,
    body: Incoming,
) -> Result<Vec<u8>, NoBody> {
    let Some(sid) = sid else { return read_body(http, body).await };
    let Some(_slot) = http.receiving.begin(sid) else {
        return Err(NoBody::Fault(BodyFault::Overlapping));
    };
    read_body(http, body).await
}

async fn read_body<A: App>(http: &HttpServer<A>, body: Incoming) -> Result<Vec<u8>, NoBody> {
    let announced = body.size_hint().upper();
    if announced.is_some_and(|bytes| bytes > http.settings.max_payload as u64) {
        return Err(NoBody::Fault(BodyFault::TooLarge));
    }
    let is_small = announced.is_some_and(|bytes| bytes <= SMALL_BODY_BYTES);
    let _slot = match is_small {
        true => None,
        false => Some(http.large_bodies.acquire().await.expect("nobody closes the semaphore")),
    };
    let collected = Limited::new(body, http.settings.max_payload).collect();
    let timeout = Duration::from_millis(u64::from(http.settings.request_timeout_ms));
    match tokio::time::timeout(timeout, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(NoBody::Fault(BodyFault::TooLarge)),
        Ok(Err(_)) | Err(_) => Err(NoBody::Broken),
    }
}

fn respond(answer: Answer, closes: bool) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).expect("the engine answers with an HTTP status");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if closes {
        // The rest of the body will not be read.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn preflight(request: &Request<Incoming>, is_allowed: bool) -> Response<Body> {
    let mut response = plain(StatusCode::NO_CONTENT);
    if is_allowed {
        let headers = response.headers_mut();
        let methods = HeaderValue::from_static("GET,POST,OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// What a browser needs before a page of an allowed origin may read the answer.
struct Cors(Option<HeaderValue>);

impl Cors {
    fn of(request: &Request<Incoming>, is_allowed: bool) -> Cors {
        let origin = request.headers().get(header::ORIGIN);
        Cors(origin.filter(|_| is_allowed).cloned())
    }

    fn apply(self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.0 {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let credentials = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
        }
    }
}
