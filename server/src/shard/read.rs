//! Bytes of open pipes, through one buffer for all of them.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use throng_core::input::PipeEnd;
use throng_core::{Input, Logic, PipeId};

use super::events::Event;
use super::turn::Worker;

/// Bytes read in one turn before what they cause is sent.
const READ_BYTES_PER_TURN: usize = 4 * 1024 * 1024;

impl<L: Logic> Worker<L> {
    /// Reads pipes that are ready, each once, up to the bounds of a turn; the rest stay ready.
    pub(super) fn read_ready(&mut self) {
        let budget = self.ready.len().min(self.tuning.pipes_per_turn as usize);
        self.read_bytes = 0;
        for _ in 0..budget {
            if self.read_bytes >= READ_BYTES_PER_TURN {
                return;
            }
            let Some(pipe) = self.ready.pop_front() else { return };
            if self.pipes.is_head(pipe) {
                self.read_head(pipe);
            } else {
                self.read_open(pipe);
            }
        }
    }

    fn read_open(&mut self, pipe: PipeId) {
        let Some(open) = self.pipes.open(pipe) else { return };
        match recv(open.stream.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => self.end_now(pipe, PipeEnd::Eof),
            Ok(count) => {
                self.read_bytes += count;
                let bytes = &mut self.buffer[..count];
                self.logic.step(Input::Bytes { pipe, bytes }, &mut self.effects);
                if count == self.buffer.len() {
                    self.ready.push_back(pipe);
                } else {
                    self.rearm.push(pipe);
                }
            }
            Err(Errno::EAGAIN) => self.rearm.push(pipe),
            Err(Errno::EINTR) => self.ready.push_back(pipe),
            Err(_) => self.end_now(pipe, PipeEnd::Failed),
        }
    }

    fn end_now(&mut self, pipe: PipeId, end: PipeEnd) {
        self.take_down(pipe);
        self.logic.step(Input::PipeClosed { pipe, end }, &mut self.effects);
        self.pipes.release(pipe);
    }

    /// Closes a pipe outside the stepping part of a turn: the core hears of it in the next one.
    pub(super) fn end_later(&mut self, pipe: PipeId, end: PipeEnd) {
        if self.take_down(pipe) {
            self.gone.push((pipe, end));
        }
    }

    pub(super) fn report_gone(&mut self) {
        for (pipe, end) in std::mem::take(&mut self.gone) {
            self.logic.step(Input::PipeClosed { pipe, end }, &mut self.effects);
            self.pipes.release(pipe);
        }
    }

    fn take_down(&mut self, pipe: PipeId) -> bool {
        let Some(open) = self.pipes.take_open(pipe) else { return false };
        // Watching tasks hold the file open until they complete, and this completes them. It fails
        // when the peer has reset the connection, and then they have completed already.
        let _ = shutdown(open.stream.as_raw_fd(), Shutdown::Both);
        true
    }

    /// Waits for more from what was read in this turn and is still open.
    pub(super) fn rearm_all(&mut self) {
        let mut rearm = std::mem::take(&mut self.rearm);
        for pipe in rearm.drain(..) {
            if let Some(open) = self.pipes.open(pipe) {
                self.events.on_readable(Event::Readable(pipe), &open.stream);
            } else {
                self.rearm_head(pipe);
            }
        }
        self.rearm = rearm;
    }
}
