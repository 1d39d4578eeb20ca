//! How many deliveries one thread of this machine can take, measured in a moment before the run: full
//! reads of messages of the run's size, from a loopback socket, through the same code as in the run.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::socket::{MsgFlags, recv};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tungstenite::handshake::derive_accept_key;

use crate::body;
use crate::clock::now_ns;
use crate::credentials::Credentials;
use crate::dialect::Dialect;
use crate::frame;
use crate::plan::Plan;
use crate::scenario::{Access, Protocol, Scenario};
use crate::session::{Local, Session, State, Turn};
use crate::shared::Shared;
use crate::stamp::Stamp;

/// How long one reading takes.
const TIME: Duration = Duration::from_millis(20);
const READINGS: usize = 5;
/// Messages that one read brings, fewer if that were more bytes than a socket holds.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 64 << 10;
const CLIENTS: usize = 32;
const PUBLISHERS: u16 = 8;
/// What a Socket.IO server sends around a message.
const ENVELOPE: usize = 150;

/// Deliveries per second and thread; handling them is counted, sending them is not.
pub struct Ceiling {
    /// The median of the readings.
    pub deliveries_per_s: f64,
    /// Half the range of the readings, as a share of their median.
    pub spread: f64,
}

/// # Errors
/// There is no loopback socket.
pub fn measure(scenario: &Scenario) -> anyhow::Result<Ceiling> {
    let shared = shared();
    let mut local = Local::default();
    let mut sessions = (0..CLIENTS)
        .map(|client| joined(&shared, &mut local, client))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let envelope = if scenario.protocol == Protocol::Raw { 0 } else { ENVELOPE };
    let mut rng = SmallRng::seed_from_u64(scenario.seed);
    let sizes: Vec<usize> = (0..BATCH)
        .map(|_| envelope + scenario.payload.sample(&mut rng).min(BATCH_BYTES))
        .scan(0, |sum, size| {
            *sum += size;
            Some((*sum, size))
        })
        .take_while(|(sum, size)| sum <= &BATCH_BYTES || sum == size)
        .map(|(_, size)| size)
        .collect();
    let (mut sender, receiver) = pair()?;
    let mut buffer = Vec::new();
    let (mut spent, mut next) = (Duration::ZERO, 0);
    let mut readings = Vec::new();
    let mut counted = 0;
    while readings.len() < READINGS {
        let bytes = batch(shared.run, next, envelope, &sizes);
        next += sizes.len() as u32;
        buffer.resize(bytes.len(), 0);
        for session in &mut sessions {
            sender.write_all(&bytes).context("write to the loopback socket")?;
            let start = Instant::now();
            let mut read = 0;
            while read < bytes.len() {
                let more = recv(receiver.as_raw_fd(), &mut buffer[read..], MsgFlags::empty())?;
                ensure!(more > 0, "the loopback socket ended");
                read += more;
            }
            let mut turn = Turn::new(&shared, &mut local, now_ns());
            let used = session.consume(&mut turn, &buffer);
            ensure!(used.is_ok_and(|used| used == bytes.len()), "deliveries of the own kind");
            spent += start.elapsed();
        }
        if spent >= TIME {
            let delivered = local.stats.counters.delivered;
            readings.push((delivered - counted) as f64 / spent.as_secs_f64());
            (counted, spent) = (delivered, Duration::ZERO);
        }
    }
    readings.sort_unstable_by(f64::total_cmp);
    let deliveries_per_s = readings[READINGS / 2];
    let spread = (readings[READINGS - 1] - readings[0]) / 2.0 / deliveries_per_s;
    Ok(Ceiling { deliveries_per_s, spread })
}

fn shared() -> Shared {
    let scenario = Scenario {
        protocol: Protocol::Raw,
        clients: CLIENTS,
        publishers: usize::from(PUBLISHERS),
        ..Scenario::default()
    };
    let plan = Plan::new(&scenario, usize::MAX);
    let credentials = Credentials::new(Vec::new(), Access::default(), "api_token");
    let shared = Shared::new(scenario, Vec::new(), plan, (Dialect::Raw, credentials), 1);
    shared.times.measure_ns.store(1, std::sync::atomic::Ordering::Relaxed);
    shared.times.end_ns.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
    shared
}

/// A client whose WebSocket is open.
fn joined(shared: &Shared, local: &mut Local, client: usize) -> anyhow::Result<Session> {
    let mut session = Session::new(shared, shared.plan.seats[client].clone());
    session.state = State::ExpectUpgrade;
    session.accept = derive_accept_key(b"k");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        session.accept
    );
    let mut turn = Turn::new(shared, local, now_ns());
    let used = session.consume(&mut turn, answer.as_bytes());
    ensure!(used.is_ok() && session.state == State::Joined, "a client that joins");
    Ok(session)
}

/// Messages from the `first` on, each within an envelope; publishers take turns.
fn batch(run: u16, first: u32, envelope: usize, sizes: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (k, size) in (first..).zip(sizes) {
        let (publisher, n) = ((k % u32::from(PUBLISHERS)) as u16, k / u32::from(PUBLISHERS));
        let mut payload = vec![b'.'; *size];
        let stamp = Stamp { run, room: 0, publisher, n, intended_ns: now_ns(), size: 0 };
        let at = envelope / 2;
        body::write(stamp, &mut payload[at..at + size - envelope]);
        frame::put_unmasked(&mut bytes, frame::TEXT, &payload);
    }
    bytes
}

/// Both ends of a connection, with buffers for a batch of the largest messages that are usual.
fn pair() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a loopback socket")?;
    let sender = TcpStream::connect(listener.local_addr()?).context("a loopback socket")?;
    let (receiver, _) = listener.accept()?;
    sender.set_nodelay(true)?;
    // A batch that does not fit would wait for a reader for ever.
    sender.set_write_timeout(Some(Duration::from_secs(1)))?;
    Ok((sender, receiver))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_messages_have_a_lower_ceiling() {
        let of = |bytes: &str| {
            let payload = bytes.parse().unwrap();
            let ceiling = measure(&Scenario { payload, ..Scenario::default() }).unwrap();
            assert!((0.0..10.0).contains(&ceiling.spread), "{}", ceiling.spread);
            ceiling.deliveries_per_s
        };
        let (small, large) = (of("64"), of("20000"));
        assert!(small > 1_000.0 && small > large, "{small} {large}");
    }
}
