//! One listening socket per shard on the same address, and a Unix socket for a proxy on this machine.

use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const BACKLOG: i32 = 4096;
/// How long a peer may leave bytes unacknowledged before the kernel closes the connection.
const UNACKED_MAX: Duration = Duration::from_secs(60);
/// What the kernel may keep of bytes that were not read, for each connection of a client whose user is not known.
/// Left to itself it keeps megabytes of each, and slows down all connections of the machine when that is too much.
/// Not an option of the listener: that would fix the largest window that a connection can ever have.
pub(crate) const ANONYMOUS_RECV_BYTES: usize = 32 << 10;
/// The same for a session whose user is known, as fast as that makes an upload over a long way.
pub(crate) const IDENTIFIED_RECV_BYTES: usize = 1 << 20;
/// The same for requests to the HTTP thread, where the user may be known and may upload.
pub(crate) const HTTP_RECV_BYTES: usize = 256 << 10;

/// Binds `shards` sockets that share `addr`, so that the kernel spreads connections over them. With
/// port 0 the first one picks the port.
///
/// # Errors
/// The error of the operating system; usually that the address is in use or of another machine.
pub fn bind(addr: SocketAddr, shards: u8) -> io::Result<Vec<TcpListener>> {
    if addr.port() != 0 {
        // Two servers of one user could share a port unnoticed: SO_REUSEPORT would split their
        // clients between them.
        drop(socket(addr, false)?);
    }
    let mut listeners = vec![listener(addr)?];
    let bound = listeners[0].local_addr()?;
    for _ in 1..shards {
        listeners.push(listener(bound)?);
    }
    Ok(listeners)
}

/// Binds a Unix socket that anyone who reaches its directory may use. A socket that a server left
/// behind is replaced; one on which a server listens is not.
///
/// # Errors
/// What is there is no socket, or the error of the operating system.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if is_socket(path)? && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Finds out whether [`bind`] could bind `addr`, but for another socket that has it now: then it answers false.
///
/// # Errors
/// The error of the operating system: the address is of another machine, or its port is for root.
pub fn check(addr: SocketAddr) -> io::Result<bool> {
    match socket(addr, false) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(error),
    }
}

/// Finds out whether [`bind_unix`] could bind `path`, but for a server that listens there now: then it answers false.
///
/// # Errors
/// What is there is no socket; or as the operating system would say it: no such directory, no right to write there,
/// a path that is too long.
pub fn check_unix(path: &Path) -> io::Result<bool> {
    std::os::unix::net::SocketAddr::from_pathname(path)?;
    let is_free = !is_socket(path)? || UnixStream::connect(path).is_err();
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    access(dir, Access::WRITE_OK | Access::EXEC_OK)?;
    if dir.is_dir() { Ok(is_free) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// Whether a server has a socket at `path`, or has left one behind.
///
/// # Errors
/// What is there is no socket: the operating system would only say that the address is in use.
fn is_socket(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(meta) if meta.file_type().is_socket() => Ok(true),
        Ok(_) => {
            let why = "what is there is not a socket";
            Err(io::Error::new(io::ErrorKind::AlreadyExists, why))
        }
        Err(_) => Ok(false),
    }
}

fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(addr, true)?;
    // Accepted sockets inherit both: two system calls less per connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKED_MAX))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets the kernel keep so much of what the peer sends and nobody has read.
pub(crate) fn keep_unread(stream: impl AsFd, recv_bytes: usize) {
    // It works with less, only slower.
    let _ = SockRef::from(&stream).set_recv_buffer_size(recv_bytes);
}

fn socket(addr: SocketAddr, shares_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shares_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shards_share_the_port_the_first_one_picked() {
        let listeners = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 3).expect("loopback is there");
        let port = listeners[0].local_addr().expect("it is bound").port();
        assert_ne!(port, 0);
        for listener in &listeners {
            assert_eq!(listener.local_addr().expect("it is bound").port(), port);
        }
    }

    #[test]
    fn a_second_server_on_the_port_is_an_error() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 2).expect("loopback is there");
        let addr = first[0].local_addr().expect("it is bound");
        assert_eq!(bind(addr, 2).expect_err("it is taken").kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_unix_socket_is_replaced_when_its_server_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("throng.sock");
        let first = bind_unix(&path).expect("it is free");
        assert_eq!(bind_unix(&path).expect_err("it is taken").kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind_unix(&path).expect("nothing listens there any more");
        let file = dir.path().join("file");
        std::fs::write(&file, "precious").expect("it can be written");
        let refused = bind_unix(&file).expect_err("a file is no socket");
        assert_eq!(refused.to_string(), "what is there is not a socket");
        let refused = check_unix(&file).expect_err("a file is no socket");
        assert_eq!(refused.to_string(), "what is there is not a socket");
        check_unix(&path).expect("a socket may be there");
        assert_eq!(std::fs::read(&file).expect("it is there"), b"precious");
    }

    #[test]
    fn accepted_connections_inherit_the_options() {
        let listeners = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).expect("loopback is there");
        listeners[0].set_nonblocking(false).expect("it is a socket");
        let addr = listeners[0].local_addr().expect("it is bound");
        let _client = std::net::TcpStream::connect(addr).expect("it listens");
        let (accepted, _) = listeners[0].accept().expect("a client waits");
        assert!(accepted.nodelay().expect("it is TCP"));
        let timeout = SockRef::from(&accepted).tcp_user_timeout();
        assert_eq!(timeout.expect("it is TCP"), Some(UNACKED_MAX));
        // The kernel keeps as much again for itself.
        keep_unread(&accepted, ANONYMOUS_RECV_BYTES);
        let recv_bytes = || SockRef::from(&accepted).recv_buffer_size().expect("it is TCP");
        assert_eq!(recv_bytes(), 2 * ANONYMOUS_RECV_BYTES);
        keep_unread(&accepted, HTTP_RECV_BYTES);
        assert!(recv_bytes() > 2 * ANONYMOUS_RECV_BYTES, "{}", recv_bytes());
    }
}
