//! The URL of Redis, parsed.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A password. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// User and password for a server with access control.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// `None`: the default user.
    pub user: Option<String>,
    /// `None`: no login.
    pub password: Option<Secret>,
}

/// Name or address of a server, and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name or IP address, without brackets.
    pub name: String,
    pub port: u16,
}

/// How the servers are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single(Host),
    /// Sentinels that know the master of `service`, and the login to the sentinels.
    Sentinel { hosts: Vec<Host>, service: String, login: Login },
    /// Some nodes of a cluster, which know the others.
    Cluster(Vec<Host>),
}

/// A Redis URL. Its `Display` and `Debug` forms hide passwords.
///
/// ```text
/// redis://[user:password@]host[:port][/database]
/// redis+sentinel://[user:password@]host[:port],…/service[/database][?sentinel_user=…&sentinel_password=…]
/// redis+cluster://[user:password@]host[:port],…
/// ```
///
/// `rediss`, `rediss+sentinel` and `rediss+cluster` are the same over TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The servers, and how they are arranged.
    pub topology: Topology,
    /// Whether connections use TLS.
    pub is_tls: bool,
    /// Login to the servers that hold the data.
    pub login: Login,
    /// Number of the database, 0 in a cluster.
    pub database: u16,
}

/// Why a URL is invalid. Its text never contains the URL, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the scheme must be redis, redis+sentinel or redis+cluster, or rediss… for TLS")]
    Scheme,
    #[error("a host is missing or its port is not a number from 1 to 65535")]
    Host,
    #[error("redis:// takes one host; several need redis+sentinel:// or redis+cluster://")]
    TooManyHosts,
    #[error("redis+sentinel:// needs the name of the service after the hosts: …/mymaster")]
    Service,
    #[error("the database must be a number, and 0 in a cluster")]
    Database,
    #[error("user and password must be percent-encoded UTF-8")]
    Encoding,
    #[error("sentinel_user and sentinel_password of redis+sentinel:// are the only options")]
    Option,
}

impl Address {
    /// The servers that are asked first.
    pub fn hosts(&self) -> &[Host] {
        match &self.topology {
            Topology::Single(host) => std::slice::from_ref(host),
            Topology::Sentinel { hosts, .. } | Topology::Cluster(hosts) => hosts,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Address, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(AddressError::Scheme)?;
        let (secured, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let is_tls = match secured {
            "redis" => false,
            "rediss" => true,
            _ => return Err(AddressError::Scheme),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may contain a slash that was not encoded, so the login is split off first.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (parse_login(login)?, rest),
            None => (Login::default(), rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        if kind != "sentinel" && !query.is_empty() {
            return Err(AddressError::Option);
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let (topology, database) = match kind {
            "" => {
                let mut hosts = parse_hosts(hosts, REDIS_PORT)?;
                let host = hosts.pop().ok_or(AddressError::Host)?;
                if !hosts.is_empty() {
                    return Err(AddressError::TooManyHosts);
                }
                (Topology::Single(host), path)
            }
            "sentinel" => {
                let hosts = parse_hosts(hosts, SENTINEL_PORT)?;
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err(AddressError::Service);
                }
                let login = parse_sentinel_login(query)?;
                (Topology::Sentinel { hosts, service: decode(service)?, login }, database)
            }
            "cluster" => (Topology::Cluster(parse_hosts(hosts, REDIS_PORT)?), path),
            _ => return Err(AddressError::Scheme),
        };
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| AddressError::Database)?,
        };
        if database != 0 && matches!(topology, Topology::Cluster(_)) {
            return Err(AddressError::Database);
        }
        Ok(Address { topology, is_tls, login, database })
    }
}

fn parse_login(text: &str) -> Result<Login, AddressError> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(Secret(decode(password)?))),
        None => (text, None),
    };
    let user = if user.is_empty() { None } else { Some(decode(user)?) };
    Ok(Login { user, password })
}

fn parse_sentinel_login(query: &str) -> Result<Login, AddressError> {
    let mut login = Login::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sentinel_user", user)) => login.user = Some(decode(user)?),
            Some(("sentinel_password", password)) => {
                login.password = Some(Secret(decode(password)?));
            }
            _ => return Err(AddressError::Option),
        }
    }
    Ok(login)
}

