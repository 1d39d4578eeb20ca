//! The address of a server under test.

use std::net::{SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail, ensure};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As in the `Host` header.
    pub authority: String,
    /// Without the port: the name that a certificate must bear.
    pub host: String,
    pub address: SocketAddr,
    pub is_tls: bool,
    /// Path and query, if the URL has more than `/`.
    pub path: Option<String>,
}

impl Target {
    /// # Errors
    /// The text is not an `http`, `https`, `ws` or `wss` URL, or its host has no address.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            bail!("target {url:?} is not a URL (http://host:port)");
        };
        let is_tls = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            other => bail!("target {url:?}: unknown scheme {other:?} (http, https, ws, wss)"),
        };
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        ensure!(!authority.contains('@'), "target {url:?}: give credentials with --header");
        let default = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().with_context(|| format!("target {url:?}: port {port:?}"))?)
            }
            _ => (authority, default),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        ensure!(!host.is_empty(), "target {url:?} names no host");
        let address = (host.as_str(), port)
            .to_socket_addrs()
            .with_context(|| format!("resolve {host}"))?
            .next()
            .with_context(|| format!("{host} has no address"))?;
        let path = path.split('#').next().filter(|path| !matches!(*path, "" | "/"));
        let path = path
            .map(|path| if path.starts_with('/') { path.to_owned() } else { format!("/{path}") });
        Ok(Self { authority: authority.to_owned(), host, address, is_tls, path })
    }

    /// The URL of its HTTP server, without a path.
    #[must_use]
    pub fn http(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|why| panic!("{url}: {why:#}"))
    }

    #[test]
    fn urls_are_resolved() {
        assert_eq!(parsed("ws://127.0.0.1:8090/x").authority, "127.0.0.1:8090");
        assert_eq!(parsed("ws://127.0.0.1:8090/x?y=1#z").path.as_deref(), Some("/x?y=1"));
        assert_eq!(parsed("ws://127.0.0.1:8090?y=1").path.as_deref(), Some("/?y=1"));
        assert_eq!(parsed("http://127.0.0.1:8090/").path, None);
        assert_eq!(parsed("http://127.0.0.1").address.port(), 80);
        assert_eq!(parsed("http://[::1]").address.port(), 80);
        assert_eq!(parsed("wss://[::1]:8443").host, "::1");
        let secure = parsed("https://localhost");
        assert_eq!((secure.address.port(), secure.is_tls), (443, true));
        assert_eq!(secure.http(), "https://localhost");
    }

    #[test]
    fn what_is_not_a_url_is_refused() {
        for url in ["127.0.0.1:1", "ftp://127.0.0.1", "http://", "http://:80", "http://127.0.0.1:x"]
        {
            assert!(Target::parse(url).is_err(), "{url}");
        }
        let why = Target::parse("http://me:secret@127.0.0.1").unwrap_err().to_string();
        assert!(why.contains("--header"), "{why}");
    }
}
