//! One client's socket: connect, read whenever there is something, write at once what fits.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::clock::now_ns;
use crate::plan::Seat;
use crate::polling::{self, Http};
use crate::readiness::Ready;
use crate::samples::Metric;
use crate::scenario::{Protocol, Transport};
use crate::session::{Ended, Session, State, Turn};
use crate::thread::Context;

/// One read takes at most this much; it is also the least room offered to a read.
pub const READ_BYTES: usize = 256 << 10;
/// Reads per readiness before the other clients get their turn.
const READS_PER_TURN: usize = 16;

pub struct Client {
    pub session: RefCell<Session>,
    pub is_publisher: bool,
    fd: Cell<RawFd>,
    /// The WebSocket's TCP connection.
    stream: RefCell<Option<TcpStream>>,
    is_connecting: Cell<bool>,
    /// The socket is full; an edge will tell when it is not.
    is_flushing: Cell<bool>,
    /// A task of its own reads: slowly, or what one turn did not finish.
    is_read_apart: Cell<bool>,
    /// How the connection ended, for the client's own task, which sleeps meanwhile.
    ended: RefCell<Option<Ended>>,
    sleeper: RefCell<Option<Waker>>,
    /// When to come back after the connection ended; `None`: stay away.
    comeback_ns: Cell<Option<u64>>,
    /// Slow reader: bytes per second it takes.
    pub slow: Cell<Option<u64>>,
    pub is_started: Cell<bool>,
    holds_slot: Cell<bool>,
    /// Long-polling: the connection for POSTs and their path, unless one is under way.
    pub poster: RefCell<Option<(Http, String)>>,
}

impl Client {
    #[must_use]
    pub fn new(context: &Context, seat: Seat) -> Self {
        Self {
            is_publisher: seat.publisher.is_some(),
            session: RefCell::new(Session::new(&context.shared, seat)),
            fd: Cell::new(-1),
            stream: RefCell::new(None),
            is_connecting: Cell::new(false),
            is_flushing: Cell::new(false),
            is_read_apart: Cell::new(false),
            ended: RefCell::new(None),
            sleeper: RefCell::new(None),
            comeback_ns: Cell::new(None),
            slow: Cell::new(None),
            is_started: Cell::new(false),
            holds_slot: Cell::new(false),
            poster: RefCell::new(None),
        }
    }

    pub fn is_online(&self) -> bool {
        self.fd.get() >= 0
    }

    /// Cuts the connection off without a word; the reading task notices.
    pub fn cut(&self) {
        if self.is_online() {
            // An error means that the peer was faster; the reading task sees that as well.
            let _ = shutdown(self.fd.get(), Shutdown::Both);
        }
    }

    /// The end to come is ours: be back at `at_ns`.
    pub fn comeback_at(&self, at_ns: u64) {
        self.comeback_ns.set(Some(at_ns));
    }

    /// Due to come, on its way, or back again in a moment: rosters cannot be at rest yet.
    pub fn is_awaited(&self) -> bool {
        self.comeback_ns.get().is_some() || self.session.borrow().is_arriving()
    }

    fn release_slot(&self, context: &Context) {
        if self.holds_slot.replace(false) {
            context.slots.release();
        }
    }

    /// The connection is over; its own task wakes up to deal with it.
    fn finish(&self, ended: Ended) {
        self.fd.set(-1);
        *self.ended.borrow_mut() = Some(ended);
        if let Some(sleeper) = self.sleeper.borrow_mut().take() {
            sleeper.wake();
        }
    }

