//! A relay before a server. It can forget its connections, as a NAT does: they stay open and carry nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

pub struct Relay {
    port: u16,
    accepted: Arc<AtomicUsize>,
    /// Connections with a lower number carry nothing.
    forgotten: Arc<AtomicUsize>,
}

impl Relay {
    /// Relays to a port of this machine, until the process ends.
    pub fn before(server: u16) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let relay = Relay { port, accepted: Arc::default(), forgotten: Arc::default() };
        let (accepted, forgotten) = (Arc::clone(&relay.accepted), Arc::clone(&relay.forgotten));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a connection");
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
                    continue;
                };
                let number = accepted.fetch_add(1, SeqCst);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let from = from.try_clone().expect("a descriptor");
                    let to = to.try_clone().expect("a descriptor");
                    let forgotten = Arc::clone(&forgotten);
                    thread::spawn(move || pass(from, to, || number < forgotten.load(SeqCst)));
                }
            }
        });
        relay
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Swallows from now on what the connections until now send, both ways.
    pub fn forget(&self) {
        self.forgotten.store(self.accepted.load(SeqCst), SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_forgotten: impl Fn() -> bool) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !is_forgotten() && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // The other side may be closed already.
    let _ = to.shutdown(Shutdown::Both);
}
