//! How many anonymous sessions each client address has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use throng_wire::http::ClientKey;

/// A client address with anonymous sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressId(u32);

struct Entry {
    client: ClientKey,
    sessions: u32,
}

#[derive(Default)]
pub(super) struct Addresses {
    by_client: BTreeMap<ClientKey, AddressId>,
    entries: Vec<Entry>,
    free: Vec<AddressId>,
}

impl Addresses {
    /// Anonymous sessions of the address.
    pub(super) fn count(&self, ip: IpAddr) -> u32 {
        let id = self.by_client.get(&ClientKey::from(ip));
        id.map_or(0, |id| self.entries[id.0 as usize].sessions)
    }

    /// Anonymous sessions of the address, one at least.
    pub(super) fn sessions(&self, id: AddressId) -> u32 {
        self.entries[id.0 as usize].sessions
    }

    pub(super) fn add(&mut self, ip: IpAddr) -> AddressId {
        let client = ClientKey::from(ip);
        let (entries, free) = (&mut self.entries, &mut self.free);
        let id = *self.by_client.entry(client).or_insert_with(|| {
            let entry = Entry { client, sessions: 0 };
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
        id
    }

    pub(super) fn remove(&mut self, id: AddressId) {
        let entry = &mut self.entries[id.0 as usize];
        entry.sessions -= 1;
        if entry.sessions == 0 {
            self.by_client.remove(&entry.client);
            self.free.push(id);
        }
    }

    /// Asserts that `ids`, those of all anonymous sessions, are what is counted.
    pub(super) fn check(&self, ids: impl Iterator<Item = AddressId>) {
        let mut counted = vec![0; self.entries.len()];
        ids.for_each(|id| counted[id.0 as usize] += 1);
        for (client, id) in &self.by_client {
            let entry = &self.entries[id.0 as usize];
            assert_eq!(entry.client, *client, "an address names its entry");
            assert_eq!(entry.sessions, counted[id.0 as usize], "anonymous sessions are counted");
        }
        let live = self.by_client.len() + self.free.len();
        assert_eq!(live, self.entries.len(), "an entry is free or of an address");
    }
}

#[cfg(test)]
mod tests {
    use super::Addresses;

    #[test]
    fn an_address_is_forgotten_with_its_last_session() {
        let mut addresses = Addresses::default();
        let ips = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().expect("an address"));
        let ids = [ips[0], ips[0], ips[1]].map(|ip| addresses.add(ip));
        addresses.check(ids.into_iter());
        assert_eq!(ips.map(|ip| addresses.count(ip)), [2, 1]);
        ids.into_iter().for_each(|id| addresses.remove(id));
        addresses.check(std::iter::empty());
        assert_eq!(addresses.count(ips[0]), 0);
        // Its entry serves the next address.
        let id = addresses.add(ips[1]);
        addresses.check([id].into_iter());
        assert_eq!(addresses.entries.len(), 2);
    }
}
