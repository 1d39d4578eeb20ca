//! How many anonymous sessions each client address has, and the work that all of them have caused.

use std::collections::BTreeMap;
use std::net::IpAddr;

use throng_wire::http::ClientKey;

use crate::bucket::Bucket;
use crate::now::Now;
use crate::rate::Rate;

/// Sessions between two removals of addresses that have none and owe nothing.
const SWEEP_EVERY: u32 = 1024;

/// All anonymous sessions of one client address may cause as much work as so many of them alone.
const ALONE_PER_ADDRESS: u32 = 64;
/// The same of all anonymous sessions of a shard.
const ALONE_PER_SHARD: u32 = 128;

/// How fast many anonymous sessions together may cause work.
pub(super) struct AddressRates {
    address: Rate,
    shard: Rate,
}

impl AddressRates {
    /// Of what one session may cause. `None` is no limit.
    pub(super) fn new(per_s: u32, burst: u32) -> Option<AddressRates> {
        let of =
            |count: u32| Rate::per_second(per_s.saturating_mul(count), burst.saturating_mul(count));
        Some(AddressRates { address: of(ALONE_PER_ADDRESS)?, shard: of(ALONE_PER_SHARD)? })
    }
}

/// A client address with anonymous sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressId(u32);

struct Entry {
    client: ClientKey,
    /// None, for a while: who reconnects gains nothing.
    sessions: u32,
    work: Bucket,
}

#[derive(Default)]
pub(super) struct Addresses {
    by_client: BTreeMap<ClientKey, AddressId>,
    entries: Vec<Entry>,
    free: Vec<AddressId>,
    added: u32,
    /// Of all addresses.
    sessions: u32,
    work: Bucket,
}

impl Addresses {
    /// Anonymous sessions of the address.
    pub(super) fn count(&self, ip: IpAddr) -> u32 {
        let id = self.by_client.get(&ClientKey::from(ip));
        id.map_or(0, |id| self.entries[id.0 as usize].sessions)
    }

    pub(super) fn add(&mut self, ip: IpAddr, now: Now) -> AddressId {
        self.added += 1;
        if self.added >= SWEEP_EVERY {
            self.added = 0;
            self.sweep(now);
        }
        let client = ClientKey::from(ip);
        let (entries, free) = (&mut self.entries, &mut self.free);
        let id = *self.by_client.entry(client).or_insert_with(|| {
            let entry = Entry { client, sessions: 0, work: Bucket::default() };
            match free.pop() {
                Some(id) => {
                    entries[id.0 as usize] = entry;
                    id
                }
                None => {
                    entries.push(entry);
                    AddressId(entries.len() as u32 - 1)
                }
            }
        });
        entries[id.0 as usize].sessions += 1;
        self.sessions += 1;
        id
    }

    /// Books work of one of its sessions.
    pub(super) fn charge(&mut self, id: AddressId, rates: &AddressRates, now: Now, units: u32) {
        self.entries[id.0 as usize].work.charge(&rates.address, now, units.into());
        self.work.charge(&rates.shard, now, units.into());
    }

    /// How many times longer than alone its sessions wait: 0 if neither they together nor those of all addresses have
    /// caused more work than they may.
    pub(super) fn shares(&self, id: AddressId, rates: &AddressRates, now: Now) -> u32 {
        let entry = &self.entries[id.0 as usize];
        let shares = |work: Bucket, rate: &Rate, sessions: u32, alone: u32| {
            if work.open_at(rate) > now { sessions.div_ceil(alone) } else { 0 }
        };
        let of_address = shares(entry.work, &rates.address, entry.sessions, ALONE_PER_ADDRESS);
        of_address.max(shares(self.work, &rates.shard, self.sessions, ALONE_PER_SHARD))
    }

    /// The address that is named most often; of several, the one whose last name comes first.
    pub(super) fn most_frequent(&self, ids: impl Iterator<Item = AddressId>) -> AddressId {
        let mut counts = vec![0_u32; self.entries.len()];
        let mut most = None;
        for id in ids {
            let count = &mut counts[id.0 as usize];
            *count += 1;
            if most.is_none_or(|(before, _)| *count > before) {
                most = Some((*count, id));
            }
        }
        most.expect("an address is named").1
    }

    pub(super) fn remove(&mut self, id: AddressId, now: Now) {
        let entry = &mut self.entries[id.0 as usize];
        entry.sessions -= 1;
        self.sessions -= 1;
        if is_done(entry, now) {
            self.by_client.remove(&entry.client);
            self.free.push(id);
        }
    }

