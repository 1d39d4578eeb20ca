//! One connection of the HTTP thread: HTTP/1 requests, one after the other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use throng_engine::App;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt;

use super::prefixed::Prefixed;
use super::{HttpServer, polling, upgrade};
use crate::limiter::Permit;
use crate::link::Handed;

/// The address of the peer, as an extension of each request to [`super::HttpSettings::router`].
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// How long a request under way may take once the server is stopping.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A connection's permit; an upgrade takes it along.
pub(super) type SharedTicket = Arc<Mutex<Option<Permit>>>;

pub(super) async fn serve<A: App>(
    http: Arc<HttpServer<A>>,
    handed: Handed,
    mut stopping: watch::Receiver<bool>,
) {
    let Handed { stream, prefix, peer, permit } = handed;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "a connection could not be registered");
            return;
        }
    };
    let permit: SharedTicket = Arc::new(Mutex::new(Some(permit)));
    let timeout = Duration::from_millis(u64::from(http.settings.request_timeout_ms));
    let held = Arc::clone(&permit);
    let service =
        service_fn(move |request| answer(Arc::clone(&http), peer, Arc::clone(&held), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .serve_connection(TokioIo::new(Prefixed::new(prefix, stream)), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = asked_to_stop(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(STOP_PATIENCE, connection).await {
                Ok(ended) => ended,
                Err(_) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the HTTP thread failed");
    }
    // Unless an upgrade took it.
    drop(permit.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Also when whoever would ask is gone.
async fn asked_to_stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn answer<A: App>(
    http: Arc<HttpServer<A>>,
    peer: SocketAddr,
    permit: SharedTicket,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if let Some(endpoint) = http.settings.policy.endpoint(request.uri().path()) {
        let route = request.uri().path().to_owned();
        let response = if upgrade::is_asked(request.headers()) {
            upgrade::upgrade(&http, endpoint, peer, permit, request).await
        } else {
            polling::poll(&http, endpoint, peer, request).await
        };
        (http.settings.on_request)(&route, response.status().as_u16());
        return Ok(response);
    }
    request.extensions_mut().insert(PeerAddr(peer));
    http.settings.router.clone().oneshot(request.map(Body::new)).await
}

/// The text of a header, if it is there and is text.
pub(super) fn text<T>(request: &Request<T>, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}
