//! The address of a server under test.

use std::net::{SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `host:port`, as in the `Host` header.
    pub authority: String,
    pub address: SocketAddr,
}

impl Target {
    /// # Errors
    /// The text is not an `http://` or `ws://` URL, or its host has no address.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            bail!("target {url:?} is not a URL (http://host:port)");
        };
        match scheme {
            "http" | "ws" => {}
            "https" | "wss" => bail!("TLS targets are not supported; connect behind the TLS proxy"),
            other => bail!("unknown scheme {other:?}"),
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let authority = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:80"),
        };
        let address = authority
            .to_socket_addrs()
            .with_context(|| format!("resolve {authority}"))?
            .next()
            .with_context(|| format!("{authority} has no address"))?;
        Ok(Self { authority, address })
    }

    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_resolved_and_tls_is_refused() {
        assert_eq!(Target::parse("ws://127.0.0.1:8090/x").unwrap().authority, "127.0.0.1:8090");
        assert_eq!(Target::parse("http://127.0.0.1").unwrap().address.port(), 80);
        assert!(Target::parse("https://127.0.0.1").is_err());
        assert!(Target::parse("127.0.0.1:1").is_err());
    }
}