    fn sweep(&mut self, now: Now) {
        let (entries, free) = (&self.entries, &mut self.free);
        self.by_client.retain(|_, id| {
            let is_done = is_done(&entries[id.0 as usize], now);
            if is_done {
                free.push(*id);
            }
            !is_done
        });
    }

    /// Asserts that `ids`, those of all anonymous sessions, are what is counted.
    pub(super) fn check(&self, ids: impl Iterator<Item = AddressId>) {
        let mut counted = vec![0_u32; self.entries.len()];
        ids.for_each(|id| counted[id.0 as usize] += 1);
        for (client, id) in &self.by_client {
            let entry = &self.entries[id.0 as usize];
            assert_eq!(entry.client, *client, "an address names its entry");
            assert_eq!(entry.sessions, counted[id.0 as usize], "anonymous sessions are counted");
        }
        assert_eq!(
            self.sessions,
            counted.iter().sum::<u32>(),
            "all anonymous sessions are counted"
        );
        let live = self.by_client.len() + self.free.len();
        assert_eq!(live, self.entries.len(), "an entry is free or of an address");
    }
}

fn is_done(entry: &Entry, now: Now) -> bool {
    entry.sessions == 0 && entry.work.full_at() <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now(5_000_000_000);

    #[test]
    fn an_address_is_forgotten_with_its_last_session() {
        let mut addresses = Addresses::default();
        let ips = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().expect("an address"));
        let ids = [ips[0], ips[0], ips[1]].map(|ip| addresses.add(ip, NOW));
        addresses.check(ids.into_iter());
        assert_eq!(ips.map(|ip| addresses.count(ip)), [2, 1]);
        ids.into_iter().for_each(|id| addresses.remove(id, NOW));
        addresses.check(std::iter::empty());
        assert_eq!(addresses.count(ips[0]), 0);
        // Its entry serves the next address.
        let id = addresses.add(ips[1], NOW);
        addresses.check([id].into_iter());
        assert_eq!(addresses.entries.len(), 2);
    }

    #[test]
    fn who_reconnects_owes_what_was_owed() {
        // At 64 times 10 units a second.
        let rates = AddressRates::new(10, 20).expect("a limit");
        let mut addresses = Addresses::default();
        let ip = "192.0.2.1".parse().expect("an address");
        let mut shares = |now, units| {
            let id = addresses.add(ip, now);
            addresses.charge(id, &rates, now, units);
            let shares = addresses.shares(id, &rates, now);
            addresses.remove(id, now);
            addresses.check(std::iter::empty());
            shares
        };
        assert_eq!([shares(NOW, 640), shares(NOW, 640), shares(NOW, 640)], [0, 0, 1]);
        assert_eq!([shares(NOW.plus_ms(999), 0), shares(NOW.plus_ms(1000), 0)], [1, 0]);
    }

    #[test]
    fn many_addresses_owe_together_what_none_owes_alone() {
        let rates = AddressRates::new(10, 20).expect("a limit");
        let mut addresses = Addresses::default();
        let ids: Vec<AddressId> =
            (0..300_u32).map(|n| addresses.add(IpAddr::from(n.to_be_bytes()), NOW)).collect();
        for id in &ids[..256] {
            addresses.charge(*id, &rates, NOW, 10);
        }
        assert_eq!(addresses.shares(ids[0], &rates, NOW), 0, "128 times 20 units");
        addresses.charge(ids[256], &rates, NOW, 10);
        // 300 sessions share what 128 would have.
        assert_eq!(addresses.shares(ids[299], &rates, NOW), 3);
        addresses.check(ids.into_iter());
    }

    #[test]
    fn addresses_without_sessions_are_kept_until_they_owe_nothing() {
        let rates = AddressRates::new(1, 20).expect("a limit");
        let mut addresses = Addresses::default();
        for n in 0..10 * SWEEP_EVERY {
            let now = NOW.plus_ms(n.into());
            let id = addresses.add(IpAddr::from(n.to_be_bytes()), now);
            addresses.charge(id, &rates, now, 6);
            addresses.remove(id, now);
            addresses.check(std::iter::empty());
        }
        // Six units are paid for in less than 100 ms.
        let kept = addresses.by_client.len();
        assert!(kept <= SWEEP_EVERY as usize + 100, "{kept}");
    }
}
