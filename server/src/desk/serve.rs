//! One connection of the front desk: HTTP/1 requests, one after the other.

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
use throng_desk::PeerAddr;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt;

use super::prefixed::Prefixed;
use super::{Desk, polling, upgrade};
use crate::gate::Ticket;
use crate::link::Handed;

/// How long a request under way may take once the server is stopping.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A connection's room in the gate; an upgrade takes it along.
pub(super) type SharedTicket = Arc<Mutex<Option<Ticket>>>;

pub(super) async fn serve(desk: Arc<Desk>, handed: Handed, mut stopping: watch::Receiver<bool>) {
    let Handed { stream, prefix, peer, ticket } = handed;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "a connection could not be registered");
            return;
        }
    };
    let ticket: SharedTicket = Arc::new(Mutex::new(Some(ticket)));
    let timeout = Duration::from_millis(u64::from(desk.settings.request_timeout_ms));
    let held = Arc::clone(&ticket);
    let service =
        service_fn(move |request| answer(Arc::clone(&desk), peer, Arc::clone(&held), request));
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
        tracing::debug!(%error, "a connection of the front desk failed");
    }
    // Unless an upgrade took it.
    drop(ticket.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Also when whoever would ask is gone.
async fn asked_to_stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn answer(
    desk: Arc<Desk>,
    peer: SocketAddr,
    ticket: SharedTicket,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if let Some(endpoint) = desk.settings.policy.endpoint(request.uri().path()) {
        let route = request.uri().path().to_owned();
        let response = if upgrade::is_asked(request.headers()) {
            upgrade::upgrade(&desk, endpoint, peer, ticket, request).await
        } else {
            polling::poll(&desk, endpoint, peer, request).await
        };
        (desk.settings.on_request)(&route, response.status().as_u16());
        return Ok(response);
    }
    request.extensions_mut().insert(PeerAddr(peer));
    desk.settings.router.clone().oneshot(request.map(Body::new)).await
}

/// The text of a header, if it is there and is text.
pub(super) fn text<T>(request: &Request<T>, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}
