//! Bytes of open pipes, through one buffer for all of them.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use throng_engine::{App, Input, PipeEnd, PipeId};

use super::turn::Worker;

/// Bytes read in one turn; then their effects are sent.
const READ_BYTES_PER_TURN: usize = 4 * 1024 * 1024;

impl<A: App> Worker<A> {
    /// Reads each ready pipe once, up to the bounds of a turn; the rest stay ready. A pipe with more
    /// to read is reported again.
    pub(super) fn read_ready(&mut self) {
        self.read_bytes = 0;
        for _ in 0..self.ready.len() {
            if self.read_bytes >= READ_BYTES_PER_TURN {
                return;
            }
            let pipe = self.ready.pop_front().expect("it was counted above");
            if self.pipes.is_head(pipe) {
                self.read_head(pipe);
            } else {
                self.read_open(pipe);
            }
        }
    }

    fn read_open(&mut self, pipe: PipeId) {
        // The pipe may have ended since it was ready.
        let Some(open) = self.pipes.open(pipe) else { return };
        match recv(open.stream.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => self.end_now(pipe, PipeEnd::Eof),
            Ok(count) => {
                self.read_bytes += count;
                let bytes = &mut self.buffer[..count];
                self.shard.step(Input::Bytes { pipe, bytes }, &mut self.effects);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.end_now(pipe, PipeEnd::Failed),
        }
    }

    fn end_now(&mut self, pipe: PipeId, end: PipeEnd) {
        self.pipes.take_open(pipe);
        self.shard.step(Input::PipeClosed { pipe, end }, &mut self.effects);
        self.pipes.release(pipe);
    }

    /// Closes a pipe outside of the step part of a turn; the engine learns of it in the next turn.
    pub(super) fn end_later(&mut self, pipe: PipeId, end: PipeEnd) {
        if self.pipes.take_open(pipe).is_some() {
            self.gone.push((pipe, end));
        }
    }

    pub(super) fn report_gone(&mut self) {
        for (pipe, end) in std::mem::take(&mut self.gone) {
            self.shard.step(Input::PipeClosed { pipe, end }, &mut self.effects);
            self.pipes.release(pipe);
        }
    }
}
