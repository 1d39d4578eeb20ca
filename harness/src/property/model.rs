//! The reference model: what a correct server would have done, step by step.
//!
//! Steps are acknowledged one after another, so the model is exact, except where clients act at
//! the same moment: there the acknowledgements decide the order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::script::{Mode, ROOMS};

/// One membership of one connection: which messages it must and may have received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub room: usize,
    pub mode: Mode,
    /// Messages up to this `seq` were sent before the join was requested.
    pub after_may: u64,
    /// Every message above this `seq` must arrive.
    pub after_must: u64,
    /// How it ended; `None` while it lasts.
    pub until: Option<Until>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Left with `roomout`: every message up to this `seq` must have arrived, none above it.
    Left(u64),
    /// Left by joining another room on Engine.IO 3: no message above this `seq` may have arrived.
    Moved(u64),
    /// Connection lost: the last messages may be missing, and messages sent before the server
    /// detected the end may have arrived.
    Cut(u64),
}

#[derive(Default)]
pub struct Connection {
    pub user: usize,
    pub is_exclusive: bool,
    pub intervals: Vec<Interval>,
}

impl Connection {
    pub fn current(&self, room: usize) -> Option<&Interval> {
        self.intervals.iter().find(|interval| interval.room == room && interval.until.is_none())
    }
}

#[derive(Default)]
pub struct Model {
    pub seq: [u64; ROOMS],
    /// Live connections by number; numbers are never used again.
    pub live: BTreeMap<usize, Connection>,
    pub ended: BTreeMap<usize, Connection>,
    /// Read marks by user and room.
    pub marks: HashMap<(usize, usize), u64>,
}

impl Model {
    pub fn connect(&mut self, number: usize, user: usize, is_exclusive: bool) {
        let connection = Connection { user, is_exclusive, intervals: Vec::new() };
        self.live.insert(number, connection);
    }

    pub fn is_member(&self, number: usize, room: usize) -> bool {
        self.live.get(&number).is_some_and(|connection| connection.current(room).is_some())
    }

    pub fn members(&self, room: usize) -> Vec<usize> {
        self.live.keys().copied().filter(|&number| self.is_member(number, room)).collect()
    }

    pub fn present(&self, room: usize) -> BTreeSet<usize> {
        let users = self.live.values().filter(|connection| connection.current(room).is_some());
        users.map(|connection| connection.user).collect()
    }

    /// A join acknowledged with `after_must`, requested when `after_may` was the last message.
    pub fn join(
        &mut self,
        number: usize,
        room: usize,
        mode: Mode,
        after_may: u64,
        after_must: u64,
    ) {
        let Some(connection) = self.live.get_mut(&number) else {
            return;
        };
        if let Some(interval) =
            connection.intervals.iter_mut().find(|i| i.room == room && i.until.is_none())
        {
            interval.mode = mode;
            return;
        }
        connection.intervals.push(Interval { room, mode, after_may, after_must, until: None });
        if connection.is_exclusive {
            for other in (0..ROOMS).filter(|&other| other != room) {
                self.leave(number, other, Until::Moved);
            }
        }
    }

    /// The end of a membership.
    pub fn leave(&mut self, number: usize, room: usize, until: fn(u64) -> Until) {
        let seq = self.seq[room];
        let Some(connection) = self.live.get_mut(&number) else {
            return;
        };
        let user = connection.user;
        let Some(interval) =
            connection.intervals.iter_mut().find(|i| i.room == room && i.until.is_none())
        else {
            return;
        };
        interval.until = Some(until(seq));
        if !self.present(room).contains(&user) {
            self.marks.insert((user, room), seq);
        }
    }

    pub fn end(&mut self, number: usize) {
        for room in 0..ROOMS {
            self.leave(number, room, Until::Cut);
        }
        if let Some(connection) = self.live.remove(&number) {
            self.ended.insert(number, connection);
        }
    }

    pub fn unread(&self, user: usize, room: usize) -> u64 {
        if self.present(room).contains(&user) {
            return 0;
        }
        self.seq[room] - self.marks.get(&(user, room)).copied().unwrap_or(0)
    }
}
