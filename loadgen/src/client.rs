//! One client's socket: reads whenever there is something, writes at once what fits.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use crate::clock::now_ns;
use crate::context::Context;
use crate::dialect::Dialect;
use crate::ended::Ended;
use crate::plan::Seat;
use crate::readiness::Ready;
use crate::session::{Session, State, Turn};
use crate::shared::Shared;
use crate::tls::Tls;

/// One read takes at most this much; a read is always offered this much space.
pub const READ_BYTES: usize = 256 << 10;
/// Reads per readiness before the other clients get their turn.
const READS_PER_TURN: usize = 16;

pub struct Client {
    pub session: RefCell<Session>,
    pub is_publisher: bool,
    fd: Cell<RawFd>,
    /// The WebSocket's TCP connection.
    stream: RefCell<Option<TcpStream>>,
    /// None: the connection is not sealed.
    tls: RefCell<Option<Tls>>,
    is_connecting: Cell<bool>,
    /// The socket is full; an edge announces when it is not.
    is_flushing: Cell<bool>,
    /// A task of its own reads: slowly, or what one turn did not finish.
    is_read_apart: Cell<bool>,
    /// How the connection ended, for the client's own task, which sleeps meanwhile.
    ended: RefCell<Option<Ended>>,
    sleeper: RefCell<Option<Waker>>,
    /// Why the attempt to reach the rooms is given up, for the client's own task.
    given_up: RefCell<Option<Ended>>,
    attempting: RefCell<Option<Waker>>,
    /// When to come back after the connection ended; `None`: stay away.
    pub comeback_ns: Cell<Option<u64>>,
    /// Slow reader: bytes per second it takes.
    pub slow: Cell<Option<u64>>,
    pub is_started: Cell<bool>,
    holds_slot: Cell<bool>,
    /// Long-polling: the task that POSTs, while it waits for something to send.
    poster: RefCell<Option<Waker>>,
}

