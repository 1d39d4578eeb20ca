//! A WebSocket handshake on a connection the HTTP thread holds, as behind a proxy that reuses
//! connections. hyper answers it; the bare connection then goes to the shard.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use throng_engine::{Accept, App, EngineRequest, HandshakeRefusal, judge};
use throng_wire::http::{EngineError, UPGRADE_REQUIRED, Upgrade};
use tokio::sync::oneshot;

use super::HttpServer;
use super::prefixed::Prefixed;
use super::request::{owner, plain, text, unavailable};
use crate::limiter::Permit;
use crate::link::{ShardHandle, ToShard, Upgraded};
use crate::listen::{ANONYMOUS_RECV_BYTES, keep_unread};
use crate::per_client::ClientPlace;

/// A connection's permit; an upgrade takes it along.
pub(super) type SharedPermit = Arc<Mutex<Option<Permit>>>;

/// Other upgrades, such as the `h2c` of some HTTP clients, may be ignored and are.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
        && has_token(headers, header::CONNECTION, "upgrade")
}

pub(super) async fn upgrade<A: App>(
    http: &HttpServer<A>,
    engine: EngineRequest,
    place: Option<ClientPlace>,
    permit: SharedPermit,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let refusals = &http.settings.policy.refusals;
    if let Err(why) = judge(&engine, true) {
        refusals.note(engine.peer, why);
        return refuse(why.status(), why.json());
    }
    let asked = Upgrade::new(
        text(&request, header::SEC_WEBSOCKET_VERSION),
        text(&request, header::SEC_WEBSOCKET_KEY),
        text(&request, header::SEC_WEBSOCKET_PROTOCOL),
    );
    let accept = match asked.accept() {
        Ok(accept) => HeaderValue::try_from(accept).expect("base64 is ASCII"),
        Err(status) => {
            refusals.note(engine.peer, HandshakeRefusal::WebsocketFields);
            return refuse(status, EngineError::BadRequest.json());
        }
    };
    let protocol = asked.protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok());
    let owner = owner(http, engine.sid.as_deref());
    let handle = http.handles.to(owner).expect("the owner is a shard of this process");
    if engine.sid.is_some() {
        let is_known = tokio::select! {
            is_known = has_session(handle, &engine) => is_known,
            () = handle.hung() => return unavailable(),
        };
        // The shard has noted it.
        if !is_known {
            let error = EngineError::SessionUnknown;
            return refuse(error.status(), error.json());
        }
    }
    // Taken now: the connection's own task ends, and gives back what it holds, before the upgrade
    // has reached the shard.
    let Some(mut permit) = permit.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return unavailable();
    };
    permit.keep(place);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(hand_back(upgraded, engine, permit, handle.clone()));

    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

/// Asks the shard before the `101`, because afterwards it can only close.
async fn has_session<A: App>(handle: &ShardHandle<A>, engine: &EngineRequest) -> bool {
    let (answer, answered) = oneshot::channel();
    let asked = handle.send(ToShard::HasSession { request: engine.clone(), answer }).await;
    asked.is_ok() && answered.await.unwrap_or(false)
}

async fn hand_back<A: App>(
    upgraded: OnUpgrade,
    request: EngineRequest,
    permit: Permit,
    handle: ShardHandle<A>,
) {
    let upgraded = match upgraded.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "the client broke off an upgrade");
            return;
        }
    };
    let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<Prefixed>>() else {
        unreachable!("connections of the HTTP thread are of one type")
    };
    let (prefix, stream) = io.into_inner().into_parts();
    let stream = match stream.into_std() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "an upgraded connection could not be handed back");
            return;
        }
    };
    // As on the way here, it is a stranger's until a shard knows more.
    keep_unread(&stream, ANONYMOUS_RECV_BYTES);
    let leftover = [&read_buf[..], &prefix[..]].concat();
    let upgraded = Upgraded { stream, permit, accept: Accept::Done, request, leftover };
    // A shard that is gone closes it by dropping it.
    let _ = handle.send(ToShard::Upgraded(Box::new(upgraded))).await;
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}

fn refuse(status: u16, json: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() =
        StatusCode::from_u16(status).expect("refusals of a handshake have an HTTP status");
    let headers = response.headers_mut();
    if status == 426 {
        for (name, value) in UPGRADE_REQUIRED {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("the name of a field");
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
