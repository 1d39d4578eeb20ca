//! One debug line per request, without secrets.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Uri;
use axum::middleware::Next;
use axum::response::Response;
use throng_wire::http::Caller;

use crate::Deps;
use crate::deps::OnRequest;

pub(crate) struct RequestLog {
    on_request: OnRequest,
}

impl RequestLog {
    pub fn new(deps: &Deps) -> Self {
        Self { on_request: deps.on_request.clone() }
    }
}

pub(crate) async fn log(
    State(own): State<Arc<RequestLog>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let client = request.extensions().get::<Caller>().map(|caller| caller.client.ip);
    let method = request.method().clone();
    let uri = request.uri().clone();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    (own.on_request)(route.as_ref().map_or("static", MatchedPath::as_str), status);
    tracing::debug!(
        client = client.map(tracing::field::display),
        %method,
        uri = %redact(&uri),
        status,
        elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

/// Path and query of a URI for logs, without the values of secret parameters.
#[must_use]
pub fn redact(uri: &Uri) -> String {
    let Some(query) = uri.query() else { return uri.path().to_owned() };
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| {
            let name = pair.split('=').next().unwrap_or("");
            // The name may be percent-encoded, and a misspelt name may still hold a secret.
            let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            let is_secret = ["token", "sid", "password"]
                .iter()
                .any(|word| decoded.to_ascii_lowercase().contains(word));
            if is_secret { format!("{name}=***") } else { pair.to_owned() }
        })
        .collect();
    format!("{}?{}", uri.path(), shown.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_query_are_not_logged() {
        let shown = |uri: &str| redact(&uri.parse().expect("uri"));
        assert_eq!(shown("/api/user"), "/api/user");
        assert_eq!(
            shown("/api/history/message?roomid=1&api_token=s3cret&current=2"),
            "/api/history/message?roomid=1&api_token=***&current=2"
        );
        assert_eq!(shown("/x?API_TOKEN=s3cret"), "/x?API_TOKEN=***");
        assert_eq!(shown("/x?api%5Ftoken=s3cret"), "/x?api%5Ftoken=***");
        assert_eq!(shown("/x?sid=s3cret"), "/x?sid=***");
        assert_eq!(shown("/x?api_token"), "/x?api_token=***");
    }
}
