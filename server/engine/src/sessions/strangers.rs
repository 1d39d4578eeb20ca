//! How many anonymous sessions each client address has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// The network that counts as one client: an IPv4 address, or the 64 bits that an IPv6 client is
/// given at least.
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let prefix = ip.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
        v4 => v4,
    }
}

/// A client address with anonymous sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StrangerId(u32);

struct Entry {
    network: IpAddr,
    sessions: u32,
}

#[derive(Default)]
pub(super) struct Strangers {
    by_network: BTreeMap<IpAddr, StrangerId>,
    entries: Vec<Entry>,
    free: Vec<StrangerId>,
}

impl Strangers {
    /// Anonymous sessions of the address.
    pub(super) fn count(&self, ip: IpAddr) -> u32 {
        let id = self.by_network.get(&network_of(ip));
        id.map_or(0, |id| self.entries[id.0 as usize].sessions)
    }

    pub(super) fn add(&mut self, ip: IpAddr) -> StrangerId {
        let network = network_of(ip);
        let (entries, free) = (&mut self.entries, &mut self.free);
        let id = *self.by_network.entry(network).or_insert_with(|| {
            let entry = Entry { network, sessions: 0 };
            match free.pop() {
                Some(id) => {
                    entries[id.0 as usize] = entry;
                    id
                }
                None => {
                    entries.push(entry);
                    StrangerId(entries.len() as u32 - 1)
                }
            }
        });
        entries[id.0 as usize].sessions += 1;
        id
    }

    pub(super) fn remove(&mut self, id: StrangerId) {
        let entry = &mut self.entries[id.0 as usize];
        entry.sessions -= 1;
        if entry.sessions == 0 {
            self.by_network.remove(&entry.network);
            self.free.push(id);
        }
    }

    /// Asserts that `ids`, those of all anonymous sessions, are what is counted.
    pub(super) fn check(&self, ids: impl Iterator<Item = StrangerId>) {
        let mut counted = vec![0; self.entries.len()];
        ids.for_each(|id| counted[id.0 as usize] += 1);
        for (network, id) in &self.by_network {
            let entry = &self.entries[id.0 as usize];
            assert_eq!(entry.network, *network, "an address names its entry");
            assert_eq!(entry.sessions, counted[id.0 as usize], "anonymous sessions are counted");
        }
        let live = self.by_network.len() + self.free.len();
        assert_eq!(live, self.entries.len(), "an entry is free or of an address");
    }
}

#[cfg(test)]
mod tests {
    use super::{Strangers, network_of};

    #[test]
    fn one_client_is_an_ipv4_address_or_an_ipv6_network() {
        let network = |ip: &str| network_of(ip.parse().expect("an address")).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    }

    #[test]
    fn an_address_is_forgotten_with_its_last_session() {
        let mut strangers = Strangers::default();
        let ips = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().expect("an address"));
        let ids = [ips[0], ips[0], ips[1]].map(|ip| strangers.add(ip));
        strangers.check(ids.into_iter());
        assert_eq!(ips.map(|ip| strangers.count(ip)), [2, 1]);
        ids.into_iter().for_each(|id| strangers.remove(id));
        strangers.check(std::iter::empty());
        assert_eq!(strangers.count(ips[0]), 0);
        // Its entry serves the next address.
        let id = strangers.add(ips[1]);
        strangers.check([id].into_iter());
        assert_eq!(strangers.entries.len(), 2);
    }
}
