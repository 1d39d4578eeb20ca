//! Deliberate defects inside the core. A check that has never been seen to fail proves nothing, so
//! the simulation arms one of these and expects [`crate::Shard::check`] to find it.
//!
//! The hooks exist only with the feature `canary` and only in debug builds. Everywhere else
//! [`is_armed`] is the constant `false`.

/// What is broken while it is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// Outbox: a pipe is offered to its socket twice in a turn.
    ListPipeTwice,
    /// Outbox: a pipe lets go of shared bytes and stays counted as their holder.
    KeepHolder,
    /// Engine: bytes queued for a poll are not counted.
    UncountedPollBytes,
    /// Engine: a session that has left its last namespace gets no timer for its next CONNECT.
    NoConnectTimer,
    /// Outbox: a pipe that holds more than its bound is not listed.
    KeepSlow,
    /// Engine: work costs nothing.
    FreeWork,
    /// Engine: the account of a session that ended stays in the sum.
    KeepAccount,
    /// Engine: the last poll of a session that moved to a WebSocket still names it.
    KeepPoll,
    /// Edge: the number of a room's last message that comes after the edge has settled gets no deadline.
    KeepTip,
    /// Edge: bytes of events that wait for the store are not counted.
    UncountedPendingBytes,
    /// Home: a changed room is listed twice for the end of the turn.
    ListRoomTwice,
    /// Roster: a delta member that left still counts as a receiver of changes.
    KeepReceiver,
    /// Home: a user that left another node still counts as present there.
    KeepRemote,
}

#[cfg(all(feature = "canary", debug_assertions))]
mod armed {
    use std::cell::Cell;

    use super::Canary;

    thread_local! {
        static ARMED: Cell<Option<Canary>> = const { Cell::new(None) };
    }

    /// Breaks every shard of this thread in this way from now on; `None` mends them.
    pub fn arm(canary: Option<Canary>) {
        ARMED.set(canary);
    }

    /// Whether this is broken on purpose.
    pub fn is_armed(canary: Canary) -> bool {
        ARMED.get() == Some(canary)
    }
}

#[cfg(all(feature = "canary", debug_assertions))]
pub use armed::{arm, is_armed};

/// Whether this is broken on purpose: never, in this build.
#[cfg(not(all(feature = "canary", debug_assertions)))]
#[inline(always)]
pub const fn is_armed(_canary: Canary) -> bool {
    false
}
