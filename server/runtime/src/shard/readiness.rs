//! One epoll set holds everything that a shard waits for; the runtime sleeps on the set.
//!
//! An idle connection costs no user memory here, and waiting for it again costs no system call:
//! sockets stay in the set, level-triggered, until they are closed. A wait of the runtime for each
//! connection would be a task and two boxes while it is idle, and a submission per read.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use monoio::net::UnixStream;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use throng_engine::PipeId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Listener,
    Bell,
    Alarm,
    Pipe(PipeId),
}

/// The slot of sources other than pipes; descriptors run out long before a pipe has it.
const NO_PIPE: u32 = u32::MAX;

impl Source {
    fn data(self) -> EventData {
        let (slot, generation) = match self {
            Source::Listener => (NO_PIPE, 0),
            Source::Bell => (NO_PIPE, 1),
            Source::Alarm => (NO_PIPE, 2),
            Source::Pipe(pipe) => (pipe.slot, pipe.generation),
        };
        EventData::new_u64(u64::from(generation) << 32 | u64::from(slot))
    }

    fn of(data: EventData) -> Source {
        let (slot, generation) = (data.u64() as u32, (data.u64() >> 32) as u32);
        match (slot, generation) {
            (NO_PIPE, 0) => Source::Listener,
            (NO_PIPE, 1) => Source::Bell,
            (NO_PIPE, _) => Source::Alarm,
            _ => Source::Pipe(PipeId { slot, generation }),
        }
    }
}

/// What a pipe is watched for, besides its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) is_read: bool,
    pub(super) is_written: bool,
}

impl Interest {
    pub(super) const READ: Interest = Interest { is_read: true, is_written: false };
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) source: Source,
    /// A read will not block: there are bytes, an end or an error.
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
    /// The connection has failed, or both of its sides are shut.
    pub(super) is_broken: bool,
}

pub(super) struct Readiness {
    set: OwnedFd,
    /// The set as a type that the runtime can wait for; this one stores no addresses.
    watched: UnixStream,
    found: Vec<epoll::Event>,
    found_max: usize,
}

impl Readiness {
    /// `found_max`: sources reported in one turn.
    pub(super) fn new(found_max: usize) -> io::Result<Readiness> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        let duplicate = set.as_fd().try_clone_to_owned()?;
        let watched = UnixStream::from_std(std::os::unix::net::UnixStream::from(duplicate))?;
        Ok(Readiness { set, watched, found: Vec::with_capacity(found_max), found_max })
    }

    /// Reports `source` whenever it is readable. Closing its descriptor takes it out again.
    pub(super) fn add(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        // New connections are accepted until there are none, unless accepting has to pause: a
        // listener that stays ready must not keep the shard awake.
        let edge = if source == Source::Listener { EventFlags::ET } else { EventFlags::empty() };
        Ok(epoll::add(&self.set, fd, source.data(), EventFlags::IN | edge)?)
    }

    /// Takes out a descriptor that lives on elsewhere.
    pub(super) fn remove(&self, fd: impl AsFd) {
        // It may never have been added.
        let _ = epoll::delete(&self.set, fd);
    }

    /// Changes what a pipe is watched for.
    pub(super) fn watch(&self, fd: impl AsFd, pipe: PipeId, interest: Interest) -> io::Result<()> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, interest.is_read);
        flags.set(EventFlags::OUT, interest.is_written);
        Ok(epoll::modify(&self.set, fd, Source::Pipe(pipe).data(), flags)?)
    }

    /// Collects what is ready now. True if anything is, or was found earlier and not taken.
    pub(super) fn look(&mut self) -> bool {
        if self.found.is_empty() {
            self.found.reserve(self.found_max);
            let spare = rustix::buffer::spare_capacity(&mut self.found);
            // After an interruption nothing is found, and the runtime waits next.
            let _ = epoll::wait(&self.set, spare, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        }
        !self.found.is_empty()
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Ready> + '_ {
        self.found.drain(..).map(|event| {
            let flags = event.flags;
            Ready {
                source: Source::of(event.data),
                is_readable: flags != EventFlags::OUT,
                is_writable: flags.contains(EventFlags::OUT),
                is_broken: flags.intersects(EventFlags::ERR | EventFlags::HUP),
            }
        })
    }

    /// Sleeps until anything is ready.
    pub(super) async fn sleep(&self) {
        // An error shows again in the system call that follows.
        let _ = self.watched.readable(false).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_the_way_through_the_kernel() {
        let pipe = |slot, generation| Source::Pipe(PipeId { slot, generation });
        for source in [
            Source::Listener,
            Source::Bell,
            Source::Alarm,
            pipe(0, 0),
            pipe(7, u32::MAX),
            pipe(u32::MAX - 1, 1),
        ] {
            assert_eq!(Source::of(source.data()), source);
        }
    }
}
