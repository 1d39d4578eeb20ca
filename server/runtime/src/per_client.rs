//! How much of something one client has at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use throng_wire::http::{Client, ClientKey};

/// Counts by client, up to a bound that is the same for each. Spec: LIM-34.
pub struct PerClient {
    /// 0 means no limit.
    most: u32,
    counts: Mutex<HashMap<ClientKey, u32>>,
}

/// A place in the count of one client, given back when dropped.
pub struct ClientPlace {
    of: Arc<PerClient>,
    /// `None` if nothing bounds the client.
    key: Option<ClientKey>,
}

impl PerClient {
    /// `most`: 0 is no limit.
    pub(crate) fn new(most: u32) -> Arc<PerClient> {
        Arc::new(PerClient { most, counts: Mutex::default() })
    }

    /// `None` when the client has reached its bound. A proxy that names no client has none: whatever counts
    /// all clients together bounds it. The lock is held for one look-up.
    pub(crate) fn place(self: &Arc<Self>, client: &Client) -> Option<ClientPlace> {
        let of = Arc::clone(self);
        if self.most == 0 || client.is_proxy {
            return Some(ClientPlace { of, key: None });
        }
        let key = ClientKey::from(client.ip);
        let mut counts = self.counts();
        let count = counts.entry(key).or_insert(0);
        if *count == self.most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(ClientPlace { of, key: Some(key) })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut counts = self.of.counts();
        let count = counts.get_mut(&key).expect("a client is counted while it has places");
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(ip: &str) -> Client {
        Client { ip: ip.parse().expect("an address"), is_proxy: false, is_https: false }
    }

    #[test]
    fn each_client_has_its_own_bound_and_is_forgotten_with_its_last_place() {
        let limit = PerClient::new(2);
        let mut places = vec![limit.place(&client("192.0.2.1")), limit.place(&client("192.0.2.1"))];
        assert!(places.iter().all(Option::is_some));
        assert!(limit.place(&client("::ffff:192.0.2.1")).is_none());
        let other = limit.place(&client("192.0.2.2"));
        assert!(other.is_some());
        places.pop();
        assert!(limit.place(&client("192.0.2.1")).is_some());
        drop((places, other));
        assert!(limit.counts().is_empty());
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_client() {
        let limit = PerClient::new(1);
        let _first = limit.place(&client("2001:db8:1:2::1")).expect("the first");
        assert!(limit.place(&client("2001:db8:1:2:ffff::1")).is_none());
        assert!(limit.place(&client("2001:db8:1:3::1")).is_some());
    }

    #[test]
    fn nothing_bounds_a_proxy_that_names_no_client_nor_anybody_without_a_limit() {
        let proxy = Client { is_proxy: true, ..client("10.0.0.1") };
        for (limit, client) in [(PerClient::new(1), proxy), (PerClient::new(0), client("10.0.0.1"))]
        {
            let places: Vec<_> = (0..3).map(|_| limit.place(&client)).collect();
            assert!(places.iter().all(Option::is_some));
        }
    }
}