impl Client {
    #[must_use]
    pub fn new(shared: &Shared, seat: Seat) -> Self {
        Self {
            is_publisher: seat.publisher.is_some(),
            session: RefCell::new(Session::new(shared, seat)),
            fd: Cell::new(-1),
            stream: RefCell::new(None),
            tls: RefCell::new(None),
            is_connecting: Cell::new(false),
            is_flushing: Cell::new(false),
            is_read_apart: Cell::new(false),
            ended: RefCell::new(None),
            sleeper: RefCell::new(None),
            given_up: RefCell::new(None),
            attempting: RefCell::new(None),
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

    /// Cuts the connection off without a close frame; the reading task notices.
    pub fn cut(&self) {
        self.shut(Shutdown::Both);
    }

    /// Ends the connection without a close frame. What the server has sent before it notices is read and
    /// counted.
    pub fn hang_up(&self) {
        self.shut(Shutdown::Write);
    }

    fn shut(&self, how: Shutdown) {
        if self.is_online() {
            // An error means that the peer was faster; the reading task sees that as well.
            let _ = shutdown(self.fd.get(), how);
        }
    }

    /// It hung up, is due to come back, and the server has not closed the connection yet.
    pub fn is_kept(&self, now_ns: u64) -> bool {
        self.is_online() && self.comeback_ns.get().is_some_and(|at_ns| at_ns <= now_ns)
    }

    /// Runs `attempt` until it ends or is given up.
    pub async fn unless_given_up<T>(
        &self,
        attempt: impl Future<Output = Result<T, Ended>>,
    ) -> Result<T, Ended> {
        let mut attempt = pin!(attempt);
        poll_fn(|task| {
            if let Some(ended) = self.given_up.borrow_mut().take() {
                return Poll::Ready(Err(ended));
            }
            let polled = attempt.as_mut().poll(task);
            if polled.is_pending() {
                *self.attempting.borrow_mut() = Some(task.waker().clone());
            }
            polled
        })
        .await
    }

    /// The server took too long; the client's own task ends its connection.
    pub fn give_up(&self, ended: Ended) {
        self.cut();
        *self.given_up.borrow_mut() = Some(ended);
        if let Some(attempting) = self.attempting.borrow_mut().take() {
            attempting.wake();
        }
    }

    /// What the server has to answer for the client to go on.
    pub fn awaited(&self, state: State, dialect: &Dialect) -> &'static str {
        match &*self.tls.borrow() {
            Some(tls) if tls.is_handshaking() => "the TLS handshake",
            _ if state == State::ExpectConnect => dialect.greeting(),
            _ => state.awaited(),
        }
    }

    /// Due to come, on its way, or back again in a moment: rosters cannot be at rest yet.
    pub fn is_awaited(&self) -> bool {
        self.comeback_ns.get().is_some() || self.session.borrow().is_arriving()
    }

    /// The client holds a handshake slot until it has joined or failed.
    pub fn take_slot(&self) {
        self.holds_slot.set(true);
    }

    fn release_slot(&self, context: &Context) {
        if self.holds_slot.replace(false) {
            context.slots.release();
        }
    }

    /// This descriptor is the client's connection; -1: there is none.
    pub fn attach(&self, fd: RawFd) {
        self.fd.set(fd);
    }

    /// The connection has ended.
    pub fn disconnect(&self, context: &Context) {
        self.given_up.take();
        self.is_connecting.set(false);
        self.release_slot(context);
        self.attach(-1);
        self.is_flushing.set(false);
        *self.poster.borrow_mut() = None;
        *self.stream.borrow_mut() = None;
        *self.tls.borrow_mut() = None;
    }

    /// A socket is about to connect and to be watched.
    pub fn expect_connection(&self) {
        self.ended.take();
        self.is_connecting.set(true);
    }

    /// Sends what is queued and sleeps until the connection over `stream` has ended.
    pub async fn talk(
        self: &Rc<Self>,
        context: &Rc<Context>,
        stream: TcpStream,
        tls: Option<Tls>,
    ) -> Ended {
        let is_sealed = tls.is_some();
        *self.tls.borrow_mut() = tls;
        self.attach(stream.as_raw_fd());
        *self.stream.borrow_mut() = Some(stream);
        self.flush(context, &mut self.session.borrow_mut());
        if is_sealed {
            // A server without TLS may have spoken first: the edge came with that of the connection.
            read(context, self, READ_BYTES, true);
        }
        self.ending().await
    }

    /// The connection is over; its own task wakes up to deal with it.
    fn finish(&self, ended: Ended) {
        self.attach(-1);
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
    pub async fn connected(&self) {
        poll_fn(|task| {
            if !self.is_connecting.get() {
                return Poll::Ready(());
            }
            *self.sleeper.borrow_mut() = Some(task.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The readiness set says that there is something to read, or space to write.
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
        if self.is_flushing.get() || !self.is_online() {
            return;
        }
        if session.is_polling {
            if session.out.is_empty() {
                return;
            }
            if let Some(poster) = self.poster.borrow_mut().take() {
                poster.wake();
            }
            return;
        }
        let mut tls = self.tls.borrow_mut();
        let out = match &mut *tls {
            None => &mut session.out,
            Some(tls) => tls.seal(&mut session.out),
        };
        if out.is_empty() {
            return;
        }
        let sent = match send(self.fd.get(), out, SEND) {
            Ok(sent) => sent,
            Err(Errno::EAGAIN) => 0,
            // The reading task meets the same error and reports it.
            Err(_) => out.len(),
        };
        context.local.borrow_mut().stats.counters.bytes_out += sent as u64;
        if sent == out.len() {
            out.clear();
        } else {
            out.drain(..sent);
            self.is_flushing.set(true);
        }
    }

    /// Long-polling: sleeps until something is queued, and takes it.
    pub async fn queued(&self) -> Vec<u8> {
        poll_fn(|task| {
            let queued = std::mem::take(&mut self.session.borrow_mut().out);
            if queued.is_empty() {
                *self.poster.borrow_mut() = Some(task.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(queued)
        })
        .await
    }
}

const SEND: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

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
/// False: there may be more, and no edge will announce it.
fn read(context: &Rc<Context>, client: &Rc<Client>, most: usize, to_the_end: bool) -> bool {
    let result = {
        let mut session = client.session.borrow_mut();
        let mut buffer = context.buffer.borrow_mut();
        let mut local = context.local.borrow_mut();
        let mut turn = Turn::new(&context.shared, &mut local, 0);
        let limits = (most, to_the_end);
        match &mut *client.tls.borrow_mut() {
            None => drain(client.fd.get(), &mut session, &mut turn, &mut buffer, limits),
            Some(tls) => {
                drain_sealed(client.fd.get(), &mut session, &mut turn, (&mut buffer, tls), limits)
            }
        }
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
        let offered = most.min(READ_BYTES);
        let read = match recv(fd, &mut buffer[kept..kept + offered], MsgFlags::MSG_DONTWAIT) {
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
        if read < offered && !to_the_end {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same for a connection whose bytes are sealed: they are opened behind the rest of the read before.
fn drain_sealed(
    fd: RawFd,
    session: &mut Session,
    turn: &mut Turn<'_>,
    (buffer, tls): (&mut Vec<u8>, &mut Tls),
    (most, to_the_end): (usize, bool),
) -> Result<bool, Ended> {
    if buffer.len() < READ_BYTES {
        buffer.resize(READ_BYTES, 0);
    }
    for _ in 0..READS_PER_TURN {
        let offered = most.min(READ_BYTES);
        let read = match recv(fd, &mut buffer[..offered], MsgFlags::MSG_DONTWAIT) {
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
        let mut opened = std::mem::take(&mut turn.local.opened);
        opened.clear();
        opened.append(&mut session.carry);
        let is_over = tls.open(&buffer[..read], &mut opened)?;
        let used = session.consume(turn, &opened)?;
        session.carry = opened[used..].to_vec();
        turn.local.opened = opened;
        if is_over {
            return Err(Ended::Eof);
        }
        if most < READ_BYTES {
            return Ok(false);
        }
        if read < offered && !to_the_end {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Closed loop: a completed message makes space for the next.
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
