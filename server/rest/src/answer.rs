//! Responses in the formats of the original application.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use throng_store::StoreError;
use throng_wire::http::{ExceededSetting, whole_seconds};

use crate::OverLimit;

/// Why a request of any route was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No valid token.
    Unauthenticated,
    /// The body is larger than its route allows.
    TooLarge,
    /// The body does not arrive in time.
    TooSlow,
    /// The user has too much under way, for this setting.
    TooMuch(&'static str),
    /// All have too much under way, for this setting, and this is among the largest.
    Full(&'static str),
    /// A page of another origin may not do this.
    Forbidden,
    /// The body has another content type than the route takes.
    NotJson,
    /// The body is truncated, or not of its content type.
    BadBody,
    /// The client, or whom it asks for, has asked too often.
    TooMany(OverLimit),
    /// The store is busy or failed; the client may retry.
    Store(StoreError),
    /// It took too long here.
    TooLong,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthenticated => message(StatusCode::UNAUTHORIZED, "Unauthenticated."),
            Self::TooLarge => message(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"),
            Self::TooSlow => message(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::TooMuch(setting) => {
                naming(setting, message(StatusCode::TOO_MANY_REQUESTS, "Too Many Attempts."))
            }
            Self::Full(setting) | Self::Store(StoreError::Busy(setting)) => {
                naming(setting, unavailable())
            }
            Self::Forbidden => message(StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotJson => message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type"),
            Self::BadBody => message(StatusCode::BAD_REQUEST, "Bad Request"),
            Self::TooMany(over) => too_many(over),
            Self::Store(error) => {
                tracing::warn!(%error, "a request failed in the store");
                unavailable()
            }
            Self::TooLong => {
                tracing::warn!("a request was given up: it took too long here");
                unavailable()
            }
        }
    }
}

fn unavailable() -> Response {
    message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
}

/// Spec: REST-8, LIM-35.
pub(crate) fn too_many(over: OverLimit) -> Response {
    let mut response = message(StatusCode::TOO_MANY_REQUESTS, "Too Many Attempts.");
    let retry_after = HeaderValue::from(whole_seconds(over.wait));
    response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    naming(over.setting, response)
}

/// Who serves the request logs the setting, and not each time: those who flood the server do not fill its log.
fn naming(setting: &'static str, mut response: Response) -> Response {
    response.extensions_mut().insert(ExceededSetting(setting));
    response
}

/// `{"message": …}` under a status.
pub(crate) fn message(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "message": text }))).into_response()
}

/// An error of the application: status 200 and an errno, as the original client expects.
pub(crate) fn errno(errno: u32, text: &str) -> Response {
    Json(json!({ "errno": errno, "message": text })).into_response()
}

pub(crate) fn ok(body: Value) -> Response {
    Json(body).into_response()
}

pub(crate) async fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, "Not Found")
}

pub(crate) async fn method_not_allowed() -> Response {
    message(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}
