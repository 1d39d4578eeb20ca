//! Counters that a shard publishes at the end of each turn and anybody may read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use throng_core::{Counters, LogLine, RoomId, UserId};

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
pub struct ShardStats {
    core: [AtomicU64; Counters::NAMES.len()],
    shell: [AtomicU64; ShellCounters::NAMES.len()],
    is_quiet: AtomicBool,
}

impl Default for ShardStats {
    fn default() -> ShardStats {
        ShardStats {
            core: [const { AtomicU64::new(0) }; Counters::NAMES.len()],
            shell: [const { AtomicU64::new(0) }; ShellCounters::NAMES.len()],
            is_quiet: AtomicBool::new(false),
        }
    }
}

impl ShardStats {
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

    pub fn has_turned(&self) -> bool {
        self.value("turns").is_some_and(|turns| turns > 0)
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

/// Who is where, as the log lines of enter and leave tell.
#[derive(Default)]
pub struct Presence(Mutex<Present>);

#[derive(Default)]
struct Present {
    online: HashMap<RoomId, u32>,
    /// Sessions of a user in a room; no entry is 0.
    sessions: HashMap<(UserId, RoomId), u32>,
    /// Rooms a user is in.
    rooms: HashMap<UserId, u32>,
}

impl Presence {
    pub(crate) fn note(&self, line: &LogLine) {
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *line {
            LogLine::Entered { user, room, online, .. } => {
                present.online.insert(room, online);
                if raise(&mut present.sessions, (user, room)) {
                    raise(&mut present.rooms, user);
                }
            }
            LogLine::Left { user, room, online, .. } => {
                present.online.insert(room, online);
                if lower(&mut present.sessions, (user, room)) {
                    lower(&mut present.rooms, user);
                }
            }
            LogLine::Online { room, online } => {
                present.online.insert(room, online);
            }
            LogLine::Ended { .. } => {}
        }
    }

    /// Users in the room.
    pub fn online(&self, room: RoomId) -> u32 {
        let present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        present.online.get(&room).copied().unwrap_or(0)
    }

    /// Users in one room or more.
    pub fn users(&self) -> usize {
        let present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        present.rooms.len()
    }

    /// Whether the user has a session in the room.
    pub fn is_present(&self, user: UserId, room: RoomId) -> bool {
        let present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        present.sessions.contains_key(&(user, room))
    }
}

/// Whether it was the first.
fn raise<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) -> bool {
    let count = counts.entry(key).or_insert(0);
    *count += 1;
    *count == 1
}

/// Whether it was the last.
fn lower<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) -> bool {
    let Entry::Occupied(mut count) = counts.entry(key) else { return false };
    *count.get_mut() -= 1;
    let is_last = *count.get() == 0;
    if is_last {
        count.remove();
    }
    is_last
}

#[cfg(test)]
mod tests {
    use throng_core::{SessionId, ShardId};

    use super::*;

    #[test]
    fn a_user_is_present_until_the_last_session_leaves_the_last_room() {
        let presence = Presence::default();
        let (user, conn) = (UserId(7), SessionId::new(ShardId(0), 0, 1));
        let [one, two] = [RoomId(1), RoomId(2)];
        let enter = |room, online| presence.note(&LogLine::Entered { conn, user, room, online });
        let leave = |room, online| presence.note(&LogLine::Left { conn, user, room, online });
        enter(one, 1);
        enter(one, 1);
        enter(two, 1);
        assert_eq!((presence.users(), presence.online(one)), (1, 1));
        leave(one, 1);
        assert!(presence.is_present(user, one));
        leave(one, 0);
        assert!(!presence.is_present(user, one) && presence.is_present(user, two));
        assert_eq!((presence.users(), presence.online(one)), (1, 0));
        leave(two, 0);
        assert_eq!(presence.users(), 0);
        leave(two, 0);
        assert_eq!(presence.users(), 0, "one leave too many changes nothing");
    }
}