fn parse_hosts(text: &str, default_port: u16) -> Result<Vec<Host>, AddressError> {
    text.split(',').map(|host| parse_host(host, default_port)).collect()
}

fn parse_host(text: &str, default_port: u16) -> Result<Host, AddressError> {
    // An IPv6 address is in brackets, which the resolver does not accept.
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']').ok_or(AddressError::Host)?;
            match after.strip_prefix(':') {
                Some(port) => (name, Some(port)),
                None if after.is_empty() => (name, None),
                None => return Err(AddressError::Host),
            }
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| AddressError::Host)?,
        None => default_port,
    };
    if name.is_empty() || port == 0 {
        return Err(AddressError::Host);
    }
    Ok(Host { name: name.to_owned(), port })
}

fn decode(text: &str) -> Result<String, AddressError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| AddressError::Encoding)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.is_tls { "s" } else { "" };
        let (kind, hosts, service) = match &self.topology {
            Topology::Single(host) => ("", std::slice::from_ref(host), None),
            Topology::Sentinel { hosts, service, .. } => ("+sentinel", &hosts[..], Some(service)),
            Topology::Cluster(hosts) => ("+cluster", &hosts[..], None),
        };
        write!(f, "redis{tls}{kind}://")?;
        if let Some(user) = &self.login.user {
            write!(f, "{user}")?;
        }
        if self.login.password.is_some() {
            f.write_str(":…")?;
        }
        if self.login != Login::default() {
            f.write_str("@")?;
        }
        for (index, host) in hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{host}")?;
        }
        if let Some(service) = service {
            write!(f, "/{service}")?;
        }
        if self.database != 0 {
            write!(f, "/{}", self.database)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        url.parse::<Address>().unwrap_or_else(|error| panic!("{url}: {error}")).to_string()
    }

    #[test]
    fn every_topology_is_parsed() {
        for (url, expected) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379"),
            ("redis://r.example:7000/3", "redis://r.example:7000/3"),
            ("rediss://u:p@r.example/", "rediss://u:…@r.example:6379"),
            ("redis://:p@[::1]:1", "redis://:…@[::1]:1"),
            ("redis+sentinel://a,b:5/main/2", "redis+sentinel://a:26379,b:5/main/2"),
            ("rediss+cluster://a:1,b:2,c:3", "rediss+cluster://a:1,b:2,c:3"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn a_password_is_decoded_and_never_shown() {
        let url = "redis+sentinel://me:p%40s%3As@a/main?sentinel_user=s&sentinel_password=secret2";
        let address: Address = url.parse().expect("a valid URL");
        assert_eq!(address.login.password.as_ref().map(Secret::reveal), Some("p@s:s"));
        let Topology::Sentinel { login, .. } = &address.topology else { panic!("{address}") };
        assert_eq!(login.password.as_ref().map(Secret::reveal), Some("secret2"));
        for text in [address.to_string(), format!("{address:?} {:?}", address.topology)] {
            assert!(!text.contains("p@s") && !text.contains("secret2"), "{text}");
        }
    }

    #[test]
    fn an_invalid_url_is_rejected() {
        for (url, expected) in [
            ("127.0.0.1:6379", AddressError::Scheme),
            ("http://a", AddressError::Scheme),
            ("redis+ring://a", AddressError::Scheme),
            ("redis://", AddressError::Host),
            ("redis://a:0", AddressError::Host),
            ("redis://a:99999", AddressError::Host),
            ("redis://[::1", AddressError::Host),
            ("redis+cluster://a,", AddressError::Host),
            ("redis://a,b", AddressError::TooManyHosts),
            ("redis+sentinel://a", AddressError::Service),
            ("redis://a/x", AddressError::Database),
            ("redis+cluster://a/1", AddressError::Database),
            ("redis://u:%ff@a", AddressError::Encoding),
            ("redis://a?x=1", AddressError::Option),
        ] {
            assert_eq!(url.parse::<Address>(), Err(expected), "{url}");
        }
    }
}
