//! One send per pipe that has bytes.
//!
//! A send costs about as much as the bytes of fifty messages, so all pipes that have bytes are sent to
//! in a round, and each send takes everything that was queued until then. Between the sends of a large
//! room the shard goes on receiving: what comes then leaves with the rest of the round instead of
//! waiting for its end. Pipes whose users are not known have a round, and a share of each turn, of their own.
//! So have pipes for which many large frames wait: one send to each of a hundred could take a hundred milliseconds.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, send, sendmsg, shutdown};
use throng_engine::{App, Flushed, Outbox, PipeEnd, PipeId};

use super::read::ANONYMOUS_NS_PER_TURN;
use super::readiness::{Group, Interest};
use super::turn::Worker;
use crate::listen::{ANONYMOUS_RECV_BYTES, IDENTIFIED_RECV_BYTES, keep_unread};

const FLAGS: MsgFlags = MsgFlags::MSG_NOSIGNAL.union(MsgFlags::MSG_DONTWAIT);

/// Pieces offered in one send. A pipe rarely has more than one: small frames are contiguous.
const PIECES_MAX: usize = 16;

/// How long a turn sends, as a multiple of its time so far: a delivery costs a look at each member of
/// its room, and must not take the time from sending.
const SENDING_SHARE: u64 = 8;
const SENDING_NS_MIN: u64 = 250_000;
/// Sends between two looks at the clock.
const SENDS_PER_LOOK: u32 = 16;

/// A pipe for which more bytes of large frames wait is sent to after the others. Small frames are few bytes a member,
/// and all that waits of them is best sent at once.
const LONG_BYTES: usize = 64 * 1024;
/// What is sent to such a pipe before the next has its turn.
const LONG_PIECE_BYTES: usize = 256 * 1024;
/// How long a turn sends to them: at least the first, and of what the others have left up to the second, or up to
/// a multiple of its time so far: where all pipes are such, most of the time is for sending.
const LONG_NS_MIN: u64 = 1_000_000;
const LONG_NS_MAX: u64 = 8_000_000;
const LONG_SHARE: u64 = 4;

/// How long a turn closes pipes.
const CLOSING_NS_PER_TURN: u64 = 500_000;

/// How long a peer may take to close a connection whose sending side is shut.
const PEER_CLOSE_MS: u64 = 1_000;
/// What a peer may send meanwhile.
const DROPPED_BYTES_MAX: usize = 64 * 1024;

impl<A: App> Worker<A> {
    /// Closes connections that the peer has not closed in time.
    pub(super) fn end_overdue_closing(&mut self) {
        while let Some((_, pipe)) = self.closing.pop_front_if(|(due, _)| *due <= self.now) {
            self.to_close.push_back(pipe);
        }
    }

    /// Closes some of the pipes that are to be closed; the others wait for the next turn.
    pub(super) fn close_some(&mut self) {
        let begun = self.config.clock.now();
        while let Some(pipe) = self.to_close.pop_front() {
            self.end_later(pipe, PipeEnd::Failed);
            if self.config.clock.now().since(begun) >= CLOSING_NS_PER_TURN {
                return;
            }
        }
    }

    /// Sends to pipes that have bytes, unless they wait for more (`flush_linger_us`). What does not
    /// fit this turn is sent in the next one.
    pub(super) fn flush(&mut self) {
        let was_empty = !self.has_dirty();
        self.take_dirty();
        if !self.has_dirty() {
            return;
        }
        if was_empty && self.config.tuning.flush_linger_us > 0 {
            let linger_ns = u64::from(self.config.tuning.flush_linger_us) * 1000;
            self.flush_at = Some(self.now.plus_ns(linger_ns));
        }
        if self.flush_at.is_some_and(|at| at > self.now) {
            return;
        }
        self.flush_at = None;
        let begun = self.config.clock.now();
        let so_far = begun.since(self.now);
        let sending_ns = (so_far * SENDING_SHARE).max(SENDING_NS_MIN);
        self.flush_round(Group::Identified, sending_ns);
        let spent_ns = self.config.clock.now().since(begun);
        let left_ns = sending_ns - spent_ns.min(sending_ns);
        self.flush_long(left_ns.clamp(LONG_NS_MIN, LONG_NS_MAX.max(so_far * LONG_SHARE)));
        self.flush_round(Group::Anonymous, ANONYMOUS_NS_PER_TURN);
        // Those of which a piece was sent.
        self.take_dirty();
    }

