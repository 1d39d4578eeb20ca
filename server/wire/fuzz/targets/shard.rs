//! Whatever clients of a whole shard send, what it holds and does stays within its bounds.
#![no_main]

use std::alloc::System;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use throng_sim::canary::{Canary, OF_SCRIPTS};
use throng_sim::onslaught::play;

/// Knows how many bytes are in use, whatever the accounts say.
#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Names a defect to break the shard with: the target must find it.
const CANARY: &str = "THRONG_CANARY";
static ARMED: Once = Once::new();

fn used() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fuzz_target!(|script: &[u8]| {
    ARMED.call_once(|| {
        if let Ok(name) = std::env::var(CANARY) {
            let canary = OF_SCRIPTS.into_iter().find(|canary| canary.name() == name);
            Canary::arm(Some(canary.expect("the name of a canary of scripts")));
        }
    });
    play(script, Some(&used));
});
