//! What machines ask: alive, ready, how much.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::Desk;
use crate::answer::ok;

pub(crate) async fn health() -> Response {
    ok(json!({ "status": "ok" }))
}

pub(crate) async fn ready(State(desk): State<Desk>) -> Response {
    let readiness = (desk.deps.ready)();
    let store = desk.deps.store.ping().await;
    let mut checks: Map<String, Value> =
        readiness.checks.into_iter().map(|(name, result)| (name, result.into())).collect();
    checks.insert("store".into(), if store.is_ok() { "ok" } else { "unavailable" }.into());
    let is_ready = readiness.is_ready && store.is_ok();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": is_ready, "checks": checks }))).into_response()
}

pub(crate) async fn metrics(State(desk): State<Desk>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (desk.deps.metrics)()).into_response()
}
