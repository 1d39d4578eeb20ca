//! Bytes of open pipes, through one buffer for all of them.
//!
//! Sessions whose users are known, and have not caused much lately, are read first. What the others send gets a share
//! of a turn, and the pipes that are left over are the first in the next one: however many of them send, those before
//! them wait no longer than that share, and each of them has its turn.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use throng_engine::{App, Input, Now, PipeEnd, PipeId};

use super::turn::Worker;

/// Bytes read in one turn; then their effects are sent.
const READ_BYTES_PER_TURN: usize = 4 * 1024 * 1024;
/// Pipes that are ready behind the one that is read: then each is read a little at a time.
const CROWD: usize = 8;
const CROWDED_READ_BYTES: usize = 1024;
/// Bytes read at once from a pipe whose user is not known, or has caused much lately.
const ANONYMOUS_READ_BYTES: usize = 16 * 1024;
/// So many of them are read in any turn.
const ANONYMOUS_READS_MIN: usize = 2;
/// Share of a turn for reading such pipes, and as much again for sending to them.
pub(super) const ANONYMOUS_NS_PER_TURN: u64 = 500_000;

impl<A: App> Worker<A> {
    /// Reads each ready pipe once, up to the bounds of a turn. A pipe with more to read is reported again.
    pub(super) fn read_ready(&mut self) {
        self.read_bytes = 0;
        while self.read_bytes < READ_BYTES_PER_TURN {
            let Some(pipe) = self.identified.pop_front() else { break };
            if !self.shard.is_preferred(pipe) {
                // Another pipe of its user was read before it, and had much to say.
                self.anonymous.push_back(pipe);
                continue;
            }
            let is_crowded = self.identified.len() >= CROWD;
            self.read_open(pipe, if is_crowded { CROWDED_READ_BYTES } else { self.buffer.len() });
        }
        let begun = self.config.clock.now();
        // A head may be read again at once, after an interruption: in the next turn.
        for _ in 0..self.new_heads.len() {
            let Some(pipe) = self.new_heads.pop_front() else { break };
            // It may have been dropped since: its time was over, or the server is stopping.
            if self.connections.is_head(pipe) {
                self.read_head(pipe);
            }
            if self.is_share_over(begun) {
                break;
            }
        }
        // Some, also when the share went to new connections.
        let mut reads = 0;
        while reads < ANONYMOUS_READS_MIN || !self.is_share_over(begun) {
            let Some(pipe) = self.anonymous.pop_front() else { break };
            reads += 1;
            if self.connections.is_head(pipe) {
                self.read_head(pipe);
            } else {
                self.read_open(pipe, ANONYMOUS_READ_BYTES);
            }
        }
    }

    pub(super) fn is_share_over(&self, begun: Now) -> bool {
        self.config.clock.now().since(begun) >= ANONYMOUS_NS_PER_TURN
    }

    /// Reads at most `most` bytes.
    fn read_open(&mut self, pipe: PipeId, most: usize) {
        let Some(open) = self.connections.pipe(pipe) else { return }; // It ended in this turn.
        let is_shut = open.dropped_max.is_some();
        if !is_shut && !self.shard.reads(pipe) {
            return self.watch(pipe, |interest| interest.is_read = false);
        }
        let most = most.min(self.buffer.len());
        match recv(open.stream.as_raw_fd(), &mut self.buffer[..most], MsgFlags::MSG_DONTWAIT) {
            Ok(0) => self.end_now(pipe, PipeEnd::Eof),
            Ok(count) if is_shut => self.drop_bytes(pipe, count),
            Ok(count) => {
                self.read_bytes += count;
                let bytes = &mut self.buffer[..count];
                self.shard.step(Input::Bytes { pipe, bytes }, &mut self.effects);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.end_now(pipe, PipeEnd::Failed),
        }
    }

    /// The peer goes on sending though it was sent the close of the connection.
    fn drop_bytes(&mut self, pipe: PipeId, count: usize) {
        let open = self.connections.pipe_mut(pipe).expect("it was read");
        let left = open.dropped_max.map_or(0, |most| most.saturating_sub(count));
        open.dropped_max = Some(left);
        if left == 0 {
            self.watch(pipe, |interest| interest.is_read = false);
        }
    }

    /// The connection has failed. One that is not read would report that for ever.
    pub(super) fn note_broken(&mut self, pipe: PipeId) {
        if self.connections.pipe(pipe).is_some_and(|open| !open.interest.is_read) {
            self.end_now(pipe, PipeEnd::Failed);
        }
    }

    fn end_now(&mut self, pipe: PipeId, end: PipeEnd) {
        self.connections.take_pipe(pipe);
        self.shard.step(Input::PipeClosed { pipe, end }, &mut self.effects);
        self.connections.release(pipe);
    }

    /// Closes a pipe outside of the step part of a turn; the engine learns of it in the next turn.
    pub(super) fn end_later(&mut self, pipe: PipeId, end: PipeEnd) {
        if self.connections.take_pipe(pipe).is_some() {
            self.ended_pipes.push((pipe, end));
        }
    }

    pub(super) fn report_gone(&mut self) {
        for (pipe, end) in std::mem::take(&mut self.ended_pipes) {
            self.shard.step(Input::PipeClosed { pipe, end }, &mut self.effects);
            self.connections.release(pipe);
        }
    }
}