    /// Sleeps until [`Client::finish`].
    async fn ending(&self) -> Ended {
        poll_fn(|task| match self.ended.borrow_mut().take() {
            Some(ended) => Poll::Ready(ended),
            None => {
                *self.sleeper.borrow_mut() = Some(task.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Sleeps until the socket is connected, or never will be.
    async fn connecting(&self) {
        poll_fn(|task| {
            if !self.is_connecting.get() {
                return Poll::Ready(());
            }
            *self.sleeper.borrow_mut() = Some(task.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The readiness set says that there is something to read, or room to write.
    pub fn on_ready(self: &Rc<Self>, context: &Rc<Context>, ready: Ready) {
        if self.is_connecting.get() {
            self.is_connecting.set(!(ready.is_writable || ready.is_ending));
            if let Some(sleeper) = self.sleeper.borrow_mut().take() {
                sleeper.wake();
            }
            return;
        }
        if !self.is_online() {
            return;
        }
        if ready.is_writable && self.is_flushing.replace(false) {
            self.flush(context, &mut self.session.borrow_mut());
        }
        if self.is_read_apart.get() {
            return;
        }
        let is_slow = self.slow.get().is_some();
        if is_slow || !read(context, self, READ_BYTES, ready.is_ending) {
            self.is_read_apart.set(true);
            monoio::spawn(read_apart(Rc::clone(context), Rc::clone(self)));
        }
    }

    /// What follows from what was read: a free handshake slot, the next messages, answers.
    pub fn after_read(self: &Rc<Self>, context: &Rc<Context>) {
        let mut session = self.session.borrow_mut();
        if session.state == State::Joined {
            self.release_slot(context);
            if self.is_publisher {
                refill(context, &mut session);
            }
        }
        self.flush(context, &mut session);
    }

    /// Writes what is queued; what does not fit follows when the socket can take it.
    pub fn flush(self: &Rc<Self>, context: &Rc<Context>, session: &mut Session) {
        if session.out.is_empty() || self.is_flushing.get() || !self.is_online() {
            return;
        }
        if session.is_polling {
            if self.poster.borrow().is_some() {
                monoio::spawn(polling::post(Rc::clone(context), Rc::clone(self)));
            }
            return;
        }
        let sent = match send(self.fd.get(), &session.out, SEND) {
            Ok(sent) => sent,
            Err(Errno::EAGAIN) => 0,
            // The reading task meets the same error and reports it.
            Err(_) => session.out.len(),
        };
        context.local.borrow_mut().stats.counters.bytes_out += sent as u64;
        if sent == session.out.len() {
            session.out.clear();
        } else {
            session.out.drain(..sent);
            self.is_flushing.set(true);
        }
    }
}

const SEND: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// The client's whole life from when it is due: connect, talk, and come back as often as it is told to.
pub async fn live(context: Rc<Context>, client: Rc<Client>, mut due_ns: u64) {
    client.holds_slot.set(true);
    loop {
        client.session.borrow_mut().due_ns = Some(due_ns);
        client.comeback_ns.set(None);
        let ended = match attempt(&context, &client).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        client.release_slot(&context);
        client.fd.set(-1);
        client.is_flushing.set(false);
        *client.poster.borrow_mut() = None;
        *client.stream.borrow_mut() = None;
        end(&context, &client, &ended);
        let Some(at_ns) = client.comeback_ns.get() else {
            client.session.borrow_mut().due_ns = None;
            break;
        };
        due_ns = at_ns;
        let wait_ns = at_ns.saturating_sub(now_ns());
        monoio::time::sleep(Duration::from_nanos(wait_ns)).await;
        if context.is_over() {
            break;
        }
        context.local.borrow_mut().stats.counters.reconnects += 1;
    }
}

fn end(context: &Rc<Context>, client: &Rc<Client>, ended: &Ended) {
    let mut local = context.local.borrow_mut();
    let mut session = client.session.borrow_mut();
    let mut turn = Turn::new(&context.shared, &mut local, now_ns());
    let had_joined = session.state == State::Joined;
    if !context.is_over() {
        session.cut_off(&mut turn);
    }
    let was_asked = session.is_parting;
    session.is_parting = false;
    if was_asked || context.is_over() {
        return;
    }
    let counters = &mut local.stats.counters;
    if had_joined {
        counters.disconnects += 1;
    } else {
        counters.connect_failures += 1;
    }
    local.stats.error(&ended.kind());
    if context.shared.scenario.connect.reconnect {
        let jitter_ns = u64::from(session.seat.client % 1000) * 1_000_000;
        client.comeback_ns.set(Some(now_ns() + 500_000_000 + jitter_ns));
    } else {
        context.gone.set(context.gone.get() + 1);
    }
}

async fn attempt(context: &Rc<Context>, client: &Rc<Client>) -> Result<Infallible, Ended> {
    let started_ns = now_ns();
    client.session.borrow_mut().started_ns = started_ns;
    context.local.borrow_mut().stats.first_attempt_ns.get_or_insert(started_ns);
    let seat = client.session.borrow().seat.clone();
    let target = &context.shared.targets[seat.client as usize % context.shared.targets.len()];
    let source = match context.shared.scenario.sources.as_slice() {
        [] => None,
        sources => Some(sources[seat.client as usize % sources.len()]),
    };
    let note_connected = || {
        let connected_ns = now_ns();
        let mut local = context.local.borrow_mut();
        local.stats.counters.connects += 1;
        local.stats.samples.record_ns(Metric::Connect, connected_ns - started_ns);
        client.session.borrow_mut().asked_ns = connected_ns;
    };
    let scenario = &context.shared.scenario;
    let mut path = engine_path(context, &seat, "websocket");
    if scenario.transport != Transport::Websocket {
        let connect = || async {
            let stream = begin_connect(target.address, source).map_err(unconnected)?;
            let stream = monoio::net::TcpStream::from_std(stream).map_err(unconnected)?;
            stream.writable(false).await.map_err(unconnected)?;
            // Writable also means failed; only a connected socket has a peer.
            stream.peer_addr().map_err(unconnected)?;
            Ok(stream)
        };
        let stream = connect().await?;
        note_connected();
        client.fd.set(stream.as_raw_fd());
        let poll = engine_path(context, &seat, "polling");
        let mut http = Http::new(stream, target);
        let opened = polling::open(&mut http, scenario.protocol, &poll).await?;
        let session_path = |path: &str| format!("{path}&sid={}", opened.sid);
        if scenario.transport == Transport::Polling {
            let poll = session_path(&poll);
            let poster = Http::new(connect().await?, target);
            *client.poster.borrow_mut() = Some((poster, poll.clone()));
            {
                let mut session = client.session.borrow_mut();
                let mut local = context.local.borrow_mut();
                let mut turn = Turn::new(&context.shared, &mut local, now_ns());
                session.is_polling = true;
                session.out.clear();
                session.opened_with(&mut turn, &opened);
            }
            client.after_read(context);
            return polling::talk(context, client, http, &poll).await;
        }
        path = session_path(&path);
        client.session.borrow_mut().opened_by_polling = Some(Box::new(opened));
    }
    let stream = begin_connect(target.address, source).map_err(unconnected)?;
    client.ended.take();
    client.is_connecting.set(true);
    let watched = context.readiness.watch(&stream, u64::from(seat.client));
    watched.map_err(|errno| unconnected(errno.into()))?;
    client.connecting().await;
    // An end is also the end of connecting; only a connected socket has a peer.
    stream.peer_addr().map_err(|error| match stream.take_error() {
        Ok(Some(cause)) => unconnected(cause),
        _ => unconnected(error),
    })?;
    if scenario.transport == Transport::Websocket {
        note_connected();
    }
    {
        let mut session = client.session.borrow_mut();
        session.state = State::ExpectUpgrade;
        let key = generate_key();
        session.accept = derive_accept_key(key.as_bytes());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
            target.authority
        );
        session.out.clear();
        session.out.extend_from_slice(request.as_bytes());
    }
    client.fd.set(stream.as_raw_fd());
    *client.stream.borrow_mut() = Some(stream);
    client.flush(context, &mut client.session.borrow_mut());
    Err(client.ending().await)
}

fn unconnected(error: io::Error) -> Ended {
    Ended::Refused(format!("connect: {}", error.kind()))
}

fn engine_path(context: &Context, seat: &Seat, transport: &str) -> String {
    let scenario = &context.shared.scenario;
    let path = scenario.path();
    match scenario.protocol {
        Protocol::Raw => {
            let room = scenario.first_room + u32::from(seat.rooms[0]);
            path.replace("{room}", &room.to_string())
        }
        Protocol::Eio3 => format!("{path}?EIO=3&transport={transport}"),
        Protocol::Eio4 => format!("{path}?EIO=4&transport={transport}"),
    }
}

/// Reads by itself, for as long as the client is slow or has more than fits into a turn. A slow
/// reader takes a little every tenth of a second, whatever waits for it.
async fn read_apart(context: Rc<Context>, client: Rc<Client>) {
    while client.is_online() {
        match client.slow.get() {
            Some(bytes_per_s) => {
                monoio::time::sleep(Duration::from_millis(100)).await;
                let bytes = usize::try_from(bytes_per_s / 10).unwrap_or(READ_BYTES);
                if bytes > 0 && client.is_online() {
                    read(&context, &client, bytes.min(READ_BYTES), false);
                }
            }
            None => {
                // Whether the end was announced meanwhile is not known: read until nothing is left.
                if read(&context, &client, READ_BYTES, true) {
                    break;
                }
                monoio::time::sleep(Duration::ZERO).await;
            }
        }
    }
    client.is_read_apart.set(false);
}

/// Takes what is there: few large reads into the thread's one buffer, frames handled in place.
/// False: there may be more, and no edge will tell.
fn read(context: &Rc<Context>, client: &Rc<Client>, most: usize, to_the_end: bool) -> bool {
    let result = {
        let mut session = client.session.borrow_mut();
        let mut buffer = context.buffer.borrow_mut();
        let mut local = context.local.borrow_mut();
        let mut turn = Turn::new(&context.shared, &mut local, 0);
        drain(client.fd.get(), &mut session, &mut turn, &mut buffer, (most, to_the_end))
    };
    client.after_read(context);
    result.unwrap_or_else(|ended| {
        client.finish(ended);
        true
    })
}

/// True: nothing is left. Of a stream socket a short read took all there was; only an end that came
/// with the last bytes shows itself in one read more.
fn drain(
    fd: RawFd,
    session: &mut Session,
    turn: &mut Turn<'_>,
    buffer: &mut Vec<u8>,
    (most, to_the_end): (usize, bool),
) -> Result<bool, Ended> {
    for _ in 0..READS_PER_TURN {
        let kept = session.carry.len();
        if buffer.len() < kept + READ_BYTES {
            buffer.resize(kept + READ_BYTES, 0);
        }
        buffer[..kept].copy_from_slice(&session.carry);
        let room = most.min(READ_BYTES);
        let read = match recv(fd, &mut buffer[kept..kept + room], MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Err(Ended::Eof),
            Ok(read) => read,
            Err(Errno::EAGAIN) => return Ok(true),
            Err(Errno::EINTR) => continue,
            Err(_) => return Err(Ended::Reset),
        };
        turn.now_ns = now_ns();
        let counters = &mut turn.local.stats.counters;
        counters.reads += 1;
        counters.bytes_in += read as u64;
        let bytes = &buffer[..kept + read];
        let used = session.consume(turn, bytes)?;
        session.carry.clear();
        if used < bytes.len() {
            session.carry.extend_from_slice(&bytes[used..]);
        } else if session.carry.capacity() > 4096 {
            session.carry = Vec::new();
        }
        if most < READ_BYTES {
            return Ok(false);
        }
        if read < room && !to_the_end {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Closed loop: completed messages make place for the next.
pub fn refill(context: &Rc<Context>, session: &mut Session) {
    if !context.is_closed_loop_running() {
        return;
    }
    let outstanding = context.shared.scenario.load.outstanding;
    let in_flight = session.publisher.as_ref().map_or(outstanding, |p| p.in_flight());
    if in_flight < outstanding {
        let mut local = context.local.borrow_mut();
        let now_ns = now_ns();
        let mut turn = Turn::new(&context.shared, &mut local, now_ns);
        for _ in in_flight..outstanding {
            session.publish(&mut turn, now_ns);
        }
    }
}

/// A socket on its way to `target`, without waiting for it to arrive.
fn begin_connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM.nonblocking().cloexec(),
        Some(SocketProtocol::TCP),
    )?;
    if let Some(source) = source {
        // The port is chosen at connect, so that one port serves many destinations.
        nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::IpBindAddressNoPort,
            &true,
        )?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket.into()),
    }
}
