//! The next deadline as a readable descriptor, set anew only for an earlier deadline.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use throng_engine::Now;

use crate::clock::Clock;

pub(super) struct Alarm {
    timer: OwnedFd,
    set_for: Option<Now>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Alarm { timer, set_for: None })
    }

    /// Goes off at `deadline` or before. Going off early costs one idle turn.
    pub(super) fn set(&mut self, clock: &Clock, deadline: Now) {
        if self.set_for.is_some_and(|set_for| set_for <= deadline) {
            return;
        }
        // Zero would disarm it.
        let wait_ns = deadline.since(clock.now()).max(1);
        let value = Timespec {
            tv_sec: i64::try_from(wait_ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (wait_ns % 1_000_000_000) as i64,
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)
            .expect("a timer of this thread takes any positive time");
        self.set_for = Some(deadline);
    }

    /// It went off: make the descriptor quiet again.
    pub(super) fn clear(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0_u8; 8]);
        self.set_for = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
