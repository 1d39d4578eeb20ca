//! The front end: the embedded web client, or a directory of the operator.

use std::path::Path;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use rust_embed::EmbeddedFile;
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::{Api, answer, embedded};

const INDEX: &str = "index.html";

/// Policy of our own client only: other front ends, such as the original's page, use inline scripts.
const CLIENT_POLICY: &str = "default-src 'self'; img-src 'self' data: blob: https: http:; \
     style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; object-src 'none'; \
     base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

/// Serves every path without a route of its own.
pub(crate) async fn serve(State(api): State<Api>, request: Request) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return answer::method_not_allowed().await;
    }
    if is_reserved(request.uri().path()) {
        return not_found();
    }
    match &api.deps.settings.static_dir {
        Some(folder) => serve_folder(folder, request).await,
        None => serve_client(request.uri().path(), request.headers(), embedded::find),
    }
}

/// Whether a path belongs to another part of the server, where it does not exist.
///
/// Spec: REST-73.
fn is_reserved(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let first = path.split('/').find(|segment| !segment.is_empty());
    first.is_some_and(|first| ["api", "storage", "socket.io", "ws"].contains(&first))
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "Not Found").into_response()
}

/// Serves the embedded client. `find` returns a file of it by its relative path.
fn serve_client(
    path: &str,
    headers: &HeaderMap,
    find: impl Fn(&str) -> Option<EmbeddedFile>,
) -> Response {
    let decoded = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
    let name = if decoded.is_empty() { INDEX } else { decoded.as_ref() };
    let is_plain = name.split('/').all(|segment| !segment.starts_with('.') && !segment.is_empty());
    if let Some(file) = is_plain.then(|| find(name)).flatten() {
        return client_file(name, &file, headers, find);
    }
    let Some(index) = find(INDEX) else { return not_built() };
    // A path without an extension is a route inside the client.
    let is_client_route =
        is_plain && !name.rsplit('/').next().is_some_and(|last| last.contains('.'));
    if is_client_route {
        return client_file(INDEX, &index, headers, find);
    }
    not_found()
}

fn client_file(
    name: &str,
    file: &EmbeddedFile,
    headers: &HeaderMap,
    find: impl Fn(&str) -> Option<EmbeddedFile>,
) -> Response {
    // Vite names the files in assets/ by a hash of their content.
    let cache = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = embedded::serve(name, file, headers, cache, find);
    let policy = HeaderValue::from_static(CLIENT_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn not_built() -> Response {
    const PAGE: &str = include_str!("not_built.html");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=UTF-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (headers, PAGE).into_response()
}

/// Serves a directory, without the files that are never meant for browsers.
async fn serve_folder(folder: &Path, request: Request) -> Response {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    let is_private = path.split('/').any(|segment| segment.starts_with('.'))
        || path.to_ascii_lowercase().ends_with(".php");
    if is_private {
        return not_found();
    }
    let Ok(served) =
        ServeDir::new(folder).precompressed_br().precompressed_gzip().oneshot(request).await;
    let mut response = served.into_response();
    if response.status() == StatusCode::NOT_FOUND {
        return not_found();
    }
    let headers = response.headers_mut();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(kind) = kind.map(embedded::with_charset)
        && let Ok(value) = HeaderValue::from_str(&kind)
    {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::tests::file;

    fn find(name: &str) -> Option<EmbeddedFile> {
        ["index.html", "assets/app-1234.js", "logo.png"].contains(&name).then(|| file(name))
    }

    #[track_caller]
    fn check(path: &str, status: u16, kind: &str, cache: &str) {
        let response = serve_client(path, &HeaderMap::new(), find);
        assert_eq!(response.status(), status, "{path}");
        let field = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        assert_eq!(field(header::CONTENT_TYPE), kind, "{path}");
        assert_eq!(field(header::CACHE_CONTROL), cache, "{path}");
        let is_policed = field(header::CONTENT_SECURITY_POLICY).starts_with("default-src 'self';");
        assert_eq!(is_policed, status == 200, "{path}");
    }

    #[test]
    fn the_embedded_client_is_served_with_charset_cache_and_policy() {
        let html = "text/html; charset=UTF-8";
        check("/", 200, html, "no-cache");
        check("/index.html", 200, html, "no-cache");
        check(
            "/assets/app-1234.js",
            200,
            "text/javascript; charset=UTF-8",
            "public, max-age=31536000, immutable",
        );
        check("/logo.png", 200, "image/png", "no-cache");
        check("/rooms/7", 200, html, "no-cache");
        let text = "text/plain; charset=utf-8";
        for missing in ["/missing.js", "/assets/old.js", "/../Cargo.toml", "/%2e%2e/x", "/.env"] {
            check(missing, 404, text, "");
        }
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let first = serve_client("/", &HeaderMap::new(), find);
        let etag = first.headers().get(header::ETAG).expect("etag").clone();
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, etag);
        assert_eq!(serve_client("/", &headers, find).status(), StatusCode::NOT_MODIFIED);
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
        assert_eq!(serve_client("/", &headers, find).status(), StatusCode::OK);
    }

    #[test]
    fn a_client_that_was_not_built_says_so() {
        for path in ["/", "/index.html", "/rooms/7"] {
            let response = serve_client(path, &HeaderMap::new(), |_| None);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=UTF-8");
        }
    }
}
