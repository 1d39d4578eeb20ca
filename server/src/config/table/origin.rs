//! Origins of pages as browsers send them: scheme and host in lower case, a port only if it is not the
//! scheme's own. The header `Origin` is compared with them byte by byte.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

/// Why no browser sends an origin like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginFault {
    #[error("an origin begins with http:// or https://, or the scheme of an app")]
    Scheme,
    #[error("an origin has no user name and no password")]
    User,
    #[error("an origin has no path, not even a slash")]
    Path,
    #[error("an origin has no query")]
    Query,
    #[error("an origin has no fragment")]
    Fragment,
    #[error("a host has letters, digits, -, _ and dots, and there are no wildcards")]
    Host,
    #[error("a host that is not ASCII is written in Punycode, xn--…")]
    NotAscii,
    #[error("the address is not written as browsers write it")]
    Address,
    #[error("a port is a number from 1 to 65535")]
    Port,
}

/// The origin as browsers send it, whatever the case of its letters and with the scheme's own port or
/// without.
///
/// # Errors
/// No browser sends it.
pub fn parse(text: &str) -> Result<String, OriginFault> {
    // Pages without an origin, such as files and sandboxed frames (TRN-64).
    if text == "null" {
        return Ok(text.to_owned());
    }
    let (scheme, rest) = text.split_once("://").ok_or(OriginFault::Scheme)?;
    let scheme = scheme.to_ascii_lowercase();
    let own_port = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ if is_of_app(&scheme) => None,
        _ => return Err(OriginFault::Scheme),
    };
    let (host, port) = host_and_port(authority(rest)?);
    let host = canonical_host(host)?;
    let port = port.map(port_number).transpose()?;
    Ok(match port.filter(|port| Some(*port) != own_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// Whether pages of an app may be loaded by it, as `capacitor://localhost` and `chrome-extension://…` are.
fn is_of_app(scheme: &str) -> bool {
    const OTHERS: [&str; 6] = ["ws", "wss", "ftp", "file", "data", "blob"];
    let is_in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(is_in_scheme)
        && !OTHERS.contains(&scheme)
}

/// What follows the scheme, if it is host and port alone.
fn authority(rest: &str) -> Result<&str, OriginFault> {
    // Browsers take a backslash for a slash.
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if authority.contains('@') {
        return Err(OriginFault::User);
    }
    match after.chars().next() {
        None => Ok(authority),
        Some('?') => Err(OriginFault::Query),
        Some('#') => Err(OriginFault::Fragment),
        Some(_) => Err(OriginFault::Path),
    }
}

fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    // The colons of an IPv6 address stand in brackets.
    let bracket_end = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[bracket_end..].find(':') {
        Some(at) => {
            let colon = bracket_end + at;
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        None => (authority, None),
    }
}

fn canonical_host(text: &str) -> Result<String, OriginFault> {
    if !text.is_ascii() {
        return Err(OriginFault::NotAscii);
    }
    if let Some(address) = text.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse().ok());
        return address.map(bracketed).ok_or(OriginFault::Address);
    }
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || !text.chars().all(is_of_host) {
        return Err(OriginFault::Host);
    }
    if ends_in_number(text) && text.parse::<Ipv4Addr>().is_err() {
        return Err(OriginFault::Address);
    }
    Ok(text.to_ascii_lowercase())
}

/// Browsers write an IPv4 address within it in hexadecimal, which `Display` does not.
fn bracketed(address: Ipv6Addr) -> String {
    match address.to_ipv4_mapped() {
        Some(_) => {
            let [.., high, low] = address.segments();
            format!("[::ffff:{high:x}:{low:x}]")
        }
        None => format!("[{address}]"),
    }
}

/// Whether browsers take it for an IPv4 address, which they send as four numbers: `127.1` is sent as
/// `127.0.0.1`.
fn ends_in_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn port_number(text: &str) -> Result<u16, OriginFault> {
    // The parser would take a sign.
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|_| is_number);
    port.map(NonZeroU16::get).ok_or(OriginFault::Port)
}
