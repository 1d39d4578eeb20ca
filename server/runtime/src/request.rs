//! The fields of an HTTP request that the engine judges. Shards and the HTTP thread share this.

use std::net::IpAddr;

use throng_engine::{Eio, Endpoint, EngineRequest, Method, Transport};
use throng_wire::{eio, http};

/// Paths of the engine, and the origins that may use it.
#[derive(Clone, Debug)]
pub struct HttpPolicy {
    /// Paths without their trailing slash, each with what is served there (TRN-1).
    pub engine_paths: Vec<(String, Endpoint)>,
    /// Origins other than the server's own; `*` stands for all (TRN-60).
    pub allowed_origins: Vec<String>,
    /// Clients of Engine.IO 3 (socket.io-client 1 and 2) are served. Their `socket.id` is the secret
    /// that authorises long-polling, so they give their sessions away if they publish it. Without
    /// this they are refused like any other unsupported version (TRN-13).
    pub allow_eio3: bool,
}

/// The fields of a request that matter to the engine, as sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// `GET`, `POST` and so on.
    pub method: &'a str,
    /// The query without its `?`, undecoded; may be empty.
    pub query: &'a str,
    /// The `Host` header.
    pub host: Option<&'a str>,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
}

impl HttpPolicy {
    /// What is served at `path`, with or without the trailing slash (TRN-2).
    pub fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.engine_paths.iter().find(|(served, _)| served == path).map(|(_, endpoint)| *endpoint)
    }

    /// Whether a page of `origin` may use the engine. A request without `Origin` may: no browser
    /// sends it for a page of another site (TRN-60).
    pub fn is_origin_allowed(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        host.is_some_and(|host| http::is_same_origin(origin, host))
            || self.allowed_origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// Reads query and headers. The shard that owns the session judges the result.
    ///
    /// Spec: TRN-3, TRN-5.
    pub fn engine_request(
        &self,
        endpoint: Endpoint,
        fields: Fields<'_>,
        peer: IpAddr,
    ) -> EngineRequest {
        let query = eio::query(fields.query);
        let bearer = || fields.authorization.and_then(bearer);
        EngineRequest {
            endpoint,
            method: match fields.method {
                "GET" => Method::Get,
                "POST" => Method::Post,
                _ => Method::Other,
            },
            transport: match query.transport.as_deref() {
                Some("polling") => Transport::Polling,
                Some("websocket") => Transport::Websocket,
                _ => Transport::Unknown,
            },
            eio: match query.eio.as_deref() {
                Some("3") if self.allow_eio3 => Eio::V3,
                Some("4") => Eio::V4,
                _ => Eio::Unsupported,
            },
            sid: query.sid.as_deref().map(Box::from),
            b64: query.b64,
            jsonp: query.jsonp,
            token: query.token.as_deref().filter(is_given).or_else(bearer).map(Box::from),
            origin_allowed: self.is_origin_allowed(fields.origin, fields.host),
            octet_stream: fields.content_type.is_some_and(is_octet_stream),
            peer,
        }
    }
}

/// The original page sends these words while it has no token (TRN-5).
fn is_given(token: &&str) -> bool {
    !matches!(*token, "" | "false" | "null")
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_octet_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> HttpPolicy {
        HttpPolicy {
            engine_paths: vec![
                ("/socket.io".into(), Endpoint::SocketIo),
                ("/ws".into(), Endpoint::SocketIo),
            ],
            allowed_origins: vec!["https://chat.example".into()],
            allow_eio3: true,
        }
    }

    #[test]
    fn engine_io_3_is_unsupported_unless_it_is_allowed() {
        let fields =
            Fields { method: "GET", query: "EIO=3&transport=polling", ..Fields::default() };
        let peer = IpAddr::from([127, 0, 0, 1]);
        for (allow_eio3, expected) in [(true, Eio::V3), (false, Eio::Unsupported)] {
            let policy = HttpPolicy { allow_eio3, ..policy() };
            assert_eq!(policy.engine_request(Endpoint::SocketIo, fields, peer).eio, expected);
        }
    }

    #[test]
    fn engine_paths_are_served_with_and_without_the_slash() {
        let policy = policy();
        for path in ["/socket.io", "/socket.io/", "/ws", "/ws/"] {
            assert_eq!(policy.endpoint(path), Some(Endpoint::SocketIo), "{path}");
        }
        for path in ["/", "/socket.io/x", "/socket.io//", "/wsx", ""] {
            assert_eq!(policy.endpoint(path), None, "{path}");
        }
    }

    #[test]
    fn origins_are_absent_same_or_listed() {
        let policy = policy();
        assert!(policy.is_origin_allowed(None, Some("a")));
        assert!(policy.is_origin_allowed(Some("http://a:1"), Some("a:1")));
        assert!(policy.is_origin_allowed(Some("https://chat.example"), Some("a")));
        assert!(!policy.is_origin_allowed(Some("https://evil.example"), Some("a")));
        assert!(!policy.is_origin_allowed(Some("null"), None));
    }

    #[test]
    fn a_token_comes_from_the_query_before_the_header() {
        let fields = Fields {
            method: "POST",
            query: "EIO=3&transport=polling&api_token=q",
            authorization: Some("bearer h "),
            content_type: Some("Application/Octet-Stream; x=y"),
            ..Fields::default()
        };
        let peer = IpAddr::from([127, 0, 0, 1]);
        let request = policy().engine_request(Endpoint::SocketIo, fields, peer);
        assert_eq!(request.token.as_deref(), Some("q"));
        assert_eq!((request.method, request.eio), (Method::Post, Eio::V3));
        assert!(request.octet_stream);
        for none in ["", "&api_token=", "&api_token=false", "&api_token=null"] {
            let query = format!("EIO=5{none}");
            let fields = Fields { query: &query, ..fields };
            let request = policy().engine_request(Endpoint::SocketIo, fields, peer);
            assert_eq!(request.token.as_deref(), Some("h"), "{none}");
        }
        let fields = Fields { query: "EIO=5", ..fields };
        let request = policy().engine_request(Endpoint::SocketIo, fields, peer);
        assert_eq!((request.transport, request.eio), (Transport::Unknown, Eio::Unsupported));
    }
}
