//! A deliberately small server that keeps the written protocol: threads, blocking sockets, one
//! lock around one world. It is correct by clarity, and it can be told to be wrong in one of many
//! ways (see [`defect`]), so that the harness can show that it would notice.
//!
//! It shares the harness's codec and nothing else; the codec is held to the protocol's vectors.

pub mod defect;

mod chat;
mod engine;
mod files;
mod frames;
mod http;
mod messages;
mod packets;
mod polling;
mod presence;
mod rest;
mod unread;
mod upgrade;
mod world;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::context::NodeSwitch;
use defect::Defect;
use world::World;

#[derive(Clone, Debug)]
pub struct Options {
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub connect_timeout: Duration,
    pub upgrade_timeout: Duration,
    pub max_payload: usize,
    pub unread_window: Duration,
    pub message_chars_max: usize,
    pub attachments_max: u64,
    pub image_bytes_max: usize,
    pub rooms_per_session_max: usize,
    pub defect: Option<Defect>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ping_interval: Duration::from_millis(1_000),
            ping_timeout: Duration::from_millis(2_000),
            connect_timeout: Duration::from_millis(3_000),
            upgrade_timeout: Duration::from_millis(3_000),
            max_payload: 1_000_000,
            unread_window: Duration::from_millis(200),
            message_chars_max: 2_000,
            attachments_max: 10,
            image_bytes_max: 700_000,
            rooms_per_session_max: 32,
            defect: None,
        }
    }
}

/// A running reference server; it stops when dropped.
///
/// Its nodes are addresses of one world: what real nodes have to bring about, it has by nature.
pub struct Reference {
    addrs: Vec<SocketAddr>,
    shared: Shared,
    stop: Arc<AtomicBool>,
}

/// The world as one node shows it.
#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    node: usize,
}

fn lock(shared: &Shared) -> MutexGuard<'_, World> {
    match shared.world.lock() {
        Ok(guard) => guard,
        // A thread that panicked took its connection with it; the others go on.
        Err(poisoned) => poisoned.into_inner(),
    }
}

impl Reference {
    pub fn start(options: Options) -> io::Result<Reference> {
        Reference::start_at(&["127.0.0.1:0"], options)
    }

    /// One node per address.
    pub fn start_at<A: ToSocketAddrs>(listen: &[A], options: Options) -> io::Result<Reference> {
        let listeners = listen.iter().map(TcpListener::bind).collect::<io::Result<Vec<_>>>()?;
        let addrs = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let world = Arc::new(Mutex::new(World::new(options)));
        let (clock, clock_stop) = (Shared { world: world.clone(), node: 0 }, stop.clone());
        thread::spawn(move || {
            while !clock_stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
                lock(&clock).tick(Instant::now());
            }
        });
        let shared = Shared { world: world.clone(), node: 0 };
        for (node, listener) in listeners.into_iter().enumerate() {
            let (shared, stop) = (Shared { world: world.clone(), node }, stop.clone());
            thread::spawn(move || accept(&listener, &shared, &stop));
        }
        Ok(Reference { addrs, shared, stop })
    }

    /// Cuts off the sessions of a node. Whoever calls it again is served again.
    pub fn node_switch(&self) -> NodeSwitch {
        let shared = self.shared.clone();
        Box::new(move |what, node| {
            if what == "down" {
                lock(&shared).end_node(node);
            }
            Ok(())
        })
    }

    /// Of the first node.
    pub fn url(&self) -> String {
        format!("http://{}", self.addrs[0])
    }

    pub fn urls(&self) -> Vec<String> {
        self.addrs.iter().map(|addr| format!("http://{addr}")).collect()
    }
}

fn accept(listener: &TcpListener, shared: &Shared, stop: &AtomicBool) {
    for stream in listener.incoming() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        thread::spawn(move || serve(&shared, stream));
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // One last connection wakes each accepting thread, so that it sees the flag.
        for addr in &self.addrs {
            let _ = TcpStream::connect(addr);
        }
    }
}

fn serve(world: &Shared, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    // A failed connection is its client's problem; sessions learn of it where it matters.
    let _ = engine::serve_connection(world, stream);
}
