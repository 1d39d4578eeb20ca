//! A set of epoll holds everything that a shard waits for; the runtime sleeps on the set.
//!
//! Pipes whose users are not known, or have caused much lately, are in a set of their own inside it. The kernel reports what is ready in turn, so
//! that thousands of strangers who always send would else stand between the others and their turn.
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
    /// The set of the pipes whose users are not known.
    Anonymous,
    Pipe(PipeId),
}

/// Which set a pipe is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Group {
    #[default]
    Anonymous,
    Identified,
}

/// The slot of sources other than pipes; descriptors run out long before a pipe has it.
const NO_PIPE: u32 = u32::MAX;

impl Source {
    fn data(self) -> EventData {
        let (slot, generation) = match self {
            Source::Listener => (NO_PIPE, 0),
            Source::Bell => (NO_PIPE, 1),
            Source::Alarm => (NO_PIPE, 2),
            Source::Anonymous => (NO_PIPE, 3),
            Source::Pipe(pipe) => (pipe.slot, pipe.generation),
        };
        EventData::new_u64(u64::from(generation) << 32 | u64::from(slot))
    }

    fn of(data: EventData) -> Source {
        let (slot, generation) = (data.u64() as u32, (data.u64() >> 32) as u32);
        match (slot, generation) {
            (NO_PIPE, 0) => Source::Listener,
            (NO_PIPE, 1) => Source::Bell,
            (NO_PIPE, 2) => Source::Alarm,
            (NO_PIPE, _) => Source::Anonymous,
            _ => Source::Pipe(PipeId { slot, generation }),
        }
    }
}

/// Pipes whose users are not known that are reported in one turn: no more than can be read in their share of it.
const ANONYMOUS_FOUND_MAX: usize = 64;

/// What a pipe is watched for, besides its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) is_read: bool,
    pub(super) is_written: bool,
}

impl Interest {
    pub(super) const READ: Interest = Interest { is_read: true, is_written: false };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.is_read);
        flags.set(EventFlags::OUT, self.is_written);
        flags
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) source: Source,
    /// The set that it was found in.
    pub(super) group: Group,
    /// A read will not block: there are bytes, an end or an error.
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
    /// The connection has failed, or both of its sides are shut.
    pub(super) is_broken: bool,
}

/// One set, and what was found in it and not taken.
struct Set {
    fd: OwnedFd,
    found: Vec<epoll::Event>,
    found_max: usize,
}

impl Set {
    fn new(found_max: usize) -> io::Result<Set> {
        let fd = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Set { fd, found: Vec::with_capacity(found_max), found_max })
    }

    /// Collects what is ready now, unless something is left.
    fn look(&mut self) {
        if self.found.is_empty() {
            self.found.reserve(self.found_max);
            let spare = rustix::buffer::spare_capacity(&mut self.found);
            // After an interruption nothing is found, and the runtime waits next.
            let _ = epoll::wait(&self.fd, spare, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        }
    }

    fn take(&mut self, group: Group) -> impl Iterator<Item = Ready> + '_ {
        self.found.drain(..).map(move |event| {
            let flags = event.flags;
            Ready {
                source: Source::of(event.data),
                group,
                is_readable: flags != EventFlags::OUT,
                is_writable: flags.contains(EventFlags::OUT),
                is_broken: flags.intersects(EventFlags::ERR | EventFlags::HUP),
            }
        })
    }
}

pub(super) struct Readiness {
    /// Everything but the pipes in the other set.
    all: Set,
    anonymous: Set,
    /// The set as a type that the runtime can wait for; this one stores no addresses.
    watched: UnixStream,
}

impl Readiness {
    /// `found_max`: sources reported in one turn.
    pub(super) fn new(found_max: usize) -> io::Result<Readiness> {
        let all = Set::new(found_max)?;
        let anonymous = Set::new(ANONYMOUS_FOUND_MAX.min(found_max))?;
        epoll::add(&all.fd, &anonymous.fd, Source::Anonymous.data(), EventFlags::IN)?;
        let duplicate = all.fd.as_fd().try_clone_to_owned()?;
        let watched = UnixStream::from_std(std::os::unix::net::UnixStream::from(duplicate))?;
        Ok(Readiness { all, anonymous, watched })
    }

    /// Reports `source` whenever it is readable. Closing its descriptor takes it out again.
    pub(super) fn add(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        // New connections are accepted until there are none, unless accepting has to pause: a
        // listener that stays ready must not keep the shard awake.
        let edge = if source == Source::Listener { EventFlags::ET } else { EventFlags::empty() };
        Ok(epoll::add(&self.all.fd, fd, source.data(), EventFlags::IN | edge)?)
    }

