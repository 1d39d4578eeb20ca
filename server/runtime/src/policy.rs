//! The fields of an HTTP request that the engine judges. Shards and the HTTP thread share this.

use std::sync::Arc;

use throng_engine::{Eio, Endpoint, EngineRequest, Method, Transport};
use throng_wire::http::{Caller, Forwarded, Peer, TrustedProxies};
use throng_wire::{eio, http};

use crate::rare_warning::RareWarning;
use crate::refusals::Refusals;

/// More connections than a limit or a queue between two threads holds.
pub(crate) const TOO_MANY_CONNECTIONS: &str = r#"{"code":503,"message":"Too many connections"}"#;

/// Characters of a header that a line of the log has.
const LOGGED_CHARS_MAX: usize = 200;

/// Paths of the engine, the origins that may use it, and the proxies that are believed.
#[derive(Clone, Debug, Default)]
pub struct HttpPolicy {
    /// Paths without their trailing slash, each with what is served there (TRN-1).
    pub engine_paths: Vec<(String, Endpoint)>,
    /// Origins other than the server's own; `*` stands for all (TRN-60).
    pub allowed_origins: Vec<String>,
    /// Clients of Engine.IO 3 (socket.io-client 1 and 2) are served. Their `socket.id` is the secret
    /// that authorises long-polling, so they give their sessions away if they publish it. Without
    /// this they are refused like any other unsupported version (TRN-13).
    pub allow_eio3: bool,
    /// Proxies whose word about their clients is believed (TRN-80).
    pub trusted_proxies: TrustedProxies,
    /// Connections of trusted proxies begin with a PROXY header (TRN-83).
    pub has_proxy_headers: bool,
    /// Logged when a peer that is no listed proxy forwards addresses: an unlisted proxy, or a forger.
    pub untrusted_forwards: Arc<RareWarning>,
    /// Called with every handshake that is refused.
    pub refusals: Arc<Refusals>,
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
    /// What a proxy says about the client.
    pub forwarded: Forwarded<'a>,
}

impl HttpPolicy {
    /// What is served at `path`, with or without the trailing slash (TRN-2).
    pub fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.engine_paths.iter().find(|(served, _)| served == path).map(|(_, endpoint)| *endpoint)
    }

    /// For who asks why one client does not get in.
    pub(crate) fn log_refused(&self, peer: Peer, status: u16) {
        let client = self.trusted_proxies.client(peer, &Forwarded::default()).ip;
        tracing::debug!(%client, status, "refused a connection");
    }

    /// Whether a page of `origin` may use the engine. A request without `Origin` may: a page of
    /// another site can send it (`<script src>`, as JSONP does), but not with a token, and a cookie gives no
    /// identity (TRN-60, CHAT-14).
    pub fn is_origin_allowed(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        host.is_some_and(|host| http::is_same_origin(origin, host))
            || self.allowed_origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// Who sent the request; see [`TrustedProxies::client`].
    pub fn caller(&self, peer: Peer, fields: &Fields<'_>) -> Caller {
        let proxies = &self.trusted_proxies;
        let client = proxies.client(peer, &fields.forwarded);
        if fields.forwarded.has_address() && !proxies.trusts_socket(peer) {
            self.untrusted_forwards.log(|left_out| {
                tracing::warn!(
                    peer = %client.ip,
                    left_out,
                    "ignored an X-Forwarded-For: http.trusted_proxies does not name the peer"
                );
            });
        }
        let host = proxies.host(peer, &fields.forwarded, fields.host);
        let is_origin_allowed = self.is_origin_allowed(fields.origin, host);
        if !is_origin_allowed {
            let [origin, host] = [fields.origin, host].map(|text| start(text.unwrap_or_default()));
            tracing::debug!(client = %client.ip, ?origin, ?host, "the origin is not allowed");
        }
        Caller { client, is_origin_allowed }
    }

    /// Reads query and headers. The shard that owns the session judges the result.
    ///
    /// Spec: TRN-3, TRN-5.
    pub fn engine_request(
        &self,
        endpoint: Endpoint,
        fields: Fields<'_>,
        caller: Caller,
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
            origin_allowed: caller.is_origin_allowed,
            octet_stream: fields.content_type.is_some_and(is_octet_stream),
            peer: caller.client.ip,
        }
    }
}

/// As much of what a client wrote as a line of the log has.
fn start(text: &str) -> &str {
    text.char_indices().nth(LOGGED_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
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
    use throng_wire::http::TrustedProxy;

    use super::*;

    fn policy() -> HttpPolicy {
        let proxy: TrustedProxy = "10.0.0.0/8".parse().expect("a network");
        HttpPolicy {
            engine_paths: vec![
                ("/socket.io".into(), Endpoint::SocketIo),
                ("/ws".into(), Endpoint::SocketIo),
            ],
            allowed_origins: vec!["https://chat.example".into()],
            allow_eio3: true,
            trusted_proxies: [proxy].into_iter().collect(),
            ..HttpPolicy::default()
        }
    }

    #[test]
    fn engine_io_3_is_unsupported_unless_it_is_allowed() {
        let fields =
            Fields { method: "GET", query: "EIO=3&transport=polling", ..Fields::default() };
        let caller = policy().caller(peer("127.0.0.1"), &fields);
        for (allow_eio3, expected) in [(true, Eio::V3), (false, Eio::Unsupported)] {
            let policy = HttpPolicy { allow_eio3, ..policy() };
            assert_eq!(policy.engine_request(Endpoint::SocketIo, fields, caller).eio, expected);
        }
    }

    fn peer(ip: &str) -> Peer {
        Peer::from(ip.parse::<std::net::IpAddr>().expect("an address"))
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
    fn the_log_has_the_start_of_a_long_header() {
        let (fits, long) = ("é".repeat(LOGGED_CHARS_MAX), "é".repeat(LOGGED_CHARS_MAX + 1));
        assert_eq!((start(""), start(&fits), start(&long)), ("", &*fits, &*fits));
    }

    #[test]
    fn the_own_origin_is_what_the_client_asked_a_trusted_proxy_for() {
        let policy = policy();
        let forwarded = Forwarded::new(std::iter::empty(), Some("https"), Some("chat.own:8443"));
        let origin = Some("https://chat.own:8443");
        let fields = Fields { host: Some("backend"), origin, forwarded, ..Fields::default() };
        assert!(policy.caller(peer("10.0.0.1"), &fields).is_origin_allowed);
        assert!(!policy.caller(peer("192.0.2.1"), &fields).is_origin_allowed);
        let fields = Fields { host: Some("chat.own:8443"), ..fields };
        assert!(policy.caller(peer("192.0.2.1"), &fields).is_origin_allowed);
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
        let caller = policy().caller(peer("127.0.0.1"), &fields);
        let request = policy().engine_request(Endpoint::SocketIo, fields, caller);
        assert_eq!(request.token.as_deref(), Some("q"));
        assert_eq!((request.method, request.eio), (Method::Post, Eio::V3));
        assert!(request.octet_stream);
        for none in ["", "&api_token=", "&api_token=false", "&api_token=null"] {
            let query = format!("EIO=5{none}");
            let fields = Fields { query: &query, ..fields };
            let request = policy().engine_request(Endpoint::SocketIo, fields, caller);
            assert_eq!(request.token.as_deref(), Some("h"), "{none}");
        }
        let fields = Fields { query: "EIO=5", ..fields };
        let request = policy().engine_request(Endpoint::SocketIo, fields, caller);
        assert_eq!((request.transport, request.eio), (Transport::Unknown, Eio::Unsupported));
    }
}
