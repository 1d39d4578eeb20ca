//! Bodies that arrive piece by piece, on a clock that stands still.

use std::convert::Infallible;
use std::net::IpAddr;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, yield_now};

use super::*;

const MIB: usize = 1 << 20;
const MOST: usize = 4 * MIB;

/// 1 MiB for strangers, 1 MiB for a user, 2 MiB for all users.
fn bodies() -> Arc<Bodies> {
    let settings = Settings {
        uploads_mib_per_user_max: 1,
        uploads_mib_max: 2,
        uploads_mib_anonymous_max: 1,
        ..Settings::default()
    };
    Bodies::new(&settings, Arc::default())
}

fn stranger(n: u32) -> Owner {
    Owner::Stranger(IpAddr::from(n.to_be_bytes()).into())
}

/// What comes of a body, and what was made of it.
struct Client {
    pieces: Option<UnboundedSender<Bytes>>,
    receiving: JoinHandle<Result<usize, Refusal>>,
}

struct Pieces(UnboundedReceiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl Client {
    /// A body whose user becomes known as soon as something has come, if there is one.
    fn begin(bodies: &Arc<Bodies>, owner: Owner, then: Option<u32>) -> Client {
        let (pieces, receiver) = unbounded_channel();
        let arriving = bodies.begin(owner, MOST);
        let receiving = tokio::spawn(async move {
            let mut body = arriving.meter(RequestBody::new(Pieces(receiver)))?;
            let mut bytes = 0;
            let receiving = async {
                while let Some(frame) =
                    std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
                {
                    bytes += frame.expect("no piece fails").data_ref().map_or(0, Bytes::len);
                    if let Some(user) = then {
                        arriving.is_of(user);
                    }
                }
                Ok(bytes)
            };
            arriving.read(receiving).await
        });
        Client { pieces: Some(pieces), receiving }
    }

    async fn send(&self, bytes: usize) {
        if let Some(pieces) = &self.pieces {
            // One that was given up takes no more.
            let _ = pieces.send(vec![b'x'; bytes].into());
        }
        settle().await;
    }

    async fn end(mut self) -> Result<usize, u16> {
        self.pieces = None;
        self.outcome().await
    }

    async fn outcome(self) -> Result<usize, u16> {
        use axum::response::IntoResponse;
        let outcome = self.receiving.await.expect("it does not panic");
        outcome.map_err(|refusal| refusal.into_response().status().as_u16())
    }

    fn is_waiting(&self) -> bool {
        !self.receiving.is_finished()
    }
}

async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

fn held(bodies: &Bodies) -> (u64, u64) {
    let table = bodies.lock();
    let of = |is_user: fn(&Owner) -> bool| {
        table.bodies.values().filter(|it| is_user(&it.owner)).map(|it| it.held).sum::<u64>()
    };
    let users = of(|owner| matches!(owner, Owner::User(_)));
    let strangers = of(|owner| matches!(owner, Owner::Stranger(_)));
    assert_eq!((table.users, table.strangers), (users, strangers), "sums are kept");
    assert_eq!(table.owners.values().sum::<u64>(), users + strangers);
    assert_eq!(bodies.counters.bodies_bytes.load(Relaxed), users + strangers);
    assert_eq!(bodies.counters.bodies.load(Relaxed), table.bodies.len() as u64);
    (users, strangers)
}

#[tokio::test(start_paused = true)]
async fn a_body_has_a_least_rate() {
    for first in [0, 1] {
        let bodies = bodies();
        let client = Client::begin(&bodies, Owner::User(1), None);
        if first > 0 {
            client.send(first).await;
        }
        tokio::time::sleep(Duration::from_millis(9_990)).await;
        settle().await;
        assert!(client.is_waiting());
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(client.outcome().await, Err(408));
        assert_eq!(bodies.counters.bodies_too_slow.load(Relaxed), 1);
        assert_eq!(held(&bodies), (0, 0));
    }
    // 8 KiB are two more seconds.
    let bodies = bodies();
    let client = Client::begin(&bodies, stranger(1), None);
    client.send(8192).await;
    tokio::time::sleep(Duration::from_millis(11_990)).await;
    settle().await;
    assert!(client.is_waiting());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(client.outcome().await, Err(408));
    // Who keeps to the rate is waited for.
    let client = Client::begin(&bodies, Owner::User(1), None);
    for _ in 0..60 {
        client.send(4_100).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.end().await, Ok(60 * 4_100));
}

#[tokio::test]
async fn a_body_may_be_as_large_as_its_bound_and_no_larger() {
    let bodies = bodies();
    let exact = bodies.begin(stranger(1), 1000);
    let read = exact.read(async {
        let body = exact.meter(RequestBody::from(vec![b'x'; 1000]))?;
        axum::body::to_bytes(body, usize::MAX).await.map_err(|_| Refusal::BadBody)
    });
    assert_eq!(read.await.map(|bytes| bytes.len()).ok(), Some(1000));
    let announced = exact.meter(RequestBody::from(vec![b'x'; 1001]));
    assert!(matches!(announced, Err(Refusal::TooLarge)), "before a byte of it is read");
    // As it arrives.
    let settings =
        Settings { uploads_mib_per_user_max: 8, uploads_mib_max: 8, ..Settings::default() };
    let bodies = Bodies::new(&settings, Arc::default());
    let [fits, too_large] = [(); 2].map(|()| Client::begin(&bodies, Owner::User(1), None));
    fits.send(MOST).await;
    assert_eq!(fits.end().await, Ok(MOST));
    too_large.send(MOST).await;
    assert!(too_large.is_waiting());
    too_large.send(1).await;
    assert_eq!(too_large.outcome().await, Err(413));
}

#[tokio::test]
async fn a_user_has_so_much_under_way_and_not_a_byte_more() {
    let bodies = bodies();
    let share = MIB / 2 - BODY_BYTES as usize;
    let first = Client::begin(&bodies, Owner::User(1), None);
    let second = Client::begin(&bodies, Owner::User(1), None);
    first.send(share).await;
    second.send(share).await;
    assert_eq!(held(&bodies), (MIB as u64, 0));
    assert!(first.is_waiting() && second.is_waiting(), "as much as is allowed");
    let other = Client::begin(&bodies, Owner::User(2), None);
    second.send(1).await;
    assert_eq!(second.outcome().await, Err(429));
    assert!(first.is_waiting() && other.is_waiting(), "the one that was too much is refused");
    assert_eq!(bodies.counters.bodies_of_user.load(Relaxed), 1);
    // What it had is free again.
    first.send(share).await;
    assert_eq!(first.end().await, Ok(2 * share));
    assert_eq!(other.end().await, Ok(0));
    assert_eq!(held(&bodies), (0, 0));
}

#[tokio::test]
async fn of_all_users_those_who_hold_most_are_refused() {
    let bodies = bodies();
    let small = Client::begin(&bodies, Owner::User(1), None);
    small.send(60_000).await;
    let large = Client::begin(&bodies, Owner::User(2), None);
    large.send(990_000).await;
    let next = Client::begin(&bodies, Owner::User(3), None);
    next.send(890_000).await;
    assert!(large.is_waiting(), "2 MiB are not reached");
    next.send(110_000).await;
    assert_eq!(next.outcome().await, Err(503), "it holds most by now");
    assert!(large.is_waiting() && small.is_waiting());
    assert_eq!(bodies.counters.bodies_of_users.load(Relaxed), 1);
    assert_eq!(large.end().await, Ok(990_000));
    assert_eq!(small.end().await, Ok(60_000));
}

#[tokio::test]
async fn what_strangers_hold_is_not_what_a_user_needs() {
    let bodies = bodies();
    let user = Client::begin(&bodies, Owner::User(1), None);
    user.send(600_000).await;
    let honest = Client::begin(&bodies, stranger(1), None);
    honest.send(9_000).await;
    // One address with many bodies, each smaller than that.
    let many: Vec<Client> = (0..300).map(|_| Client::begin(&bodies, stranger(2), None)).collect();
    for client in &many {
        client.send(8_000).await;
        let (users, strangers) = held(&bodies);
        assert!(strangers <= MIB as u64, "{strangers} bytes are held");
        assert!(users >= 600_000);
    }
    assert!(honest.is_waiting(), "who holds little is not refused");
    honest.send(200_000).await;
    assert_eq!(honest.end().await, Ok(209_000));
    user.send(400_000).await;
    assert_eq!(user.end().await, Ok(1_000_000));
    let mut refused = 0;
    for client in many {
        refused += u32::from(client.end().await == Err(503));
    }
    assert!((270..=290).contains(&refused), "{refused}");
    assert_eq!(u64::from(refused), bodies.counters.bodies_of_strangers.load(Relaxed));
    assert_eq!(held(&bodies), (0, 0));
}

#[tokio::test]
async fn a_body_is_its_users_as_soon_as_they_are_known() {
    let bodies = bodies();
    let client = Client::begin(&bodies, stranger(1), Some(7));
    assert_eq!(held(&bodies), (0, BODY_BYTES));
    client.send(1_000_000).await;
    assert_eq!(held(&bodies), (1_000_000 + BODY_BYTES, 0));
    // Their own bound holds for it from then on.
    let second = Client::begin(&bodies, stranger(1), Some(7));
    second.send(100_000).await;
    assert_eq!(second.outcome().await, Err(429));
    assert_eq!(client.end().await, Ok(1_000_000));
}

#[tokio::test]
async fn a_body_that_is_whole_is_its_handlers_and_counts_until_it_is_dropped() {
    let bodies = bodies();
    let whole = bodies.begin(stranger(1), MOST);
    let body = whole.meter(RequestBody::from(vec![b'x'; 900_000])).expect("it is not too large");
    let receiving =
        async { axum::body::to_bytes(body, usize::MAX).await.map_err(|_| Refusal::BadBody) };
    assert_eq!(whole.read(receiving).await.expect("it is read").len(), 900_000);
    let next = Client::begin(&bodies, stranger(2), None);
    next.send(200_000).await;
    assert_eq!(next.outcome().await, Err(503), "what is being stored is not given up");
    assert_eq!(held(&bodies), (0, 900_000 + BODY_BYTES));
    drop(whole);
    assert_eq!(held(&bodies), (0, 0));
}

#[tokio::test]
async fn many_small_pieces_cost_more_than_their_bytes() {
    let bodies = bodies();
    let client = Client::begin(&bodies, Owner::User(1), None);
    let fit = (MIB as u64 - BODY_BYTES) / PIECE_BYTES;
    for _ in 0..fit {
        client.send(1).await;
    }
    assert!(client.is_waiting());
    client.send(1).await;
    assert_eq!(client.outcome().await, Err(429));
}

/// A field of a form that never ends is looked at from its beginning with each piece.
#[tokio::test]
async fn small_pieces_are_handed_on_together() {
    let settings = Settings { uploads_mib_per_user_max: 64, ..Settings::default() };
    let bodies = Bodies::new(&settings, Arc::default());
    let (sender, receiver) = unbounded_channel();
    const PIECES: usize = 200_000;
    for n in 0..PIECES {
        sender.send(vec![n as u8].into()).expect("it is read");
    }
    drop(sender);
    let arriving = bodies.begin(Owner::User(1), MOST);
    let mut body = arriving.meter(RequestBody::new(Pieces(receiver))).expect("none is announced");
    let (mut handed_on, mut looked_at, mut all) = (0, 0, Vec::new());
    let receiving = async {
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
        {
            let frame = frame.expect("no piece fails");
            all.extend_from_slice(frame.data_ref().expect("only data"));
            handed_on += 1;
            looked_at += all.len();
        }
        Ok(())
    };
    arriving.read(receiving).await.expect("it is read");
    assert!(all.iter().enumerate().all(|(n, byte)| *byte == n as u8), "in order");
    assert_eq!(all.len(), PIECES);
    assert!(handed_on < 70, "{handed_on}");
    assert!(looked_at < 7 * PIECES, "{looked_at}");
}

#[tokio::test]
async fn a_client_that_gives_up_holds_nothing() {
    let bodies = bodies();
    let client = Client::begin(&bodies, stranger(1), None);
    client.send(500_000).await;
    client.receiving.abort();
    settle().await;
    assert_eq!(held(&bodies), (0, 0));
}