    /// Takes the pipes that have had no bytes before into their queues.
    fn take_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.newly_dirty);
        self.shard.outbox().take_dirty(&mut dirty);
        for pipe in dirty.drain(..) {
            // One that has ended since is met again when its turn comes.
            let group = self.connections.pipe(pipe).map_or(Group::Anonymous, |open| open.group);
            self.dirty_of(group).push_back(pipe);
        }
        self.newly_dirty = dirty;
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.dirty_long.is_empty() || !self.dirty_anonymous.is_empty()
    }

    fn dirty_of(&mut self, group: Group) -> &mut VecDeque<PipeId> {
        match group {
            Group::Identified => &mut self.dirty,
            Group::Anonymous => &mut self.dirty_anonymous,
        }
    }

    /// Sends for about so long, unless the round is over before.
    fn flush_round(&mut self, group: Group, most_ns: u64) {
        let begun = self.config.clock.now();
        for sends in 1_u32.. {
            let Some(pipe) = self.dirty_of(group).pop_front() else { return }; // The round is over.
            if self.shard.outbox().has_large(pipe, LONG_BYTES) {
                self.shard.outbox().defer(pipe);
                self.dirty_long.push_back(pipe);
            } else {
                self.flush_pipe(pipe, usize::MAX);
            }
            if sends.is_multiple_of(SENDS_PER_LOOK)
                && self.config.clock.now().since(begun) >= most_ns
            {
                return;
            }
        }
    }

    /// Sends a piece to each of the pipes for which many large frames wait, in turn, for about so long.
    fn flush_long(&mut self, most_ns: u64) {
        let begun = self.config.clock.now();
        while let Some(pipe) = self.dirty_long.pop_front() {
            self.flush_pipe(pipe, LONG_PIECE_BYTES);
            if self.config.clock.now().since(begun) >= most_ns {
                return;
            }
        }
    }

    /// Sends what waits for the pipe, as far as its socket takes it; beyond about so many bytes the rest waits for
    /// its next turn.
    fn flush_pipe(&mut self, pipe: PipeId, most: usize) {
        // The pipe may have ended since its bytes were queued.
        let Some(open) = self.connections.pipe(pipe) else { return };
        let fd = open.stream.as_raw_fd();
        let mut left = most;
        loop {
            let outbox = self.shard.outbox();
            let (offered, sent) = match outbox.piece(pipe) {
                Some(piece) => (piece.len(), send(fd, piece, FLAGS)),
                None => send_pieces(fd, outbox, pipe, left),
            };
            let is_piece = offered >= left;
            let sent = match sent {
                Ok(sent) => sent,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => 0,
                Err(Errno::EINTR) => continue,
                Err(_) => {
                    outbox.sent(pipe, 0);
                    return self.end_later(pipe, PipeEnd::Failed);
                }
            };
            self.counters.flushes += u64::from(sent > 0);
            self.counters.bytes_out += sent as u64;
            match outbox.sent(pipe, sent) {
                Flushed::Empty => return self.watch(pipe, |interest| interest.is_written = false),
                Flushed::More if sent == offered => {
                    // The socket accepted everything, and there is more.
                    outbox.writable(pipe);
                    if is_piece {
                        return;
                    }
                    left -= sent;
                    continue;
                }
                Flushed::More => return self.watch(pipe, |interest| interest.is_written = true),
                // The peer reads the last bytes and then the end, and has some time to close its
                // side: closing with unread input would reset the connection and lose those bytes.
                Flushed::Close => {
                    if shutdown(fd, Shutdown::Write).is_err() {
                        return self.end_later(pipe, PipeEnd::Failed);
                    }
                    let open = self.connections.pipe_mut(pipe).expect("it was sent to");
                    open.dropped_max = Some(DROPPED_BYTES_MAX);
                    self.watch(pipe, |interest| *interest = Interest::READ);
                    self.closing.push_back((self.now.plus_ms(PEER_CLOSE_MS), pipe));
                    return;
                }
            }
        }
    }

    /// Changes what an open pipe is watched for.
    pub(super) fn watch(&mut self, pipe: PipeId, change: impl FnOnce(&mut Interest)) {
        let Some(open) = self.connections.pipe_mut(pipe) else { return }; // It ended in this turn.
        let old = open.interest;
        change(&mut open.interest);
        if open.interest == old {
            return;
        }
        if let Err(error) = self.readiness.watch(&open.stream, pipe, open.interest, open.group) {
            tracing::warn!(%error, "a pipe could not be watched");
            self.end_later(pipe, PipeEnd::Failed);
        }
    }

    /// Watches a pipe among those whose users are known and have not caused much lately, or among the others.
    pub(super) fn regroup(&mut self, pipe: PipeId) {
        let group =
            if self.shard.is_preferred(pipe) { Group::Identified } else { Group::Anonymous };
        let Some(open) = self.connections.pipe_mut(pipe) else { return }; // It ended in this turn.
        if open.group == group {
            return;
        }
        open.group = group;
        keep_unread(
            &open.stream,
            match group {
                Group::Identified => IDENTIFIED_RECV_BYTES,
                Group::Anonymous => ANONYMOUS_RECV_BYTES,
            },
        );
        if let Err(error) = self.readiness.regroup(&open.stream, pipe, open.interest, group) {
            tracing::warn!(%error, "a pipe could not be watched");
            self.end_later(pipe, PipeEnd::Failed);
        }
    }
}

/// Sends about so many of the bytes that wait for the pipe; returns how many there were, too.
fn send_pieces(
    fd: RawFd,
    outbox: &Outbox,
    pipe: PipeId,
    most: usize,
) -> (usize, nix::Result<usize>) {
    let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
    let count = outbox.slices(pipe, &mut pieces, most);
    let pieces = &pieces[..count];
    let offered = pieces.iter().map(|piece| piece.len()).sum();
    let sent = match pieces {
        // Nothing to send, but perhaps to close.
        [] => Ok(0),
        [only] => send(fd, only, FLAGS),
        many => sendmsg::<()>(fd, many, &[], FLAGS, None),
    };
    (offered, sent)
}
