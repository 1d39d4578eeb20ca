//! Hash maps with a key of their own: room numbers come from clients, and a simulation must see
//! the same order twice.

use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

use crate::ids::{RoomId, ShardId};

#[derive(Clone)]
pub(crate) struct Keyed([u8; 16]);

impl Keyed {
    pub(crate) fn new(key: [u8; 16]) -> Keyed {
        Keyed(key)
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, Keyed>;

/// Which shard owns a room. All shards of a process share the key.
pub(crate) fn home_of(key: &Keyed, room: RoomId, shards: u8) -> ShardId {
    ShardId((key.hash_one(room) % u64::from(shards)) as u8)
}
