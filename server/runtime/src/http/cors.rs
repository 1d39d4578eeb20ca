//! What a browser needs before a page of another origin may use long-polling.

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::request::plain;

/// The answer to a browser that asks whether it may send a request.
pub(super) fn preflight(request: &Request<Incoming>, is_allowed: bool) -> Response<Body> {
    let mut response = plain(StatusCode::NO_CONTENT);
    if is_allowed {
        let headers = response.headers_mut();
        let methods = HeaderValue::from_static("GET,POST,OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// What a browser needs before a page of an allowed origin may read the answer.
pub(super) struct Cors(Option<HeaderValue>);

impl Cors {
    pub(super) fn of(request: &Request<Incoming>, is_allowed: bool) -> Cors {
        let origin = request.headers().get(header::ORIGIN);
        Cors(origin.filter(|_| is_allowed).cloned())
    }

    pub(super) fn apply(self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.0 {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let credentials = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
        }
    }
}
