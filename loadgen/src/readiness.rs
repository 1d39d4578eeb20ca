//! Which sockets of a thread have something to read, or space to write.
//!
//! A completion per readable socket costs a generator more than the read itself when every delivery
//! comes alone. One epoll set collects them, edge-triggered, and the runtime waits for the set.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use anyhow::Context as _;
use monoio::net::UnixStream;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Sockets taken from the set at once: few enough that messages still leave when they are due.
const BATCH: usize = 128;

pub struct Readiness {
    epoll: Epoll,
    /// A duplicate of the set's descriptor in a type the runtime can wait on; never read as a
    /// socket.
    any: UnixStream,
}

/// A socket that became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// As given to [`Readiness::watch`].
    pub key: u64,
    /// The peer will send no more: its end must be read now, no further edge announces it.
    pub is_ending: bool,
    pub is_writable: bool,
}

impl Readiness {
    /// # Errors
    /// No descriptor is available.
    pub fn new() -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll")?;
        let duplicate: OwnedFd = epoll.0.as_fd().try_clone_to_owned()?;
        Ok(Self { epoll, any: UnixStream::from_std(StdUnixStream::from(duplicate))? })
    }

    /// Watches `socket` until it is closed.
    ///
    /// # Errors
    /// The kernel rejects it.
    pub fn watch(&self, socket: impl AsFd, key: u64) -> nix::Result<()> {
        let read = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
        let flags = read | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        self.epoll.add(socket, EpollEvent::new(flags, key))
    }

    /// Waits until some sockets are ready and appends them to `ready`.
    ///
    /// # Errors
    /// The set cannot be waited for.
    pub async fn wait(&self, ready: &mut Vec<Ready>) -> anyhow::Result<()> {
        self.any.readable(false).await?;
        let mut events = [EpollEvent::empty(); BATCH];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let ending = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        ready.extend(events[..count].iter().map(|event| Ready {
            key: event.data(),
            is_ending: event.events().intersects(ending),
            is_writable: event.events().contains(EpollFlags::EPOLLOUT),
        }));
        Ok(())
    }
}
