//! How many connections are accepted, in total and from one client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use throng_wire::http::{Client, ClientKey, Forwarded, Peer, TrustedProxies};

use crate::descriptors::ConnectionBound;
use crate::per_client::{ClientPlace, PerClient};
use crate::rare_warning::RareWarning;

/// Counts open connections; all shards share it. A connection keeps its [`Permit`] when it moves to
/// another thread. Spec: LIM-5, LIM-13, LIM-34.
pub struct ConnectionLimiter {
    bound: ConnectionBound,
    /// 0 means no limit.
    connections_per_ip_max: u32,
    connections: AtomicU32,
    per_client: Arc<PerClient>,
    is_full: RareWarning,
    client_is_full: RareWarning,
}

/// One connection's place in the count, given back when dropped.
pub struct Permit {
    limiter: Arc<ConnectionLimiter>,
    place: Option<ClientPlace>,
}

impl ConnectionLimiter {
    /// `connections_per_ip_max`: 0 is no limit.
    pub fn new(
        connections_max: impl Into<ConnectionBound>,
        connections_per_ip_max: u32,
    ) -> Arc<ConnectionLimiter> {
        Arc::new(ConnectionLimiter {
            bound: connections_max.into(),
            connections_per_ip_max,
            connections: AtomicU32::new(0),
            per_client: PerClient::new(connections_per_ip_max),
            is_full: RareWarning::default(),
            client_is_full: RareWarning::default(),
        })
    }

    /// Connections that are open now, on all shards.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that may be open at once.
    pub fn connections_max(&self) -> u32 {
        self.bound.connections()
    }

    /// `None` when the server has reached its limit. The connection is not counted for a client yet.
    pub fn admit(self: &Arc<Self>) -> Option<Permit> {
        let most = self.connections_max();
        let admitted = |count: u32| (count < most).then_some(count + 1);
        let count = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admitted);
        if count.is_err() {
            self.is_full.log(|left_out| {
                let limit = self.bound.limit();
                tracing::warn!(
                    connections = most,
                    configured = self.bound.configured,
                    open_files = self.bound.open_files,
                    left_out,
                    "connections are refused: {limit} is reached"
                );
            });
            return None;
        }
        Some(Permit { limiter: Arc::clone(self), place: None })
    }

    /// Admits a connection that was just accepted, and counts it for its client, unless the peer is a
    /// proxy: the client of a proxy is counted with the PROXY header, the handshake or the request.
    pub fn admit_peer(self: &Arc<Self>, peer: Peer, proxies: &TrustedProxies) -> Option<Permit> {
        let mut permit = self.admit()?;
        let is_counted =
            proxies.trusts(peer) || permit.count_for(&proxies.client(peer, &Forwarded::default()));
        is_counted.then_some(permit)
    }

    /// A place for a connection, or for one request of a connection that a proxy uses for many clients.
    /// `None` when the client has reached its limit.
    pub fn place(&self, client: &Client) -> Option<ClientPlace> {
        let place = self.per_client.place(client);
        if place.is_none() {
            self.client_is_full.log(|left_out| {
                tracing::warn!(
                    client = %ClientKey::from(client.ip),
                    connections = self.connections_per_ip_max,
                    left_out,
                    "connections are refused: limits.connections_per_ip_max is reached"
                );
            });
        }
        place
    }
}

impl Permit {
    /// Counts the connection for its client; false when the client has reached its limit.
    pub fn count_for(&mut self, client: &Client) -> bool {
        let place = self.limiter.place(client);
        let is_counted = place.is_some();
        if is_counted {
            self.place = place;
        }
        is_counted
    }

    /// Keeps the place that a request had, for as long as the connection is open.
    pub fn keep(&mut self, place: Option<ClientPlace>) {
        if place.is_some() {
            self.place = place;
        }
    }

    /// What counts the connection.
    pub fn limiter(&self) -> Arc<ConnectionLimiter> {
        Arc::clone(&self.limiter)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(ip: &str) -> Client {
        let ip = ip.parse().expect("an address");
        Client { ip, is_proxy: false, is_https: false }
    }

    #[test]
    fn the_total_bound_counts_what_is_open() {
        let limiter = ConnectionLimiter::new(2, 0);
        let first = limiter.admit();
        let second = limiter.admit();
        assert!(first.is_some() && second.is_some());
        assert!(limiter.admit().is_none());
        drop(first);
        assert_eq!(limiter.connections(), 1);
        assert!(limiter.admit().is_some());
    }

    #[test]
    fn one_address_cannot_take_all() {
        let limiter = ConnectionLimiter::new(10, 1);
        let mut first = limiter.admit().expect("the first");
        assert!(first.count_for(&client("192.0.2.1")));
        let mut second = limiter.admit().expect("the total has more");
        assert!(!second.count_for(&client("::ffff:192.0.2.1")));
        drop(second);
        assert_eq!(limiter.connections(), 1, "a refused connection is not counted");
        let other = limiter.place(&client("192.0.2.2"));
        assert!(other.is_some());
        drop(first);
        assert!(limiter.place(&client("192.0.2.1")).is_some());
    }

    #[test]
    fn a_proxy_that_names_no_client_is_bounded_by_the_total_only() {
        let limiter = ConnectionLimiter::new(3, 1);
        let proxy = Client { is_proxy: true, ..client("10.0.0.1") };
        let open: Vec<_> =
            (0..3).map(|_| limiter.admit().filter(|_| limiter.place(&proxy).is_some())).collect();
        assert!(open.iter().all(Option::is_some));
        assert!(limiter.admit().is_none(), "the total bound holds for it as well");
        drop(open);
        assert_eq!(limiter.connections(), 0);
    }

    #[test]
    fn the_place_of_a_request_may_become_that_of_the_connection() {
        let limiter = ConnectionLimiter::new(10, 1);
        let mut permit = limiter.admit().expect("the first");
        permit.keep(limiter.place(&client("192.0.2.1")));
        assert!(limiter.place(&client("192.0.2.1")).is_none());
        drop(permit);
        assert!(limiter.place(&client("192.0.2.1")).is_some());
    }
}
