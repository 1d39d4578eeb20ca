//! `/proc`: CPU time and memory of the server, CPU time and waiting time of the generator's threads.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// CPU used by all threads of a process, in nanoseconds.
///
/// The time of threads that ended between two readings is lost; servers keep their threads.
///
/// # Errors
/// There is no such process.
pub fn process_cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| no_process(pid))?;
    let mut sum = 0;
    for task in tasks.flatten() {
        // A thread may end meanwhile.
        if let Ok(text) = fs::read_to_string(task.path().join("schedstat")) {
            sum += schedstat(&text).0;
        }
    }
    Ok(sum)
}

/// Resident memory in bytes.
///
/// # Errors
/// There is no such process.
pub fn rss_bytes(pid: u32) -> anyhow::Result<u64> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| no_process(pid))?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.with_context(|| no_process(pid))? * 1024)
}

fn no_process(pid: u32) -> String {
    format!("there is no server process {pid}")
}

/// Scheduler statistics of one of this process's threads: (on a core, runnable without one).
#[must_use]
pub fn thread_times(thread_id: i32) -> (Duration, Duration) {
    let text =
        fs::read_to_string(format!("/proc/self/task/{thread_id}/schedstat")).unwrap_or_default();
    let (run_ns, wait_ns) = schedstat(&text);
    (Duration::from_nanos(run_ns), Duration::from_nanos(wait_ns))
}

fn schedstat(text: &str) -> (u64, u64) {
    let mut fields = text.split_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
    (fields.next().unwrap_or(0), fields.next().unwrap_or(0))
}

/// Machine facts for reports: model, cores, kernel.
#[must_use]
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| rest.trim_start_matches([' ', '\t', ':']));
    // All of them, not only those this process is pinned to.
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_uses_cpu_and_memory() {
        let pid = std::process::id();
        let before = process_cpu_ns(pid).unwrap();
        let mut x = 1u64;
        while process_cpu_ns(pid).unwrap() < before + 2_000_000 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(rss_bytes(pid).unwrap() > 100_000);
        assert!(process_cpu_ns(u32::MAX).is_err());
    }
}
