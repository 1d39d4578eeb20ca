//! The sending side of every lane during one turn, with the room each still has.

use std::collections::VecDeque;

use super::lane::{Delivery, Request};
use crate::cluster::Signal;
use crate::effect::{Command, Effects, LaneSlots};
use crate::ids::ShardId;

pub(crate) struct Lanes {
    own: ShardId,
    own_max: u32,
    room: LaneSlots,
    /// The lanes from this shard to itself.
    own_requests: VecDeque<Request>,
    own_deliveries: VecDeque<Delivery>,
    out: Effects,
}

/// A lane was full; the item comes back.
#[derive(Debug)]
pub(crate) struct Full<T>(pub(crate) T);

impl Lanes {
    pub(crate) fn new(own: ShardId, shards: u8, own_max: u32) -> Lanes {
        let room = LaneSlots {
            requests: vec![0; usize::from(shards)],
            deliveries: vec![0; usize::from(shards)],
            commands: 0,
            signals: 0,
        };
        Lanes {
            own,
            own_max,
            room,
            own_requests: VecDeque::new(),
            own_deliveries: VecDeque::new(),
            out: Effects::default(),
        }
    }

    pub(crate) fn begin(&mut self, room: &LaneSlots) {
        self.room.clone_from(room);
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.room.requests.len()).map(|index| ShardId(index as u8))
    }

    pub(crate) fn request(&mut self, to: ShardId, request: Request) -> Result<(), Full<Request>> {
        if to == self.own {
            if self.own_requests.len() >= self.own_max as usize {
                return Err(Full(request));
            }
            self.own_requests.push_back(request);
            return Ok(());
        }
        let room = &mut self.room.requests[usize::from(to.0)];
        if *room == 0 {
            return Err(Full(request));
        }
        *room -= 1;
        self.out.requests.push((to, request));
        Ok(())
    }

    /// Free slots towards an edge.
    pub(crate) fn delivery_room(&self, to: ShardId) -> u32 {
        if to == self.own {
            return self.own_max.saturating_sub(self.own_deliveries.len() as u32);
        }
        self.room.deliveries[usize::from(to.0)]
    }

    /// Free slots towards the fullest edge.
    pub(crate) fn delivery_room_min(&self) -> u32 {
        self.shards().map(|to| self.delivery_room(to)).min().unwrap_or(0)
    }

    /// The caller has asked for room before.
    pub(crate) fn deliver(&mut self, to: ShardId, delivery: Delivery) {
        if to == self.own {
            self.own_deliveries.push_back(delivery);
            return;
        }
        let room = &mut self.room.deliveries[usize::from(to.0)];
        *room = room.checked_sub(1).expect("home asks for delivery room before it delivers");
        self.out.deliveries.push((to, delivery));
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<(), Full<Command>> {
        if self.room.commands == 0 {
            return Err(Full(command));
        }
        self.room.commands -= 1;
        self.out.commands.push(command);
        Ok(())
    }

    /// Free slots for signals.
    pub(crate) fn signal_room(&self) -> u32 {
        self.room.signals
    }

    /// The caller has asked for room before.
    pub(crate) fn signal(&mut self, signal: Signal) {
        let room = &mut self.room.signals;
        *room = room.checked_sub(1).expect("whoever signals asks for room before");
        self.out.signals.push(signal);
    }

    pub(crate) fn next_own_request(&mut self) -> Option<Request> {
        self.own_requests.pop_front()
    }

    pub(crate) fn has_own_requests(&self) -> bool {
        !self.own_requests.is_empty()
    }

    pub(crate) fn next_own_delivery(&mut self) -> Option<Delivery> {
        self.own_deliveries.pop_front()
    }

    pub(crate) fn log(&mut self, line: crate::LogLine) {
        self.out.logs.push(line);
    }

    pub(crate) fn drain_into(&mut self, effects: &mut Effects) {
        effects.requests.append(&mut self.out.requests);
        effects.deliveries.append(&mut self.out.deliveries);
        effects.commands.append(&mut self.out.commands);
        effects.signals.append(&mut self.out.signals);
        effects.logs.append(&mut self.out.logs);
    }
}
