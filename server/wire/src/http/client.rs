use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use super::Proxied;

/// Lines of `X-Forwarded-For` that are read, the last ones: a proxy appends to the last or adds one.
const LINES_MAX: usize = 8;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None` for a Unix socket.
    pub socket: Option<IpAddr>,
    /// The client on whose behalf a proxy connected, from its PROXY header.
    pub proxied: Option<Proxied>,
}

impl From<IpAddr> for Peer {
    fn from(ip: IpAddr) -> Peer {
        Peer { socket: Some(ip), proxied: None }
    }
}

/// What the head of a request says about the client in front of a proxy. Anyone may write it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// Lines of `X-Forwarded-For`, the last one first; empty ones fill the rest.
    lines: [&'a str; LINES_MAX],
    /// `X-Forwarded-Proto`.
    proto: Option<&'a str>,
    /// `X-Forwarded-Host`.
    host: Option<&'a str>,
}

impl<'a> Forwarded<'a> {
    /// `lines_from_last`: the values of `X-Forwarded-For`, the last one first.
    pub fn new(
        lines_from_last: impl Iterator<Item = &'a [u8]>,
        proto: Option<&'a str>,
        host: Option<&'a str>,
    ) -> Forwarded<'a> {
        let mut lines = [""; LINES_MAX];
        for (line, value) in lines.iter_mut().zip(lines_from_last) {
            // A line that is no text ends the chain, as an empty one does.
            let Ok(text) = std::str::from_utf8(value) else { break };
            *line = text;
        }
        Forwarded { lines, proto, host }
    }

    /// Whether the request has an address for [`TrustedProxies::client`].
    pub fn has_address(&self) -> bool {
        !self.lines[0].is_empty()
    }

    /// The addresses of the chain from the nearest to the farthest, up to the first that cannot be read.
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.lines.iter().flat_map(|line| line.rsplit(',')).map_while(address)
    }
}

/// An address of `X-Forwarded-For`; some proxies add the port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|addr| addr.ip()))?;
    Some(ip.to_canonical())
}

/// Peers whose word about a client is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<TrustedProxy>);

/// A network of proxies, or every peer on a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// One address or more; never IPv4 written as IPv6.
    Network(IpNet),
    /// Peers that connect through a Unix socket.
    Unix,
}

impl FromStr for TrustedProxy {
    type Err = ();

    fn from_str(text: &str) -> Result<TrustedProxy, ()> {
        if text == "unix" {
            return Ok(TrustedProxy::Unix);
        }
        let network: IpNet = match text.parse::<IpAddr>() {
            Ok(ip) => ip.into(),
            Err(_) => text.parse().map_err(|_| ())?,
        };
        Ok(TrustedProxy::Network(folded(network)))
    }
}

impl TrustedProxy {
    /// Whether it is all addresses there are.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        matches!(self, TrustedProxy::Network(network) if network.prefix_len() == 0)
    }
}

/// Addresses are compared in their canonical form, so networks have it too.
fn folded(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(v4), Some(prefix_len)) if network.addr().is_ipv6() => {
            Ipv4Net::new(v4, prefix_len).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustedProxy::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            TrustedProxy::Network(network) => network.fmt(f),
            TrustedProxy::Unix => f.write_str("unix"),
        }
    }
}

impl FromIterator<TrustedProxy> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = TrustedProxy>>(proxies: T) -> TrustedProxies {
        TrustedProxies(proxies.into_iter().collect())
    }
}

/// The client of a request, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address in canonical form: IPv4 is never written as IPv6. Unspecified for a Unix socket.
    pub ip: IpAddr,
    /// It is a trusted proxy that names no client.
    pub is_proxy: bool,
    /// It speaks HTTPS, with a proxy that ends TLS.
    pub is_https: bool,
}

/// Who sent an HTTP request, for those that answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The client.
    pub client: Client,
    /// Whether its `Origin` is absent, the server's own, or one the operator listed (TRN-60).
    pub is_origin_allowed: bool,
}

/// What a limit per client counts: an IPv4 address, or the /64 of an IPv6 address, because a subscriber
/// owns all of it. Spec: LIM-34.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(IpAddr);

impl From<IpAddr> for ClientKey {
    fn from(ip: IpAddr) -> ClientKey {
        match ip.to_canonical() {
            IpAddr::V4(v4) => ClientKey(IpAddr::V4(v4)),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                ClientKey(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
        }
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

impl TrustedProxies {
    /// The one decision who sent a request. A trusted peer's `X-Forwarded-For` is read from its end as
    /// long as the addresses are trusted too: the first that is not, or the farthest, is the client.
    ///
    /// Spec: TRN-80, TRN-81, TRN-83.
    pub fn client(&self, peer: Peer, forwarded: &Forwarded<'_>) -> Client {
        let mut ip = match peer {
            Peer { proxied: Some(proxied), .. } => proxied.ip,
            Peer { socket: Some(ip), .. } => ip,
            Peer { .. } => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
        .to_canonical();
        let mut is_trusted = self.trusts(peer);
        let mut is_proxy = is_trusted;
        let mut addresses = forwarded.addresses();
        while is_trusted && let Some(next) = addresses.next() {
            ip = next;
            is_proxy = false;
            is_trusted = self.contains(ip);
        }
        let is_tls = peer.proxied.is_some_and(|proxied| proxied.is_tls);
        let is_https = is_tls || (self.trusts(peer) && names_tls(forwarded));
        Client { ip, is_proxy, is_https }
    }

    /// The host that the client asked for: `X-Forwarded-Host` of a trusted proxy, else `host`.
    ///
    /// Spec: TRN-82.
    pub fn host<'a>(
        &self,
        peer: Peer,
        forwarded: &Forwarded<'a>,
        host: Option<&'a str>,
    ) -> Option<&'a str> {
        let forwarded = forwarded.host.filter(|_| self.trusts(peer));
        forwarded.and_then(first).or(host)
    }

    /// Whether requests of this peer may have other clients than the peer itself.
    pub fn trusts(&self, peer: Peer) -> bool {
        peer.proxied.map_or_else(|| self.trusts_socket(peer), |proxied| self.contains(proxied.ip))
    }

    /// Whether the process at the other end of the socket is a trusted proxy.
    pub fn trusts_socket(&self, peer: Peer) -> bool {
        match peer.socket {
            Some(ip) => self.contains(ip),
            None => self.0.contains(&TrustedProxy::Unix),
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|proxy| match proxy {
            TrustedProxy::Network(network) => network.contains(&ip),
            TrustedProxy::Unix => false,
        })
    }
}

/// Some proxies write the scheme of a WebSocket.
fn names_tls(forwarded: &Forwarded<'_>) -> bool {
    let proto = forwarded.proto.and_then(first).unwrap_or_default();
    proto.eq_ignore_ascii_case("https") || proto.eq_ignore_ascii_case("wss")
}

/// Of several values the one of the proxy nearest to the client.
fn first(values: &str) -> Option<&str> {
    values.split(',').next().map(str::trim).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(proxies: &[&str]) -> TrustedProxies {
        proxies.iter().map(|text| text.parse::<TrustedProxy>().expect("a proxy")).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn forwarded<'a>(lines: &[&'a str]) -> Forwarded<'a> {
        Forwarded::new(lines.iter().rev().map(|line| line.as_bytes()), None, None)
    }

    #[track_caller]
    fn check(peer: &str, lines: &[&str], want: &str) {
        let proxies =
            trusted(&["10.0.0.1", "10.1.0.0/16", "2001:db8:f::/48", "::ffff:10.2.0.0/112"]);
        let client = proxies.client(ip(peer).into(), &forwarded(lines));
        assert_eq!(client.ip, ip(want), "{peer} {lines:?}");
    }

    #[test]
    fn only_a_trusted_proxy_may_forward_addresses() {
        check("1.2.3.4", &["9.9.9.9"], "1.2.3.4");
        check("10.0.0.2", &["9.9.9.9"], "10.0.0.2");
        for peer in ["10.0.0.1", "::ffff:10.0.0.1", "10.1.255.255", "2001:db8:f:1::1", "10.2.9.9"] {
            check(peer, &["9.9.9.9"], "9.9.9.9");
        }
        check("10.3.0.1", &["9.9.9.9"], "10.3.0.1");
    }

    #[test]
    fn the_chain_is_read_from_its_end_while_it_is_trusted() {
        check("10.0.0.1", &["6.6.6.6, 9.9.9.9, 10.1.0.7"], "9.9.9.9");
        check("10.0.0.1", &["6.6.6.6", "9.9.9.9"], "9.9.9.9");
        check("10.0.0.1", &["6.6.6.6, 9.9.9.9", "10.1.0.7", "10.1.0.8"], "9.9.9.9");
        check("10.0.0.1", &["10.1.0.7"], "10.1.0.7");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["6.6.6.6, garbage"], "10.0.0.1");
        check("10.0.0.1", &["6.6.6.6, unknown, 10.1.0.7"], "10.1.0.7");
        check("10.0.0.1", &["9.9.9.9,"], "10.0.0.1");
    }

    #[test]
    fn an_address_may_have_a_port_or_brackets() {
        check("10.0.0.1", &["9.9.9.9:4711"], "9.9.9.9");
        check("10.0.0.1", &["[2001:db8::9]:4711"], "2001:db8::9");
        check("10.0.0.1", &["[2001:db8::9]"], "2001:db8::9");
        check("10.0.0.1", &["::ffff:9.9.9.9"], "9.9.9.9");
    }

    #[test]
    fn a_proxy_that_names_no_client_is_known_as_one() {
        let proxies = trusted(&["10.0.0.0/8"]);
        let is_proxy = |peer: &str, lines: &[&str]| {
            proxies.client(ip(peer).into(), &forwarded(lines)).is_proxy
        };
        assert!(is_proxy("10.0.0.1", &[]));
        assert!(!is_proxy("10.0.0.1", &["9.9.9.9"]));
        assert!(!is_proxy("10.0.0.1", &["10.0.0.2"]), "a client in the network of the proxies");
        assert!(!is_proxy("9.9.9.9", &[]));
    }

    #[test]
    fn a_unix_socket_is_trusted_by_name() {
        let peer = Peer { socket: None, proxied: None };
        let lines = ["9.9.9.9"];
        assert_eq!(trusted(&["unix"]).client(peer, &forwarded(&lines)).ip, ip("9.9.9.9"));
        let untrusted = trusted(&["0.0.0.0/0"]).client(peer, &forwarded(&lines));
        assert_eq!((untrusted.ip, untrusted.is_proxy), (ip("0.0.0.0"), false));
    }

    #[test]
    fn the_scheme_and_the_host_are_those_of_a_trusted_proxy() {
        let proxies = trusted(&["10.0.0.1"]);
        let says =
            |proto| Forwarded::new(std::iter::empty(), Some(proto), Some("chat.example:8443"));
        for proto in ["https", "HTTPS", "wss", "https, http", " https"] {
            assert!(proxies.client(ip("10.0.0.1").into(), &says(proto)).is_https, "{proto}");
            assert!(!proxies.client(ip("10.0.0.2").into(), &says(proto)).is_https, "{proto}");
        }
        for proto in ["http", "ws", "", "http, https", "httpss"] {
            assert!(!proxies.client(ip("10.0.0.1").into(), &says(proto)).is_https, "{proto}");
        }
        let host = |peer: &str| proxies.host(ip(peer).into(), &says("https"), Some("backend"));
        assert_eq!(host("10.0.0.1"), Some("chat.example:8443"));
        assert_eq!(host("10.0.0.2"), Some("backend"));
    }

    #[test]
    fn a_proxy_header_names_the_client_and_its_tls() {
        let peer = |client: &str, is_tls| Peer {
            socket: Some(ip("10.0.0.1")),
            proxied: Some(Proxied { ip: ip(client), is_tls }),
        };
        let proxies = trusted(&["10.0.0.0/8"]);
        let forged = forwarded(&["6.6.6.6"]);
        let client = proxies.client(peer("9.9.9.9", true), &forged);
        assert_eq!(client, Client { ip: ip("9.9.9.9"), is_proxy: false, is_https: true });
        let behind_two = proxies.client(peer("10.0.0.9", false), &forged);
        assert_eq!((behind_two.ip, behind_two.is_https), (ip("6.6.6.6"), false));
        // What the balancer passes on unread is the client's own word (TRN-80).
        let forged = Forwarded { proto: Some("https"), host: Some("chat.example"), ..forged };
        for (client, believed) in [("9.9.9.9", false), ("10.0.0.9", true)] {
            let peer = peer(client, false);
            assert_eq!(proxies.client(peer, &forged).is_https, believed, "{client}");
            let host = if believed { "chat.example" } else { "backend" };
            assert_eq!(proxies.host(peer, &forged, Some("backend")), Some(host), "{client}");
        }
    }

    #[test]
    fn a_subscriber_of_ipv6_counts_as_one_and_ipv4_is_folded() {
        let key = |text: &str| ClientKey::from(ip(text));
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2:3::1").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_proxy_is_an_address_a_network_or_unix() {
        let shown = |text: &str| text.parse::<TrustedProxy>().map(|proxy| proxy.to_string());
        for right in ["10.0.0.1", "10.0.0.0/8", "2001:db8::/32", "::1", "unix", "0.0.0.0/0"] {
            assert_eq!(shown(right), Ok(right.to_owned()));
        }
        assert_eq!(shown("::ffff:10.0.0.0/104"), Ok("10.0.0.0/8".to_owned()));
        for wrong in ["", "10.0.0", "10.0.0.0/33", "proxy.example", "10.0.0.0/8 ", "unix:/x", "*"] {
            assert_eq!(shown(wrong), Err(()), "{wrong}");
        }
    }
}
