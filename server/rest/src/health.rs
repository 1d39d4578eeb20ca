//! Health, readiness and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::Api;
use crate::answer::ok;

pub(crate) async fn health() -> Response {
    ok(json!({ "status": "ok" }))
}

pub(crate) async fn ready(State(api): State<Api>) -> Response {
    let readiness = (api.deps.ready)();
    let store = api.deps.store.ping().await;
    let mut checks: Map<String, Value> =
        readiness.checks.into_iter().map(|(name, result)| (name, result.into())).collect();
    checks.insert("store".into(), if store.is_ok() { "ok" } else { "unavailable" }.into());
    let is_ready = readiness.is_ready && store.is_ok();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": is_ready, "checks": checks }))).into_response()
}

pub(crate) async fn metrics(State(api): State<Api>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (api.deps.metrics)()).into_response()
}
