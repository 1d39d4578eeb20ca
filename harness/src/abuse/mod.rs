//! Abuses a target while others use it, and judges what the others notice (LIM-80).
//!
//! The clients that abuse it run on two threads of the lowest priority and never wait for one
//! connection. The others are ordinary sessions in a room of their own. What the machine itself adds to
//! a latency, because all of it may run on the same cores, is measured by an echo next to the
//! others' messages and subtracted.

mod attack;
mod control;
pub mod input;
mod judge;
mod others;
pub mod plan;
mod process;

pub use judge::judge;

use plan::Plan;

/// Files that the harness needs besides one per connection of the abuse.
const FILES_OF_OTHERS: u64 = 512;

/// Raises the number of open files as far as the plan needs it.
pub fn raise_open_files(plan: &Plan) -> Result<(), String> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let needed = u64::from(plan.connections) + 4 * plan.users as u64 + FILES_OF_OTHERS;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    limit.current = limit.maximum.map_or(Some(needed), |most| Some(most.min(needed)));
    let too_few = || {
        let connections = plan.connections;
        format!("{connections} connections need {needed} open files: see `ulimit -n`")
    };
    setrlimit(Resource::Nofile, limit).map_err(|_| too_few())?;
    if limit.current.is_some_and(|current| current < needed) {
        return Err(too_few());
    }
    Ok(())
}
