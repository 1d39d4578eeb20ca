use std::net::IpAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};

use crate::Fault;

/// Bytes of the longest PROXY header that is accepted. Version 1 has at most 107; version 2 may have
/// more, with what a proxy says about TLS.
pub const PROXY_BYTES_MAX: usize = 4096;

/// Bytes of the longest line of version 1.
const LINE_BYTES_MAX: usize = 107;
/// What version 2 says about TLS (`PP2_TYPE_SSL`), and the bit for "the client connected over TLS".
const TLS: u8 = 0x20;
const CLIENT_TLS: u8 = 0x01;

/// The client on whose behalf a proxy connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxied {
    /// Its address.
    pub ip: IpAddr,
    /// It speaks TLS with the proxy.
    pub is_tls: bool,
}

/// What the first bytes of a proxy's connection hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The header is not complete.
    NeedMore,
    /// A whole header; the client's bytes follow.
    Complete {
        /// Bytes of the header.
        len: usize,
        /// `None` if the proxy speaks for itself, as for a health check, or does not say.
        proxied: Option<Proxied>,
    },
}

/// Reads the header of the PROXY protocol, version 1 or 2, at the start of `bytes`.
///
/// # Errors
/// What is there is no such header, or one longer than [`PROXY_BYTES_MAX`]. Spec: TRN-83.
pub fn proxy_header(bytes: &[u8]) -> Result<ProxyHeader, Fault> {
    let bytes = &bytes[..bytes.len().min(PROXY_BYTES_MAX)];
    // The parser takes the half of an address for a wrong one.
    let is_line =
        !bytes.is_empty() && (b"PROXY ".starts_with(bytes) || bytes.starts_with(b"PROXY "));
    if is_line && bytes.len() < LINE_BYTES_MAX && !bytes.contains(&b'\n') {
        return Ok(ProxyHeader::NeedMore);
    }
    let parsed = HeaderResult::parse(bytes);
    if parsed.is_incomplete() {
        let can_grow = !is_line && bytes.len() < PROXY_BYTES_MAX;
        return if can_grow { Ok(ProxyHeader::NeedMore) } else { Err(Fault::ProxyHeaderInvalid) };
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => {
            let ip = match header.addresses {
                v1::Addresses::Tcp4(tcp) => Some(IpAddr::V4(tcp.source_address)),
                v1::Addresses::Tcp6(tcp) => Some(IpAddr::V6(tcp.source_address)),
                v1::Addresses::Unknown => None,
            };
            let proxied = ip.map(|ip| Proxied { ip: ip.to_canonical(), is_tls: false });
            Ok(ProxyHeader::Complete { len: header.header.len(), proxied })
        }
        HeaderResult::V2(Ok(header)) => {
            let ip = match (header.command, header.addresses) {
                (v2::Command::Proxy, v2::Addresses::IPv4(tcp)) => {
                    Some(IpAddr::V4(tcp.source_address))
                }
                (v2::Command::Proxy, v2::Addresses::IPv6(tcp)) => {
                    Some(IpAddr::V6(tcp.source_address))
                }
                _ => None,
            };
            let is_tls = header.tlvs().map_while(Result::ok).any(|tlv| {
                tlv.kind == TLS && tlv.value.first().is_some_and(|bits| bits & CLIENT_TLS != 0)
            });
            let proxied = ip.map(|ip| Proxied { ip: ip.to_canonical(), is_tls });
            Ok(ProxyHeader::Complete { len: header.len(), proxied })
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(Fault::ProxyHeaderInvalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep;

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).expect("a short header").to_be_bytes();
        [SIGNATURE, &[command, family], &len, rest].concat()
    }

    #[track_caller]
    fn check(header: &[u8], ip: Option<&str>, is_tls: bool) {
        let proxied = ip.map(|ip| Proxied { ip: ip.parse().expect("an address"), is_tls });
        let complete = Ok(ProxyHeader::Complete { len: header.len(), proxied });
        assert_eq!(proxy_header(header), complete);
        assert_eq!(proxy_header(&[header, b"GET / HTTP/1.1\r\n\r\n"].concat()), complete);
        for len in 0..header.len() {
            assert_eq!(proxy_header(&header[..len]), Ok(ProxyHeader::NeedMore), "{len}");
        }
    }

    // The lines and bytes are those of the protocol's own text (haproxy, proxy-protocol.txt).

    #[test]
    fn version_1_names_the_client() {
        check(b"PROXY TCP4 192.0.2.1 198.51.100.7 65535 443\r\n", Some("192.0.2.1"), false);
        check(b"PROXY TCP6 2001:db8::1 2001:db8::2 5 443\r\n", Some("2001:db8::1"), false);
        check(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 5 443\r\n", Some("192.0.2.1"), false);
        check(b"PROXY UNKNOWN\r\n", None, false);
    }

    #[test]
    fn version_2_names_the_client_and_its_tls() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 7, 0xff, 0xff, 1, 0xbb];
        check(&version_2(0x21, 0x11, &v4), Some("192.0.2.1"), false);
        let tls = [&v4[..], &[0x04, 0, 1, 9], &[0x20, 0, 5, 0x01, 0, 0, 0, 0]].concat();
        check(&version_2(0x21, 0x11, &tls), Some("192.0.2.1"), true);
        let plain = [&v4[..], &[0x20, 0, 5, 0x00, 0, 0, 0, 0]].concat();
        check(&version_2(0x21, 0x11, &plain), Some("192.0.2.1"), false);
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = 1;
        check(&version_2(0x21, 0x21, &v6), Some("2001:db8::1"), false);
        check(&version_2(0x20, 0x00, &[]), None, false);
        check(&version_2(0x20, 0x11, &v4), None, false);
        check(&version_2(0x21, 0x31, &[0; 216]), None, false);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
            "proxy UNKNOWN\r\n",
        ] {
            assert_eq!(proxy_header(text.as_bytes()), Err(Fault::ProxyHeaderInvalid), "{text}");
        }
        let line_of_108 = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(proxy_header(line_of_108.as_bytes()), Err(Fault::ProxyHeaderInvalid));
        for (command, family) in [(0x11, 0x11), (0x22, 0x11), (0x21, 0x41), (0x21, 0x13)] {
            let header = version_2(command, family, &[0; 216]);
            assert_eq!(proxy_header(&header), Err(Fault::ProxyHeaderInvalid));
        }
        assert_eq!(proxy_header(&version_2(0x21, 0x11, &[0; 11])), Err(Fault::ProxyHeaderInvalid));
    }

    #[test]
    fn a_header_has_a_bound() {
        let fits = version_2(0x20, 0x00, &[0; PROXY_BYTES_MAX - 16]);
        assert_eq!(fits.len(), PROXY_BYTES_MAX);
        check(&fits, None, false);
        let too_long = version_2(0x20, 0x00, &[0; PROXY_BYTES_MAX - 15]);
        assert_eq!(proxy_header(&too_long), Err(Fault::ProxyHeaderInvalid));
    }

    #[test]
    fn damaged_headers_do_not_panic() {
        for header in [
            b"PROXY TCP4 192.0.2.1 198.51.100.7 65535 443\r\n".to_vec(),
            version_2(0x21, 0x11, &[7; 40]),
        ] {
            sweep::damaged(&header, |bytes| {
                if let Ok(ProxyHeader::Complete { len, .. }) = proxy_header(bytes) {
                    assert!(len <= bytes.len());
                }
            });
        }
    }
}
