//! Deliberate defects inside the engine. A check that has never been seen to fail proves nothing, so
//! the simulation, or a script against one shard, arms one of these and expects a check to find it. An application has
//! defects of its own with [`canaries!`](crate::canaries).
//!
//! The hooks exist only with the feature `canary` and only in debug builds. Everywhere else
//! [`is_armed`] is the constant `false`.

/// Declares the defects inside a crate that has a feature `canary`: the enum `Canary`, and `arm` and
/// `is_armed` for one thread.
#[doc(hidden)]
#[macro_export]
macro_rules! canaries {
    ($($(#[$meta:meta])* $name:ident,)+) => {
        /// What is broken while it is armed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Canary {
            $($(#[$meta])* $name,)+
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
    };
}

canaries! {
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
}
