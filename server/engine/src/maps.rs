//! Hash maps with a key of their own: room numbers come from clients, and a simulation must see
//! the same order twice.

use std::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

use crate::ids::ShardId;

/// Builds hashers with a secret key.
#[derive(Clone)]
pub struct Keyed([u8; 16]);

impl Keyed {
    /// `key`: see [`crate::Seed::placement`].
    pub fn new(key: [u8; 16]) -> Keyed {
        Keyed(key)
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

/// A hash map whose order and collisions no client can predict.
pub type Map<K, V> = hashbrown::HashMap<K, V, Keyed>;

/// Which shard owns a room. All shards of a process share the key.
pub fn home_of(key: &Keyed, room: impl Hash, shards: u8) -> ShardId {
    if shards == 1 {
        return ShardId(0);
    }
    ShardId((key.hash_one(room) % u64::from(shards)) as u8)
}
