//! The polling transport: each request becomes one input of the shard that owns the session.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use throng_engine::{self as engine, Answer, App, EngineRequest, PollId};
use tokio::sync::oneshot;

use super::HttpServer;
use super::cors::{Cors, preflight};
use super::parts::Parts;
use super::request::{closing, owner, plain, unavailable};
use crate::link::{IsIdentified, ShardEnded, ShardHandle, ToShard};

/// Bytes of a body that are gathered while a piece of it is on its way.
const PIECE_BYTES_MAX: usize = 16 * 1024;

pub(super) async fn poll<A: App>(
    http: &HttpServer<A>,
    asked: EngineRequest,
    is_identified: &IsIdentified,
    request: Request<Incoming>,
) -> Response<Body> {
    let cors = Cors::of(&request, asked.origin_allowed);
    let mut response = if request.method() == Method::OPTIONS {
        preflight(&request, asked.origin_allowed)
    } else {
        exchange(http, asked, is_identified, request).await
    };
    cors.apply(&mut response);
    response
}

async fn exchange<A: App>(
    http: &HttpServer<A>,
    asked: EngineRequest,
    is_identified: &IsIdentified,
    request: Request<Incoming>,
) -> Response<Body> {
    let is_post = request.method() == Method::POST;
    let incoming = request.into_body();
    let is_arriving = is_post && !incoming.is_end_stream();
    let body = if is_arriving {
        engine::Body::Arriving { announced: incoming.size_hint().exact() }
    } else {
        engine::Body::Whole(Vec::new())
    };
    let shard = owner(http, asked.sid.as_deref());
    let poll = PollId(http.next_poll.fetch_add(1, Ordering::Relaxed));
    let handle = http.handles.to(shard).expect("the owner is a shard of this process");
    let (answer, mut answered) = oneshot::channel();
    let item =
        ToShard::Http { poll, request: asked, body, is_identified: is_identified.clone(), answer };
    // A poll may wait for long: what it needs no more is in boxes.
    if Box::pin(send(handle, item)).await.is_err() {
        return unavailable();
    }
    // Dropped with this future when the client gives up.
    let mut guard = PollGuard { handle, poll, is_answered: false };
    if is_arriving {
        match Box::pin(deliver(handle, poll, incoming, &mut answered)).await {
            Ok(()) => {}
            Err(Undelivered::Answered(answer)) => {
                guard.is_answered = true;
                return respond(answer, true);
            }
            Err(Undelivered::Broken) => return closing(StatusCode::BAD_REQUEST),
            Err(Undelivered::Unavailable) => return unavailable(),
        }
    }
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
        Ok(answer) => {
            is_identified.set(answer.is_identified);
            respond(answer, false)
        }
        Err(_) => unavailable(),
    }
}

/// A hung shard gets nothing: what is refused must not be done later.
async fn send<A: App>(handle: &ShardHandle<A>, item: ToShard<A>) -> Result<(), ShardEnded> {
    tokio::select! {
        biased;
        () = handle.hung() => Err(ShardEnded),
        sent = handle.send(item) => sent,
    }
}

/// Why the shard does not get the whole body.
enum Undelivered {
    /// It has answered without it.
    Answered(Answer),
    /// The client's side of the connection is broken.
    Broken,
    /// The shard has ended or hangs.
    Unavailable,
}

/// Sends the body to the shard as it arrives, and no more of it once the shard has answered. One piece
/// is on its way at a time, and one is gathered: nothing else of the body is kept here.
async fn deliver<A: App>(
    handle: &ShardHandle<A>,
    poll: PollId,
    mut body: Incoming,
    answered: &mut oneshot::Receiver<Answer>,
) -> Result<(), Undelivered> {
    let mut piece = Vec::new();
    let mut is_whole = false;
    let mut on_its_way: Option<oneshot::Receiver<()>> = None;
    loop {
        if on_its_way.is_none() && (is_whole || !piece.is_empty()) {
            let (taken, receiver) = oneshot::channel();
            let bytes = std::mem::take(&mut piece);
            let item = ToShard::Body { poll, bytes, is_last: is_whole, taken };
            send(handle, item).await.map_err(|ShardEnded| Undelivered::Unavailable)?;
            if is_whole {
                return Ok(());
            }
            on_its_way = Some(receiver);
        }
        let has_space = !is_whole && piece.len() < PIECE_BYTES_MAX;
        tokio::select! {
            biased;
            answer = &mut *answered => {
                return Err(answer.map_or(Undelivered::Unavailable, Undelivered::Answered));
            }
            () = handle.hung() => return Err(Undelivered::Unavailable),
            () = taken(&mut on_its_way) => on_its_way = None,
            frame = body.frame(), if has_space => match frame {
                Some(Ok(frame)) => {
                    // Trailers mean nothing.
                    if let Ok(data) = frame.into_data() {
                        piece.extend_from_slice(&data);
                    }
                    is_whole = body.is_end_stream();
                }
                Some(Err(_)) => return Err(Undelivered::Broken),
                None => is_whole = true,
            },
        }
    }
}

/// Completes when the piece on its way has been taken; never, if there is none.
async fn taken(on_its_way: &mut Option<oneshot::Receiver<()>>) {
    match on_its_way {
        // A shard that has ended drops it; then it does not answer either.
        Some(taken) => drop(taken.await),
        None => std::future::pending().await,
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

fn respond(answer: Answer, closes: bool) -> Response<Body> {
    let mut response = Response::new(Body::new(Parts::from(answer.body)));
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
