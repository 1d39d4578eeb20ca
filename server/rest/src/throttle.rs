//! Rate limit of the API per client address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::{PeerAddr, Settings, answer};

type Limiter =
    RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// Checks between two removals of idle addresses.
const SWEEP_EVERY: u32 = 1024;

pub(crate) struct Throttle {
    limiter: Limiter,
    clock: DefaultClock,
    per_minute: u32,
    trusted_proxies: Vec<IpAddr>,
    checks: AtomicU32,
}

impl Throttle {
    /// `None` if the settings have no limit.
    pub fn new(settings: &Settings) -> Option<Self> {
        let per_minute = NonZeroU32::new(settings.api_per_minute)?;
        Some(Self {
            limiter: RateLimiter::keyed(Quota::per_minute(per_minute))
                .with_middleware::<StateInformationMiddleware>(),
            clock: DefaultClock::default(),
            per_minute: per_minute.get(),
            trusted_proxies: settings.trusted_proxies.clone(),
            checks: AtomicU32::new(0),
        })
    }

    /// How many further requests this client may make now, or how long it has to wait.
    fn take(&self, client: IpAddr) -> Result<u32, Duration> {
        if self.checks.fetch_add(1, Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(&client) {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(refused) => Err(refused.wait_time_from(self.clock.now())),
        }
    }
}

pub(crate) async fn check(
    State(throttle): State<Arc<Throttle>>,
    request: Request,
    next: Next,
) -> Response {
    // A preflight is answered by the layer around this one.
    if request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0.ip());
    let client = client(peer, request.headers(), &throttle.trusted_proxies);
    let (mut response, remaining) = match throttle.take(client) {
        Ok(remaining) => (next.run(request).await, remaining),
        Err(wait) => {
            let mut response = answer::message(StatusCode::TOO_MANY_REQUESTS, "Too Many Attempts.");
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            response.headers_mut().insert(header::RETRY_AFTER, number(seconds));
            (response, 0)
        }
    };
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit", number(u128::from(throttle.per_minute)));
    headers.insert("x-ratelimit-remaining", number(u128::from(remaining)));
    response
}

fn number(value: u128) -> HeaderValue {
    HeaderValue::from_str(&value.to_string()).expect("digits are visible ASCII")
}

/// The address that a request is counted for: its peer, or, if that is a trusted proxy, the last
/// forwarded address that is not one. For IPv6 the /64 network, because a subscriber owns all of it.
fn client(peer: Option<IpAddr>, headers: &HeaderMap, trusted_proxies: &[IpAddr]) -> IpAddr {
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical();
    let address = if trusted_proxies.contains(&peer) {
        let forwarded: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        forwarded
            .iter()
            .rev()
            .map_while(|text| text.trim().parse::<IpAddr>().ok())
            .map(|address| address.to_canonical())
            .find(|address| !trusted_proxies.contains(address))
            .unwrap_or(peer)
    } else {
        peer
    };
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_client(peer: &str, forwarded: &[&str], want: &str) {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("header"));
        }
        let proxies = ["10.0.0.1".parse().expect("ip"), "10.0.0.2".parse().expect("ip")];
        let peer = peer.parse().expect("ip");
        let want: IpAddr = want.parse().expect("ip");
        assert_eq!(client(Some(peer), &headers, &proxies), want);
    }

    #[test]
    fn only_a_trusted_proxy_may_forward_addresses() {
        check_client("1.2.3.4", &["9.9.9.9"], "1.2.3.4");
        check_client("10.0.0.1", &["9.9.9.9"], "9.9.9.9");
        check_client("::ffff:10.0.0.1", &["9.9.9.9"], "9.9.9.9");
        check_client("10.0.0.1", &["6.6.6.6, 9.9.9.9, 10.0.0.2"], "9.9.9.9");
        check_client("10.0.0.1", &["6.6.6.6", "9.9.9.9"], "9.9.9.9");
        check_client("10.0.0.1", &[], "10.0.0.1");
        check_client("10.0.0.1", &["6.6.6.6, garbage"], "10.0.0.1");
    }

    #[test]
    fn an_ipv6_subscriber_counts_as_one() {
        check_client("2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::");
        check_client("2001:db8:1:2:ffff::1", &[], "2001:db8:1:2::");
        check_client("2001:db8:1:3::1", &[], "2001:db8:1:3::");
    }
}
