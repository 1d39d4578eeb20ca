//! How fast requests are served that no session answers for.
//!
//! Each client has a rate. What comes faster is served later, and the connection that it came on is not read
//! meanwhile: requests that were sent ahead wait with their sender. What would wait too long is refused.
//!
//! Spec: LIM-89.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use throng_engine::{Bucket, Now, Rate};
use throng_wire::http::{Client, ClientKey};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::counters::HttpCounters;

/// A client may begin with as many requests as the rate allows in so many seconds.
const BURST_S: u32 = 4;
/// A request that would wait longer is refused: each that waits costs the memory of its connection.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Requests of all clients that wait at once.
const WAITING_MAX: usize = 1024;
/// After so many requests that waited, a connection is closed, with what was sent ahead on it.
const DELAYS_MAX: u32 = 2;
/// Requests between two removals of clients who have their whole burst again.
const SWEEP_EVERY: usize = 1024;

pub(super) struct Throttle {
    /// `None` is no limit.
    rate: Option<Rate>,
    begun: Instant,
    clients: Mutex<Clients>,
    counters: Arc<HttpCounters>,
}

/// A request is refused: for so long it would not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany(pub(super) Duration);

/// The requests of one connection that had to wait.
#[derive(Clone, Default)]
pub(super) struct Delays(Arc<AtomicU32>);

impl Delays {
    /// A client that sends ahead and goes away would be answered for hours.
    pub(super) fn are_too_many(&self) -> bool {
        self.0.load(Relaxed) >= DELAYS_MAX
    }
}

#[derive(Default)]
struct Clients {
    buckets: HashMap<ClientKey, Bucket>,
    taken: usize,
    waiting: usize,
}

/// A request that waits.
struct Waiting<'a>(&'a Throttle);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.clients().waiting -= 1;
    }
}

impl Throttle {
    pub(super) fn new(per_s: u32, counters: Arc<HttpCounters>) -> Throttle {
        Throttle {
            rate: Rate::per_second(per_s, BURST_S.saturating_mul(per_s)),
            begun: Instant::now(),
            clients: Mutex::default(),
            counters,
        }
    }

    /// Completes when a request may be served. Requests that were sent ahead are served one for each time that their
    /// connection is polled.
    pub(super) async fn admit(&self, client: &Client, delays: &Delays) -> Result<(), TooMany> {
        self.pay(client, delays).await?;
        yield_now().await;
        Ok(())
    }

