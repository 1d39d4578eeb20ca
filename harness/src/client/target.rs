//! Where the server under test listens.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::ClientError;

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
}

impl Target {
    /// Accepts `http://host:port`, with or without the scheme and a trailing slash.
    pub fn parse(url: &str, engine_path: &str) -> Result<Target, String> {
        let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        if authority.contains("://") || authority.contains('/') || authority.is_empty() {
            return Err(format!("{url:?} is not of the form http://host:port"));
        }
        let with_port =
            if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let addr = with_port
            .to_socket_addrs()
            .map_err(|why| format!("{authority:?}: {why}"))?
            .next()
            .ok_or_else(|| format!("{authority:?} has no address"))?;
        let engine_path = engine_path.to_owned();
        let (from, answer_wait) = (None, ANSWER_WAIT);
        Ok(Target { authority: with_port, addr, engine_path, from, answer_wait })
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
        Ok(stream)
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.authority)
    }
}

fn dial_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), DIAL_WAIT)?;
    Ok(socket.into())
}
