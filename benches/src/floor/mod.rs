//! The floor: what a broadcast costs when there is no server around it.
//!
//! A plain WebSocket broadcaster on one thread and epoll. It does nothing but write a prepared frame
//! to every connection, either once per message ([`Sending::PerMessage`], the bare `send()` floor) or
//! once per turn of its loop with all frames of the turn ([`Sending::PerTurn`], the floor of any
//! server that coalesces, and the hardest push a generator can get).

mod connection;

use std::net::TcpListener;
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use throng_loadgen::frame::{self, Head};

use connection::Connection;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sending {
    #[default]
    PerMessage,
    PerTurn,
}

const LISTENER: u64 = u64::MAX;

/// Serves until the process is killed.
///
/// # Errors
/// The listener or epoll fails.
pub fn serve(listener: &TcpListener, sending: Sending) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll")?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut slots: Vec<Option<Connection>> = Vec::new();
    let mut vacant: Vec<usize> = Vec::new();
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut buffer = vec![0; 256 << 10];
    let mut frames = Vec::new();
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        frames.clear();
        for event in &events[..ready] {
            if event.data() == LISTENER {
                accept(listener, &epoll, &mut slots, &mut vacant)?;
                continue;
            }
            let slot = event.data() as usize;
            let Some(connection) = &mut slots[slot] else { continue };
            let before = frames.len();
            let is_open = connection.read(&mut buffer, &mut frames) && connection.flush();
            if sending == Sending::PerMessage {
                broadcast_each(&mut slots, &frames[before..]);
            }
            if !is_open {
                slots[slot] = None;
                vacant.push(slot);
            }
        }
        if sending == Sending::PerTurn && !frames.is_empty() {
            slots.iter_mut().flatten().for_each(|connection| connection.send(&frames));
        }
        watch(&epoll, &mut slots)?;
    }
}

fn broadcast_each(slots: &mut [Option<Connection>], mut frames: &[u8]) {
    while let Head::Frame { header, len, .. } = frame::head(frames) {
        let (frame, rest) = frames.split_at(header + len);
        slots.iter_mut().flatten().for_each(|connection| connection.send(frame));
        frames = rest;
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    slots: &mut Vec<Option<Connection>>,
    vacant: &mut Vec<usize>,
) -> anyhow::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let slot = vacant.pop().unwrap_or_else(|| {
            slots.push(None);
            slots.len() - 1
        });
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))?;
        slots[slot] = Some(Connection::new(stream));
    }
    Ok(())
}

/// Watches full sockets until they can be written again.
fn watch(epoll: &Epoll, slots: &mut [Option<Connection>]) -> anyhow::Result<()> {
    for (slot, connection) in slots.iter_mut().enumerate() {
        let Some(connection) = connection else { continue };
        if connection.is_watched != connection.is_full() {
            connection.is_watched = connection.is_full();
            let mut flags = EpollFlags::EPOLLIN;
            flags.set(EpollFlags::EPOLLOUT, connection.is_watched);
            epoll.modify(connection.stream.as_fd(), &mut EpollEvent::new(flags, slot as u64))?;
        }
    }
    Ok(())
}
