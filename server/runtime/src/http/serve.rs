//! One connection of the HTTP thread: HTTP/1 requests, one after the other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use throng_engine::App;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt;

use super::prefixed::Prefixed;
use super::upgrade::{self, SharedPermit};
use super::{HttpServer, polling};
use crate::link::Handover;

/// The address of the peer, as an extension of each request to [`super::HttpSettings::router`].
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// How long a request under way may take once the server is stopping.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn serve<A: App>(
    http: Arc<HttpServer<A>>,
    connection: Handover,
    mut stopping: watch::Receiver<bool>,
) {
    let Handover { stream, prefix, peer, permit } = connection;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "a connection could not be registered with the runtime");
            return;
        }
    };
    let permit: SharedPermit = Arc::new(Mutex::new(Some(permit)));
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
        () = stop_requested(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(STOP_TIMEOUT, connection).await {
                Ok(ended) => ended,
                Err(_) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the HTTP thread failed");
    }
    // An upgrade may have taken it.
    drop(permit.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Completes also when the sender is gone.
async fn stop_requested(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn answer<A: App>(
    http: Arc<HttpServer<A>>,
    peer: SocketAddr,
    permit: SharedPermit,
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
