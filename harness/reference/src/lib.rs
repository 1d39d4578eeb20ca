//! A deliberately small server that conforms to the written protocol, or violates one chosen clause.
//!
//! Threads, blocking sockets, one lock around one world: correct by clarity. With a [`Defect`] it is
//! wrong in one known way, so that the harness can show that it notices.
//!
//! | module | what is in it |
//! |---|---|
//! | [`defect`] | the defects, each with the clause that it breaks |
//! | [`rule`] | one change of what enters or leaves the server |
//! | [`mutant`], [`fields`], [`rows`] | defects, rules and settings as mutants, and their tables |
//! | [`unbroken`] | clauses that no mutant can break, with the reason |
//! | [`options`] | limits and times |
//! | `world` | all state: sessions, users, rooms, messages, files |
//! | `engine`, `handshake`, `polling`, `upgrade`, `frames`, `http`, `rate` | connections |
//! | `packets` | Engine.IO packets to Socket.IO packets to events |
//! | `chat`, `messages`, `presence`, `unread` | the events of the chat |
//! | `rest`, `files` | the HTTP API and the images |
//!
//! It shares the codec (`throng-codec`) with the harness and nothing else; the codec is held to the
//! vectors of the protocol.
//!
//! ```
//! use throng_reference::{Options, Reference};
//!
//! let server = Reference::start(Options::default())?;
//! assert!(server.url().starts_with("http://127.0.0.1:"));
//! # std::io::Result::Ok(())
//! ```
#![forbid(unsafe_code)]

pub mod defect;
pub mod fields;
pub mod mutant;
pub mod options;
pub mod rows;
pub mod rule;
pub mod unbroken;

mod chat;
mod engine;
mod files;
mod frames;
mod handshake;
mod http;
mod messages;
mod packets;
mod polling;
mod presence;
mod rate;
mod rest;
mod shared;
mod unread;
mod upgrade;
mod world;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub use defect::Defect;
pub use mutant::Mutant;
pub use options::{EventRate, Limits, Options};
use shared::{Shared, lock};
use world::World;

/// A running reference server; it stops when dropped.
///
/// Its nodes are addresses of one world, so they always agree.
pub struct Reference {
    addrs: Vec<SocketAddr>,
    shared: Shared,
    stop: Arc<AtomicBool>,
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

    /// Ends the sessions of a node, for `down`. The node accepts new ones at once, so `up` has nothing
    /// to do.
    pub fn node_switch(&self) -> impl Fn(&str, usize) -> Result<(), String> + Send + Sync + use<> {
        let shared = self.shared.clone();
        move |what, node| {
            if what == "down" {
                lock(&shared).end_node(node);
            }
            Ok(())
        }
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
