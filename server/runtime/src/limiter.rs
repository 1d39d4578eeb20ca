//! How many connections are accepted, in total and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts open connections; all shards share it. A connection keeps its [`Permit`] when it moves to
/// another thread. Spec: LIM-5.
pub struct ConnectionLimiter {
    connections_max: u32,
    /// 0 means no limit.
    connections_per_ip_max: u32,
    /// Proxies, whose connections carry many clients.
    exempt: Vec<IpAddr>,
    connections: AtomicU32,
    per_ip: Mutex<HashMap<IpAddr, u32>>,
}

/// One connection's place in the count, given back when dropped.
pub struct Permit {
    limiter: Arc<ConnectionLimiter>,
    /// The address it is counted for, if there is a bound for it.
    ip: Option<IpAddr>,
}

impl ConnectionLimiter {
    /// `connections_per_ip_max`: 0 is no limit. `exempt`: addresses that only the total bounds.
    pub fn new(
        connections_max: u32,
        connections_per_ip_max: u32,
        exempt: Vec<IpAddr>,
    ) -> Arc<ConnectionLimiter> {
        Arc::new(ConnectionLimiter {
            connections_max,
            connections_per_ip_max,
            exempt,
            connections: AtomicU32::new(0),
            per_ip: Mutex::default(),
        })
    }

    /// Connections that are open now, on all shards.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// `None` when the server or this address has reached its limit.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Permit> {
        let admitted = |count: u32| (count < self.connections_max).then_some(count + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admitted).ok()?;
        let is_bound = self.connections_per_ip_max > 0 && !self.exempt.contains(&ip);
        if is_bound {
            let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
            let count = per_ip.entry(ip).or_insert(0);
            if *count >= self.connections_per_ip_max {
                self.connections.fetch_sub(1, Ordering::Relaxed);
                return None;
            }
            *count += 1;
        }
        Some(Permit { limiter: Arc::clone(self), ip: is_bound.then_some(ip) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.connections.fetch_sub(1, Ordering::Relaxed);
        let Some(ip) = self.ip else { return };
        let mut per_ip = self.limiter.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
        let count = per_ip.get_mut(&ip).expect("an address is counted while it has permits");
        *count -= 1;
        if *count == 0 {
            per_ip.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn the_total_bound_counts_what_is_open() {
        let limiter = ConnectionLimiter::new(2, 0, Vec::new());
        let first = limiter.admit(HERE);
        let second = limiter.admit(THERE);
        assert!(first.is_some() && second.is_some());
        assert!(limiter.admit(HERE).is_none());
        drop(first);
        assert_eq!(limiter.connections(), 1);
        assert!(limiter.admit(HERE).is_some());
    }

    #[test]
    fn one_address_cannot_take_all() {
        let limiter = ConnectionLimiter::new(10, 1, Vec::new());
        let first = limiter.admit(HERE);
        assert!(first.is_some());
        assert!(limiter.admit(HERE).is_none());
        assert_eq!(limiter.connections(), 1, "a refused connection is not counted");
        let other = limiter.admit(THERE);
        assert!(other.is_some());
        drop(first);
        assert!(limiter.admit(HERE).is_some());
    }

    #[test]
    fn a_trusted_proxy_is_bounded_by_the_total_only() {
        let limiter = ConnectionLimiter::new(3, 1, vec![HERE]);
        let open: Vec<_> = (0..3).map(|_| limiter.admit(HERE)).collect();
        assert!(open.iter().all(Option::is_some));
        assert!(limiter.admit(HERE).is_none(), "the total bound holds for it as well");
        drop(open);
        assert_eq!(limiter.connections(), 0);
    }
}
