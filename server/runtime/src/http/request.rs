//! What a request asks of the engine, which shard answers it, and an answer without a body.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use throng_engine::{App, Endpoint, EngineRequest, ShardId, Sid};
use throng_wire::http::{Caller, ExceededSetting, Forwarded, whole_seconds};

use super::HttpServer;
use super::throttle::TooMany;
use crate::policy::Fields;

/// The fields of a request to the engine; the shard judges them.
pub(super) fn engine_request<A: App, T>(
    http: &HttpServer<A>,
    endpoint: Endpoint,
    caller: Caller,
    request: &Request<T>,
) -> EngineRequest {
    http.settings.policy.engine_request(endpoint, fields(request), caller)
}

/// The fields of the head that matter.
pub(super) fn fields<T>(request: &Request<T>) -> Fields<'_> {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    let lines = request.headers().get_all(FOR).iter().rev().map(HeaderValue::as_bytes);
    Fields {
        method: request.method().as_str(),
        query: request.uri().query().unwrap_or_default(),
        host: text(request, header::HOST),
        origin: text(request, header::ORIGIN),
        authorization: text(request, header::AUTHORIZATION),
        content_type: text(request, header::CONTENT_TYPE),
        forwarded: Forwarded::new(lines, text(request, PROTO), text(request, HOST)),
    }
}

/// The shard that owns the session the request names, or one in turn for a new session. A shard that
/// hangs gets no new session, unless all do.
pub(super) fn owner<A: App>(http: &HttpServer<A>, sid: Option<&str>) -> ShardId {
    let named = sid.and_then(Sid::parse).map(|sid| sid.shard());
    let count = http.handles.count();
    named.filter(|shard| usize::from(shard.0) < count).unwrap_or_else(|| {
        let turn = http.next_poll.load(Ordering::Relaxed) % count as u64;
        let turn = u8::try_from(turn).expect("there are at most 255 shards");
        let in_turn = (usize::from(turn)..count).chain(0..usize::from(turn));
        let shards = in_turn.map(|shard| ShardId(shard as u8));
        let turns = |shard: &ShardId| http.handles.to(*shard).is_some_and(|it| !it.is_hung());
        shards.into_iter().find(turns).unwrap_or(ShardId(turn))
    })
}

/// The value of a header, if it is given and is text.
pub(super) fn text<T>(request: &Request<T>, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

/// The shard that would answer has ended or hangs.
pub(super) fn unavailable() -> Response<Body> {
    plain(StatusCode::SERVICE_UNAVAILABLE)
}

/// An answer behind which the connection is closed.
pub(super) fn closing(status: StatusCode) -> Response<Body> {
    let mut response = plain(status);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The client has sent more than its rate allows.
pub(super) fn too_many(TooMany(wait): TooMany) -> Response<Body> {
    let response = Response::new(Body::from(r#"{"message":"Too Many Attempts."}"#));
    let mut response = exceeding("http.requests_per_s", response);
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    response
}

/// An answer that refuses a request for this setting; the log names it.
pub(super) fn exceeding(setting: &'static str, mut response: Response<Body>) -> Response<Body> {
    response.extensions_mut().insert(ExceededSetting(setting));
    response
}

pub(super) fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
