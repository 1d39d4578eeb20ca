//! What the sessions of a shard may hold together, and how many of some there may be.

use crate::settings::Settings;

/// Bytes that all sessions of a shard may hold, unless it says otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShardBudgets {
    pub(super) anonymous: usize,
    /// Sessions on long-polling whose users are not known; 0: no limit.
    pub(super) anonymous_polling: usize,
    pub(super) inbound: usize,
    pub(super) outbound: usize,
}

impl ShardBudgets {
    pub(super) fn new(settings: &Settings, shards: u8) -> ShardBudgets {
        let share = |mib: u32| ((mib as usize) << 20) / usize::from(shards);
        ShardBudgets {
            anonymous: share(settings.anonymous.held_mib_max),
            anonymous_polling: (settings.anonymous.polling_sessions_max as usize)
                .div_ceil(usize::from(shards)),
            inbound: share(settings.inbound_mib_max),
            outbound: share(settings.outbound_mib_max),
        }
    }
}
