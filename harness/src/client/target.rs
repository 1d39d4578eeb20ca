//! Where the server under test listens.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::ClientError;
use super::tls::{Tls, Trust};

const DIAL_WAIT: Duration = Duration::from_secs(5);
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long a look-up of the host's address may take.
const LOOK_UP_WAIT: Duration = Duration::from_secs(5);

/// Why a URL names no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoTarget {
    /// It can never be one, or nobody is trusted.
    Malformed(String),
    /// Its host has no address.
    Unresolved(String),
}

impl fmt::Display for NoTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoTarget::Malformed(why) | NoTarget::Unresolved(why) => out.write_str(why),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`, as it goes into the `Host` header.
    pub authority: String,
    pub addr: SocketAddr,
    /// Path of the Engine.IO endpoint, `/socket.io/` by default.
    pub engine_path: String,
    /// Address that connections come from; `None`: the one that the system chooses.
    from: Option<IpAddr>,
    /// How long a request or a handshake may be without its whole answer.
    pub answer_wait: Duration,
    /// `None`: plain TCP.
    tls: Option<Tls>,
    /// Users are given: none is registered, and none is logged in or out.
    pub has_given_users: bool,
}

impl Target {
    /// Accepts `http://host:port`, with or without the scheme and a trailing slash; `ws` is the same.
    ///
    /// # Errors
    /// It is not of this form, or the host has no address.
    pub fn parse(url: &str, engine_path: &str) -> Result<Target, NoTarget> {
        Target::parse_with(url, engine_path, || Err("TLS is not expected here".to_owned()))
    }

    /// The same, and `https` or `wss`, for which `trust` says whose certificates count.
    ///
    /// # Errors
    /// It is not of this form, the host has no address, or nobody is trusted.
    pub fn parse_with(
        url: &str,
        engine_path: &str,
        trust: impl FnOnce() -> Result<Trust, String>,
    ) -> Result<Target, NoTarget> {
        let malformed =
            || NoTarget::Malformed(format!("{url:?} is not of the form http[s]://host:port"));
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let default_port = match scheme {
            "http" | "ws" => 80,
            "https" | "wss" => 443,
            _ => return Err(malformed()),
        };
        let authority = rest.trim_end_matches('/');
        if authority.contains('/') || authority.is_empty() {
            return Err(malformed());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let with_port =
            if has_port { authority.to_owned() } else { format!("{authority}:{default_port}") };
        let (host, port) = with_port.rsplit_once(':').ok_or_else(malformed)?;
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(malformed());
        }
        let tls = match default_port {
            443 => {
                let tls = trust().and_then(|trust| Tls::new(&trust, host));
                Some(tls.map_err(NoTarget::Malformed)?)
            }
            _ => None,
        };
        let addr = look_up(&with_port).map_err(NoTarget::Unresolved)?;
        let engine_path = engine_path.to_owned();
        let (from, answer_wait) = (None, ANSWER_WAIT);
        Ok(Target {
            authority: with_port,
            addr,
            engine_path,
            from,
            answer_wait,
            tls,
            has_given_users: false,
        })
    }

    /// The same server, as a client with this address sees it.
    pub fn from_address(&self, from: Option<IpAddr>) -> Target {
        Target { from, ..self.clone() }
    }

    /// The same server for a client that waits this long for an answer.
    pub fn with_answer_wait(&self, answer_wait: Duration) -> Target {
        Target { answer_wait, ..self.clone() }
    }

    pub fn dial(&self) -> Result<TcpStream, ClientError> {
        let stream = match self.from {
            None => TcpStream::connect_timeout(&self.addr, DIAL_WAIT),
            Some(from) => dial_from(from, self.addr),
        };
        let stream = stream.map_err(|why| ClientError::Unreachable(why.to_string()))?;
        stream.set_nodelay(true).map_err(|why| ClientError::Unreachable(why.to_string()))?;
        match &self.tls {
            None => Ok(stream),
            Some(tls) => {
                let wait = self.answer_wait.min(DIAL_WAIT);
                let opened = tls.open(stream, wait).map_err(|why| format!("TLS: {why}"));
                opened.map_err(ClientError::Unreachable)
            }
        }
    }

    pub fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

/// The address of `host:port`.
fn look_up(authority: &str) -> Result<SocketAddr, String> {
    let (done, found) = mpsc::channel();
    let name = authority.to_owned();
    thread::spawn(move || {
        // Nobody listens any more when it has taken too long.
        let _ = done.send(name.to_socket_addrs().map(|mut found| found.next()));
    });
    let unresolved = |why: &str| format!("{authority}: the host has no address: {why}");
    match found.recv_timeout(LOOK_UP_WAIT) {
        Ok(Ok(Some(addr))) => Ok(addr),
        Ok(Ok(None)) => Err(unresolved("the name is known, without any")),
        Ok(Err(why)) => Err(unresolved(&why.to_string())),
        Err(_) => Err(unresolved(&format!("no answer in {LOOK_UP_WAIT:?}"))),
    }
}

fn dial_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), DIAL_WAIT)?;
    Ok(socket.into())
}
