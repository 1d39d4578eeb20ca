//! What the sessions of a shard may hold together.

use crate::settings::Settings;

/// Bytes that all sessions of a shard may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShardBudgets {
    pub(super) anonymous: usize,
    pub(super) inbound: usize,
    pub(super) outbound: usize,
}

impl ShardBudgets {
    pub(super) fn new(settings: &Settings, shards: u8) -> ShardBudgets {
        let share = |mib: u32| ((mib as usize) << 20) / usize::from(shards);
        ShardBudgets {
            anonymous: share(settings.anonymous.held_mib_max),
            inbound: share(settings.inbound_mib_max),
            outbound: share(settings.outbound_mib_max),
        }
    }
}
