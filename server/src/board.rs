//! Counters that a shard publishes at the end of each turn and anybody may read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use throng_core::{Counters, RoomId};

macro_rules! shell_counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the shell itself counts. Grows only, unless the comment says gauge.
        #[derive(Clone, Debug, Default)]
        pub struct ShellCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl ShellCounters {
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            fn values(&self) -> [u64; ShellCounters::NAMES.len()] {
                [$(self.$name,)*]
            }
        }
    };
}

shell_counters! {
    /// Gauge: WebSocket byte streams.
    pipes,
    /// Gauge: connections whose request head is awaited.
    heads,
    accepted,
    refused_connections,
    handed_over,
    head_timeouts,
    turns,
    flushes,
    bytes_out,
    /// Gauges: items that wait in the lanes to this shard.
    lane_depth_request,
    lane_depth_delivery,
    /// Gauge: commands the store has not answered.
    lane_depth_store,
    logs_dropped,
}

/// One shard's published numbers.
pub struct Board {
    core: [AtomicU64; Counters::NAMES.len()],
    shell: [AtomicU64; ShellCounters::NAMES.len()],
    is_quiet: AtomicBool,
}

impl Default for Board {
    fn default() -> Board {
        Board {
            core: [const { AtomicU64::new(0) }; Counters::NAMES.len()],
            shell: [const { AtomicU64::new(0) }; ShellCounters::NAMES.len()],
            is_quiet: AtomicBool::new(false),
        }
    }
}

impl Board {
    pub(crate) fn publish(&self, core: &Counters, shell: &ShellCounters, is_quiet: bool) {
        for (published, value) in self.core.iter().zip(core.values()) {
            published.store(value, Ordering::Relaxed);
        }
        for (published, value) in self.shell.iter().zip(shell.values()) {
            published.store(value, Ordering::Relaxed);
        }
        self.is_quiet.store(is_quiet, Ordering::Release);
    }

    /// Nothing is open and nothing is owed: the shard may end.
    pub fn is_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::Acquire)
    }

    /// One counter of the core or the shell by its name.
    pub fn value(&self, name: &str) -> Option<u64> {
        let find = |names: &[&str], values: &[AtomicU64]| {
            let index = names.iter().position(|candidate| *candidate == name)?;
            Some(values[index].load(Ordering::Relaxed))
        };
        find(Counters::NAMES, &self.core).or_else(|| find(ShellCounters::NAMES, &self.shell))
    }
}

/// Users online per room, as the last enter or leave told.
#[derive(Default)]
pub struct RoomsOnline(Mutex<BTreeMap<RoomId, u32>>);

impl RoomsOnline {
    pub(crate) fn set(&self, room: RoomId, online: u32) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.insert(room, online);
    }

    pub fn online(&self, room: RoomId) -> u32 {
        let rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.get(&room).copied().unwrap_or(0)
    }
}
