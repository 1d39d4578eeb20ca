//! Waking up at a precise time. The runtime's timer wheel counts milliseconds; messages are due on
//! the microsecond, so the wait is for a kernel timer's descriptor to become readable.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use monoio::net::UnixStream;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

pub struct Alarm {
    timer: TimerFd,
    /// A duplicate of the timer's descriptor in a type the runtime can wait on; never read as a
    /// socket.
    readiness: UnixStream,
}

impl Alarm {
    /// # Errors
    /// No descriptor is available.
    pub fn new() -> anyhow::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let duplicate: OwnedFd = timer.as_fd().try_clone_to_owned()?;
        let readiness = UnixStream::from_std(StdUnixStream::from(duplicate))?;
        Ok(Self { timer, readiness })
    }

    /// Returns at monotonic time `at_ns`, or at once if that is past.
    ///
    /// # Errors
    /// The timer cannot be set or waited for.
    pub async fn until(&self, at_ns: u64) -> anyhow::Result<()> {
        if crate::clock::now_ns() >= at_ns {
            return Ok(());
        }
        let at = TimeSpec::from_duration(Duration::from_nanos(at_ns));
        self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.readiness.readable(false).await?;
        // Reading the expiration count makes the descriptor unreadable again.
        match self.timer.wait() {
            Ok(()) | Err(nix::errno::Errno::EAGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