    /// Completes when a request is paid for that was served before it was known to be a stranger's.
    pub(super) async fn pay(&self, client: &Client, delays: &Delays) -> Result<(), TooMany> {
        // The client of a proxy that names none may be anybody.
        let Some(rate) = self.rate.filter(|_| !client.is_proxy) else { return Ok(()) };
        let wait = self.take(&rate, client.ip.into())?;
        if !wait.is_zero() {
            let _waiting = Waiting(self);
            self.counters.requests_delayed.fetch_add(1, Relaxed);
            sleep(wait).await;
            // Not set back: at its rate a client is late by turns.
            delays.0.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a request has to wait. One that has to is counted until it is [`Waiting`] no more.
    fn take(&self, rate: &Rate, client: ClientKey) -> Result<Duration, TooMany> {
        let now = Now(u64::try_from(self.begun.elapsed().as_nanos()).expect("some centuries"));
        let mut clients = self.clients();
        clients.taken += 1;
        if clients.taken.is_multiple_of(SWEEP_EVERY) {
            clients.buckets.retain(|_, bucket| bucket.full_at() > now);
        }
        let mut next = clients.buckets.get(&client).copied().unwrap_or_default();
        next.charge(rate, now, 1);
        let wait = Duration::from_nanos(next.open_at(rate).since(now));
        let is_waiting = !wait.is_zero();
        let most = if clients.waiting < WAITING_MAX { WAIT_MAX } else { Duration::ZERO };
        if wait > most {
            self.counters.requests_refused.fetch_add(1, Relaxed);
            return Err(TooMany(wait - most));
        }
        clients.waiting += usize::from(is_waiting);
        clients.buckets.insert(client, next);
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const PER_S: u32 = 100;
    const BURST: usize = 400;

    fn client(ip: &str) -> Client {
        Client { ip: ip.parse::<IpAddr>().expect("an address"), is_proxy: false, is_https: false }
    }

    fn rate() -> Rate {
        Rate::per_second(PER_S, BURST as u32).expect("a limit")
    }

    fn throttle(per_s: u32) -> Throttle {
        Throttle::new(per_s, Arc::default())
    }

    /// Requests that are served within a time, of a client that sends the next as soon as one is.
    async fn served(throttle: &Throttle, client: &Client, within: Duration) -> usize {
        let begun = Instant::now();
        let mut count = 0;
        while begun.elapsed() <= within {
            throttle
                .admit(client, &Delays::default())
                .await
                .expect("one at a time is never refused");
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_served_its_burst_and_then_its_rate() {
        let throttle = throttle(PER_S);
        let one = client("192.0.2.1");
        let count = served(&throttle, &one, Duration::from_secs(10)).await;
        assert!((BURST + 1000..BURST + 1010).contains(&count), "{count}");
        assert!(throttle.counters.requests_delayed.load(Relaxed) >= 1000);
        let other = client("192.0.2.2");
        let begun = Instant::now();
        for _ in 0..BURST {
            throttle.admit(&other, &Delays::default()).await.expect("within the burst");
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "another client has a rate of its own");
        assert_eq!(throttle.counters.requests_refused.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_wait_too_long_is_refused_and_takes_nothing() {
        let throttle = throttle(PER_S);
        let one = client("2001:db8::1");
        let waiting = BURST + 2 * PER_S as usize;
        for _ in 0..waiting {
            throttle.take(&rate(), one.ip.into()).expect("it waits two seconds at most");
        }
        for _ in 0..5000 {
            // Another address of the same subscriber.
            let refused = throttle.pay(&client("2001:db8::2"), &Delays::default()).await;
            assert_eq!(refused, Err(TooMany(Duration::from_millis(10))));
        }
        assert_eq!(throttle.counters.requests_refused.load(Relaxed), 5000);
        sleep(Duration::from_millis(10)).await;
        throttle.pay(&one, &Delays::default()).await.expect("the time has passed");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_all_clients_that_wait_are_bounded() {
        let throttle = Arc::new(throttle(PER_S));
        let mut waiting = Vec::new();
        for n in 0..=WAITING_MAX / 200 {
            let one = client(&format!("192.0.2.{n}"));
            for _ in 0..BURST {
                throttle.pay(&one, &Delays::default()).await.expect("within the burst");
            }
            for _ in 0..200 {
                let (throttle, one) = (Arc::clone(&throttle), one);
                waiting.push(tokio::spawn(async move {
                    throttle.pay(&one, &Delays::default()).await.is_ok()
                }));
            }
        }
        let settle = async |most: usize| {
            for _ in 0..WAITING_MAX {
                if throttle.clients().waiting == most {
                    return;
                }
                yield_now().await;
            }
            panic!("{} wait, not {most}", throttle.clients().waiting);
        };
        settle(WAITING_MAX).await;
        let another = client("192.0.2.200");
        for _ in 0..BURST {
            throttle.pay(&another, &Delays::default()).await.expect("within the burst");
        }
        let refused = throttle.pay(&another, &Delays::default()).await;
        assert_eq!(refused, Err(TooMany(Duration::from_millis(10))), "it would have to wait");
        // Those who go away wait no more.
        waiting.iter().take(100).for_each(|request| request.abort());
        settle(WAITING_MAX - 100).await;
        throttle.pay(&another, &Delays::default()).await.expect("there is a place");
        let mut served = 0;
        for request in waiting.into_iter().skip(100) {
            served += usize::from(request.await.expect("it was not aborted"));
        }
        assert_eq!((served, throttle.clients().waiting), (WAITING_MAX - 100, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_forgotten_when_they_have_their_burst_again() {
        let throttle = throttle(PER_S);
        let key = |n: u32| ClientKey::from(IpAddr::from(n.to_be_bytes()));
        for n in 0..100_000 {
            throttle.take(&rate(), key(n)).expect("the first");
            if n % 64 == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        }
        let kept = throttle.clients.lock().expect("nobody panics").buckets.len();
        assert!(kept <= SWEEP_EVERY + 64, "{kept}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_names_no_client_has_no_rate() {
        let throttle = throttle(1);
        let proxy = Client { is_proxy: true, ..client("10.0.0.1") };
        for _ in 0..1000 {
            throttle.admit(&proxy, &Delays::default()).await.expect("it may be anybody");
        }
    }
}
