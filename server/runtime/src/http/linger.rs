//! The end of a connection that the server closes.
//!
//! A connection that is closed with unread bytes is reset, and the reset may overtake the answer: a client
//! that is still sending would see an error instead of the status. So the sending side is shut, and what
//! the client still sends is read and dropped, within bounds. Such a connection has given its permit back:
//! however many there are, they take no place from others. When there are too many, the oldest is
//! closed, because its client has had the most time.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use throng_engine::{Bucket, Now, Rate};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::counters::HttpCounters;
use super::places::{Place, Places};

/// How long one may.
const LINGER: Duration = Duration::from_secs(10);
/// Bytes that are dropped: enough for a client that sends a whole body before it reads.
const DROPPED_BYTES_MAX: usize = 16 << 20;
/// KiB that are dropped in a second, and at once, of all of them: who floods the server does not make it read that.
const DROPPED_KIB_PER_S: u32 = 32 << 10;
const DROPPED_KIB_BURST: u32 = 32 << 10;

/// The connections that linger.
pub(super) struct Lingering {
    places: Places,
    dropping: Arc<Dropping>,
    counters: Arc<HttpCounters>,
}

/// How fast input is dropped.
struct Dropping {
    rate: Rate,
    begun: Instant,
    dropped: Mutex<Bucket>,
}

/// What ended the wait.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Client,
    Bytes,
    Time,
    Displaced,
}

impl Lingering {
    /// `most`: connections that may linger at once; there are descriptors for them.
    pub(super) fn new(most: u32, counters: Arc<HttpCounters>) -> Lingering {
        Lingering {
            places: Places::new(most as usize),
            dropping: Arc::new(Dropping::new()),
            counters,
        }
    }

    /// Shuts the sending side, and closes the connection later.
    pub(super) fn begin(&self, stream: TcpStream) {
        let place = self.places.take();
        let (counters, dropping) = (Arc::clone(&self.counters), Arc::clone(&self.dropping));
        counters.lingering.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            let ended = linger(stream, place, &dropping).await;
            counters.lingering.fetch_sub(1, Relaxed);
            let counter = match ended {
                End::Client => &counters.lingered_client,
                End::Bytes => &counters.lingered_bytes,
                End::Time => &counters.lingered_time,
                End::Displaced => &counters.lingered_displaced,
            };
            counter.fetch_add(1, Relaxed);
        });
    }
}

impl Dropping {
    fn new() -> Dropping {
        let rate = Rate::per_second(DROPPED_KIB_PER_S, DROPPED_KIB_BURST).expect("a limit");
        Dropping { rate, begun: Instant::now(), dropped: Mutex::default() }
    }

    /// Completes when so many bytes may have been dropped.
    async fn pay(&self, bytes: usize) {
        let wait = self.charge(bytes);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    fn charge(&self, bytes: usize) -> Duration {
        let now = Now(u64::try_from(self.begun.elapsed().as_nanos()).expect("some centuries"));
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.charge(&self.rate, now, bytes.div_ceil(1024) as u64);
        Duration::from_nanos(dropped.open_at(&self.rate).since(now))
    }
}

async fn linger(mut stream: TcpStream, place: Place, dropping: &Dropping) -> End {
    if stream.shutdown().await.is_err() {
        return End::Client;
    }
    tokio::select! {
        end = drop_input(&stream, dropping) => end,
        () = place.lost() => End::Displaced,
        () = sleep(LINGER) => End::Time,
    }
}

/// Reads until the client closes, or has sent too much.
async fn drop_input(stream: &TcpStream, dropping: &Dropping) -> End {
    let mut dropped = 0;
    while dropped < DROPPED_BYTES_MAX {
        if stream.readable().await.is_err() {
            return End::Client;
        }
        match read(stream) {
            Ok(0) => return End::Client,
            Ok(count) => {
                dropped += count;
                dropping.pay(count).await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return End::Client,
        }
    }
    End::Bytes
}

/// The buffer is not kept while the client is waited for.
fn read(stream: &TcpStream) -> io::Result<usize> {
    stream.try_read(&mut [0; 16 * 1024])
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("it listens"), accepted.expect("it connects").0)
    }

    /// An answer, with the connection lingering behind it.
    async fn answered(lingering: &Lingering) -> TcpStream {
        let (client, mut server) = pair().await;
        server.write_all(b"413").await.expect("it is open");
        lingering.begin(server);
        client
    }

    async fn counted(counter: impl Fn(&HttpCounters) -> u64, counters: &HttpCounters, count: u64) {
        while counter(counters) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(counter(counters), count);
    }

    #[tokio::test]
    async fn a_client_that_goes_on_sending_reads_its_answer() {
        let counters = Arc::new(HttpCounters::default());
        let lingering = Lingering::new(1024, Arc::clone(&counters));
        let mut client = answered(&lingering).await;
        let body = vec![b'x'; 8 << 20];
        client.write_all(&body).await.expect("it is dropped, not refused");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("it was not reset");
        assert_eq!(answer, b"413");
        drop(client);
        counted(|it| it.lingered_client.load(Relaxed), &counters, 1).await;
        assert_eq!(counters.lingering.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_dropped_is_bounded() {
        let counters = Arc::new(HttpCounters::default());
        let lingering = Lingering::new(1024, Arc::clone(&counters));
        let mut client = answered(&lingering).await;
        let body = vec![b'x'; 1 << 20];
        let mut sent = 0;
        while client.write_all(&body).await.is_ok() {
            sent += body.len();
            assert!(sent < DROPPED_BYTES_MAX * 4, "it is read for ever");
        }
        assert!(sent >= DROPPED_BYTES_MAX - body.len());
        counted(|it| it.lingered_bytes.load(Relaxed), &counters, 1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_all_together_send_is_dropped_at_a_rate() {
        const CLIENTS: usize = 32;
        let dropping = Arc::new(Dropping::new());
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let dropping = Arc::clone(&dropping);
            clients.spawn(async move {
                for _ in 0..DROPPED_BYTES_MAX / (16 * 1024) {
                    dropping.pay(16 * 1024).await;
                }
            });
        }
        clients.join_all().await;
        // The first second is free.
        let seconds = CLIENTS * DROPPED_BYTES_MAX / (DROPPED_KIB_PER_S as usize * 1024) - 1;
        let took = begun.elapsed().as_secs_f64();
        assert!((took - seconds as f64).abs() < 0.1, "{took} s, not {seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_is_closed_in_time() {
        let counters = Arc::new(HttpCounters::default());
        let lingering = Lingering::new(1024, Arc::clone(&counters));
        let _client = answered(&lingering).await;
        tokio::time::sleep(LINGER - Duration::from_millis(100)).await;
        assert_eq!(counters.lingering.load(Relaxed), 1);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(counters.lingered_time.load(Relaxed), 1);
    }
}