    /// Reports a pipe whose user is not known whenever it is readable.
    pub(super) fn add_pipe(&self, fd: impl AsFd, pipe: PipeId) -> io::Result<()> {
        let set = self.set(Group::Anonymous);
        Ok(epoll::add(set, fd, Source::Pipe(pipe).data(), EventFlags::IN)?)
    }

    /// Takes out a pipe whose user is not known, and that lives on elsewhere.
    pub(super) fn remove(&self, fd: impl AsFd) {
        // It may never have been added.
        let _ = epoll::delete(self.set(Group::Anonymous), fd);
    }

    /// Changes what a pipe is watched for.
    pub(super) fn watch(
        &self,
        fd: impl AsFd,
        pipe: PipeId,
        interest: Interest,
        group: Group,
    ) -> io::Result<()> {
        Ok(epoll::modify(self.set(group), fd, Source::Pipe(pipe).data(), interest.flags())?)
    }

    /// Puts a pipe into the other set.
    pub(super) fn regroup(
        &self,
        fd: impl AsFd,
        pipe: PipeId,
        interest: Interest,
        group: Group,
    ) -> io::Result<()> {
        let old = match group {
            Group::Anonymous => Group::Identified,
            Group::Identified => Group::Anonymous,
        };
        epoll::delete(self.set(old), &fd)?;
        Ok(epoll::add(self.set(group), fd, Source::Pipe(pipe).data(), interest.flags())?)
    }

    fn set(&self, group: Group) -> &OwnedFd {
        match group {
            Group::Anonymous => &self.anonymous.fd,
            Group::Identified => &self.all.fd,
        }
    }

    /// Collects what is ready now. True if anything is, or was found earlier and not taken.
    pub(super) fn look(&mut self) -> bool {
        self.all.look();
        let anonymous = Source::Anonymous.data().u64();
        if self.all.found.iter().any(|event| event.data.u64() == anonymous) {
            self.anonymous.look();
        }
        !self.all.found.is_empty()
    }

    /// What was found, with the pipes whose users are not known or without them.
    pub(super) fn take(&mut self, with_anonymous: bool) -> impl Iterator<Item = Ready> + '_ {
        let anonymous = with_anonymous.then(|| self.anonymous.take(Group::Anonymous));
        self.all.take(Group::Identified).chain(anonymous.into_iter().flatten())
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
            Source::Anonymous,
            pipe(0, 0),
            pipe(7, u32::MAX),
            pipe(u32::MAX - 1, 1),
        ] {
            assert_eq!(Source::of(source.data()), source);
        }
    }

    #[monoio::test(driver = "legacy")]
    async fn strangers_that_are_always_ready_hide_nobody() {
        use std::io::Write;
        use std::os::unix::net::UnixStream as Pair;

        const STRANGERS: u32 = 1000;
        let mut readiness = Readiness::new(16).expect("descriptors are free");
        let mut ends = Vec::new();
        for slot in 0..=STRANGERS {
            let (ours, mut theirs) = Pair::pair().expect("descriptors are free");
            readiness.add_pipe(&ours, PipeId { slot, generation: 0 }).expect("it is new");
            theirs.write_all(b"x").expect("it is open");
            ends.push((ours, theirs));
        }
        let known = PipeId { slot: STRANGERS, generation: 0 };
        let (ours, _) = &ends[STRANGERS as usize];
        let groups = |readiness: &mut Readiness| {
            assert!(readiness.look());
            let found: Vec<Ready> = readiness.take(true).collect();
            assert!(found.len() <= 32, "{}", found.len());
            let is_known = |ready: &&Ready| ready.source == Source::Pipe(known);
            found.iter().find(is_known).map(|ready| ready.group)
        };
        let to = Interest::READ;
        readiness.regroup(ours, known, to, Group::Identified).expect("it is in the other set");
        for _ in 0..8 {
            assert_eq!(groups(&mut readiness), Some(Group::Identified), "it is found at once");
        }
        let none = Interest { is_read: false, is_written: false };
        readiness.watch(ours, known, none, Group::Identified).expect("it is in the set");
        assert_eq!(groups(&mut readiness), None);
        readiness.regroup(ours, known, to, Group::Anonymous).expect("it is in the other set");
        let turns = STRANGERS as usize / 16 + 2;
        assert!((0..turns).any(|_| groups(&mut readiness) == Some(Group::Anonymous)));
    }
}
