//! The end of a connection that the server closes.
//!
//! A connection that is closed with unread bytes is reset, and the reset may overtake the answer: a client
//! that is still sending would see an error instead of the status. So the sending side is shut, and what
//! the client still sends is read and dropped, within bounds. Such a connection has given its permit back:
//! however many there are, they take no place from others. When there are too many, the oldest is
//! closed, because its client has had the most time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::counters::HttpCounters;
use super::places::{Place, Places};

/// Connections that linger at once; their descriptors are reserved (`lifetime`).
const LINGERING_MAX: usize = 1024;
/// How long one may.
const LINGER: Duration = Duration::from_secs(10);
/// Bytes that are dropped: enough for a client that sends a whole body before it reads.
const DROPPED_BYTES_MAX: usize = 16 << 20;

/// The connections that linger.
pub(super) struct Lingering {
    places: Places,
    counters: Arc<HttpCounters>,
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
    pub(super) fn new(counters: Arc<HttpCounters>) -> Lingering {
        Lingering { places: Places::new(LINGERING_MAX), counters }
    }

    /// Shuts the sending side, and closes the connection later.
    pub(super) fn begin(&self, stream: TcpStream) {
        let place = self.places.take();
        let counters = Arc::clone(&self.counters);
        counters.lingering.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            let ended = linger(stream, place).await;
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

async fn linger(mut stream: TcpStream, place: Place) -> End {
    if stream.shutdown().await.is_err() {
        return End::Client;
    }
    tokio::select! {
        end = drop_input(&stream) => end,
        () = place.lost() => End::Displaced,
        () = tokio::time::sleep(LINGER) => End::Time,
    }
}

/// Reads until the client closes, or has sent too much.
async fn drop_input(stream: &TcpStream) -> End {
    let mut dropped = 0;
    while dropped < DROPPED_BYTES_MAX {
        if stream.readable().await.is_err() {
            return End::Client;
        }
        // Not kept while the client is waited for.
        let mut buffer = [0; 16 * 1024];
        match stream.try_read(&mut buffer) {
            Ok(0) => return End::Client,
            Ok(count) => dropped += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return End::Client,
        }
    }
    End::Bytes
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

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
        let lingering = Lingering::new(Arc::clone(&counters));
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
        let lingering = Lingering::new(Arc::clone(&counters));
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
    async fn a_client_that_stays_is_closed_in_time() {
        let counters = Arc::new(HttpCounters::default());
        let lingering = Lingering::new(Arc::clone(&counters));
        let _client = answered(&lingering).await;
        tokio::time::sleep(LINGER - Duration::from_millis(100)).await;
        assert_eq!(counters.lingering.load(Relaxed), 1);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(counters.lingered_time.load(Relaxed), 1);
    }
}
