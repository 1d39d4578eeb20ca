//! Health, readiness and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use throng_health::Report;

use crate::Api;
use crate::answer::ok;

pub(crate) async fn health() -> Response {
    ok(json!({ "status": "ok" }))
}

/// Answered from memory, so that it is answered whatever is down.
///
/// Spec: REST-71, REST-75.
pub(crate) async fn ready(State(api): State<Api>) -> Response {
    let reports = api.deps.store.options().health.reports();
    let is_ready = reports.iter().all(Report::is_ready);
    let member = |value: fn(&Report) -> Value| {
        reports.iter().map(|report| (report.name.to_owned(), value(report))).collect()
    };
    let checks: Map<String, Value> = member(|report| report.state.to_string().into());
    let for_s: Map<String, Value> = member(|report| report.lasts.as_secs().into());
    let mut response =
        Json(json!({ "ready": is_ready, "checks": checks, "for_s": for_s })).into_response();
    if !is_ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

pub(crate) async fn metrics(State(api): State<Api>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (api.deps.metrics)()).into_response()
}
