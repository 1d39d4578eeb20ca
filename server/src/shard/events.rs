//! What woke the shard. A socket is watched by a small task that waits for readiness once, posts an
//! event and ends: an idle connection owns no buffer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use monoio::net::UnixStream;
use throng_core::PipeId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Readable(PipeId),
    Writable(PipeId),
    Listener,
    Bell,
    Alarm,
}

/// Shared by the turn and the watching tasks of its thread.
#[derive(Default)]
pub(super) struct Events {
    posted: RefCell<Vec<Event>>,
    turn: RefCell<Option<Waker>>,
    is_posted: Cell<bool>,
}

impl Events {
    pub(super) fn post(&self, event: Event) {
        self.posted.borrow_mut().push(event);
        self.is_posted.set(true);
        if let Some(turn) = self.turn.borrow_mut().take() {
            turn.wake();
        }
    }

    /// Moves what was posted into `into`.
    pub(super) fn take(&self, into: &mut Vec<Event>) {
        into.append(&mut self.posted.borrow_mut());
        self.is_posted.set(false);
    }

    /// Completes once something has been posted.
    pub(super) async fn posted(&self) {
        poll_fn(|cx| {
            if self.is_posted.get() {
                return Poll::Ready(());
            }
            *self.turn.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Posts `event` once `watched` is readable, has ended or has failed: the turn's own system
    /// call tells which. The task keeps the file open, so whoever closes a connection shuts it
    /// down, which completes the wait.
    pub(super) fn on_readable(self: &Rc<Self>, event: Event, watched: &Rc<UnixStream>) {
        let events = Rc::clone(self);
        let watched = Rc::clone(watched);
        monoio::spawn(async move {
            let _ = watched.readable(false).await;
            drop(watched);
            events.post(event);
        });
    }

    /// As [`Events::on_readable`], for room in the socket's send buffer.
    pub(super) fn on_writable(self: &Rc<Self>, event: Event, watched: &Rc<UnixStream>) {
        let events = Rc::clone(self);
        let watched = Rc::clone(watched);
        monoio::spawn(async move {
            let _ = watched.writable(false).await;
            drop(watched);
            events.post(event);
        });
    }
}

/// Lets the runtime look for completions and run the watching tasks before the next turn.
pub(super) async fn look_around() {
    monoio::spawn(std::future::ready(())).await;
}
