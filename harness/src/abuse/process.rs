//! Memory and processor time of the target's process, as Linux shows them.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The unit of the times in `/proc/PID/stat`: USER_HZ, 100 on every architecture that we know.
const TICKS_PER_S: f64 = 100.0;
const SAMPLE: Duration = Duration::from_millis(25);
/// Long enough that a tick is one percent.
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
pub struct Process {
    pid: u32,
}

impl Process {
    pub fn new(pid: u32) -> Process {
        Process { pid }
    }

    /// Resident memory in bytes.
    pub fn memory(self) -> Result<u64, String> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse::<u64>().ok())
            .map(|kilobytes| kilobytes * 1024)
            .ok_or_else(|| format!("process {} has no memory: it has ended", self.pid))
    }

    /// The most memory from now on until `stopped`.
    pub fn peak_memory(self, stopped: &AtomicBool) -> Result<u64, String> {
        let mut peak = self.memory()?;
        while !stopped.load(Ordering::Relaxed) {
            thread::sleep(SAMPLE);
            peak = peak.max(self.memory()?);
        }
        Ok(peak)
    }

    /// Processor time of all threads.
    fn processor(self) -> Result<Duration, String> {
        let stat = self.read("stat")?;
        // The name of the program is in parentheses and may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = |index: usize| fields.split_whitespace().nth(index)?.parse::<u64>().ok();
        match (ticks(11), ticks(12)) {
            (Some(user), Some(system)) => {
                Ok(Duration::from_secs_f64((user + system) as f64 / TICKS_PER_S))
            }
            _ => Err(format!("/proc/{}/stat is not as expected", self.pid)),
        }
    }

    /// The share of a core in the calmest second that ends within `within` and a second: it stops to
    /// measure when one is at most `enough`.
    pub fn idle_share(self, within: Duration, enough: f64) -> Result<f64, String> {
        let start = Instant::now();
        let mut samples = vec![(start, self.processor()?)];
        let mut calmest = f64::INFINITY;
        while start.elapsed() < within + WINDOW && calmest > enough {
            thread::sleep(4 * SAMPLE);
            let (now, used) = (Instant::now(), self.processor()?);
            samples.push((now, used));
            let is_old = |(at, _): &&(Instant, Duration)| now - *at >= WINDOW;
            if let Some((at, before)) = samples.iter().rev().find(is_old) {
                let share = (used - *before).as_secs_f64() / (now - *at).as_secs_f64();
                calmest = calmest.min(share);
            }
        }
        Ok(calmest)
    }

    fn read(self, file: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).map_err(|why| format!("{path}: {why}"))
    }
}
