//! Where the server under test listens.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::ClientError;
use super::tls::{Tls, Trust};

const DIAL_WAIT: Duration = Duration::from_secs(5);
const ANSWER_WAIT: Duration = Duration::from_secs(10);

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
    pub fn parse(url: &str, engine_path: &str) -> Result<Target, String> {
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
    ) -> Result<Target, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let default_port = match scheme {
            "http" | "ws" => 80,
            "https" | "wss" => 443,
            _ => return Err(format!("{url:?} is not of the form http[s]://host:port")),
        };
        let authority = rest.trim_end_matches('/');
        if authority.contains('/') || authority.is_empty() {
            return Err(format!("{url:?} is not of the form http[s]://host:port"));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let with_port =
            if has_port { authority.to_owned() } else { format!("{authority}:{default_port}") };
        let addr = with_port
            .to_socket_addrs()
            .map_err(|why| format!("{authority:?}: {why}"))?
            .next()
            .ok_or_else(|| format!("{authority:?} has no address"))?;
        let engine_path = engine_path.to_owned();
        let tls = match default_port {
            443 => {
                let host = with_port.rsplit_once(':').map_or(authority, |(host, _)| host);
                Some(Tls::new(&trust()?, host.trim_matches(['[', ']']))?)
            }
            _ => None,
        };
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

fn dial_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), DIAL_WAIT)?;
    Ok(socket.into())
}
