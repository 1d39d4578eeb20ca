//! Files of the web client's build, which are part of the binary, compressed in advance.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use rust_embed::{EmbeddedFile, RustEmbed};
use throng_wire::http::weighted;

#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct WebClient;

/// The codings that the build writes next to a file, the best one first, and how it names them.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// A file of the build by its relative path.
pub(crate) fn find(name: &str) -> Option<EmbeddedFile> {
    WebClient::get(name)
}

/// Answers with a file, or with nothing if the client has it. `find` returns a file of the build by its
/// relative path: the compressed ones lie next to it.
pub(crate) fn serve(
    name: &str,
    file: &EmbeddedFile,
    headers: &HeaderMap,
    cache: &'static str,
    find: impl Fn(&str) -> Option<EmbeddedFile>,
) -> Response {
    let coded = CODINGS
        .iter()
        .filter(|(coding, _)| accepts(headers, coding))
        .find_map(|(coding, suffix)| Some((*coding, find(&format!("{name}{suffix}"))?)));
    let sent = coded.as_ref().map_or(file, |(_, coded)| coded);
    // That of the bytes which are sent: another coding is another representation.
    let etag = format!("\"{}\"", HEXLOWER.encode(&sent.metadata.sha256_hash()[..16]));
    let is_fresh =
        headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(
            |value| value.split(',').any(|own| own.trim().trim_start_matches("W/") == etag),
        );
    let mut response = if is_fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = with_charset(file.metadata.mimetype());
        ([(header::CONTENT_TYPE, kind)], bytes(sent)).into_response()
    };
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    fields.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some((coding, _)) = coded {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    if let Ok(value) = HeaderValue::from_str(&etag) {
        fields.insert(header::ETAG, value);
    }
    response
}

/// Whether `Accept-Encoding` names a coding, or any, and does not forbid it with `q=0`.
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let weight_of = |wanted: &str| {
        let lines = headers.get_all(header::ACCEPT_ENCODING).into_iter();
        let items = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
        items
            .map(weighted)
            .find_map(|(name, weight)| name.eq_ignore_ascii_case(wanted).then_some(weight))
    };
    weight_of(coding).or_else(|| weight_of("*")).is_some_and(|weight| weight > 0.0)
}

/// The original's page names no charset of its own, so the header must.
pub(crate) fn with_charset(kind: &str) -> String {
    let is_text = kind.starts_with("text/")
        || matches!(kind, "application/javascript" | "application/json" | "image/svg+xml");
    if is_text && !kind.contains("charset") {
        format!("{kind}; charset=UTF-8")
    } else {
        kind.to_owned()
    }
}

/// Embedded bytes are shared, not copied.
fn bytes(file: &EmbeddedFile) -> Bytes {
    match &file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::copy_from_slice(bytes),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rust_embed::Metadata;

    use super::*;

    /// A file whose content is its name.
    pub(crate) fn file(name: &str) -> EmbeddedFile {
        let mime = match name.rsplit('.').next() {
            Some("html") => "text/html",
            Some("js") => "text/javascript",
            _ => "image/png",
        };
        let mut hash = [7; 32];
        hash[0] = name.bytes().fold(0, u8::wrapping_add);
        EmbeddedFile {
            data: Cow::Owned(name.as_bytes().to_vec()),
            metadata: Metadata::__rust_embed_new(hash, None, None, mime),
        }
    }

    fn sent(accepted: &str, etag: Option<&HeaderValue>) -> Response {
        let mut headers = HeaderMap::new();
        if !accepted.is_empty() {
            headers.insert(header::ACCEPT_ENCODING, accepted.parse().expect("a value"));
        }
        if let Some(etag) = etag {
            headers.insert(header::IF_NONE_MATCH, etag.clone());
        }
        let find = |name: &str| ["x.js.br", "x.js.gz"].contains(&name).then(|| file(name));
        serve("x.js", &file("x.js"), &headers, "no-cache", find)
    }

    #[test]
    fn a_file_is_sent_in_the_best_coding_that_the_client_reads() {
        for (accepted, coding) in [
            ("gzip, deflate, br", Some("br")),
            ("br;q=0.1, gzip", Some("br")),
            ("GZIP;q=0.5", Some("gzip")),
            ("br;q=0, gzip", Some("gzip")),
            ("gzip;q=0", None),
            ("*", Some("br")),
            ("br;q=0, *;q=0.1", Some("gzip")),
            ("identity, *;q=0", None),
            ("deflate, brotli", None),
            ("", None),
        ] {
            let response = sent(accepted, None);
            let found = response.headers().get(header::CONTENT_ENCODING);
            assert_eq!(found.map(|value| value.to_str().expect("text")), coding, "{accepted}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/javascript; charset=UTF-8");
            assert_eq!(response.headers()[header::VARY], "Accept-Encoding");
        }
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again_in_the_same_coding() {
        let etag = sent("br", None).headers()[header::ETAG].clone();
        assert_eq!(sent("br", Some(&etag)).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(sent("gzip", Some(&etag)).status(), StatusCode::OK);
        assert_eq!(sent("", Some(&etag)).status(), StatusCode::OK);
    }
}
