//! Items of other shards and of the HTTP thread.

use throng_engine::{App, HandshakeRefusal, Input, ShardId, Sid};
use throng_wire::http::Peer;

use super::pipe::Pipe;
use super::turn::Worker;
use crate::link::{ToShard, Upgraded};

/// Items of the HTTP thread taken in one turn.
const INBOX_PER_TURN: usize = 256;
/// Requests taken in one turn, of all peers.
const REQUESTS_PER_TURN: usize = 1024;

impl<A: App> Worker<A> {
    /// Counts the free slots: the engine never emits more than that in this turn.
    pub(super) fn measure_lanes(&mut self) {
        let slots = &mut self.slots;
        let count = |free: usize| u32::try_from(free).unwrap_or(u32::MAX);
        slots.requests.clear();
        slots
            .requests
            .extend(self.lane_ends.requests_out.iter().map(|lane| count(lane.free_slots())));
        slots.deliveries.clear();
        slots
            .deliveries
            .extend(self.lane_ends.deliveries_out.iter().map(|lane| count(lane.free_slots())));
        slots.signals = count(self.channels.signals.capacity());
        slots.commands = count(crate::link::COMMANDS_MAX - self.commands_unanswered);
    }

    pub(super) fn take_replies(&mut self) {
        while let Ok(reply) = self.channels.replies.try_recv() {
            self.commands_unanswered -= 1;
            self.shard.step(Input::Reply(reply), &mut self.effects);
        }
    }

    pub(super) fn take_inbox(&mut self) {
        for _ in 0..INBOX_PER_TURN {
            let Ok(item) = self.channels.inbox.try_recv() else { return };
            let input = match item {
                ToShard::Http { poll, request, body, is_identified, answer } => {
                    let sid = request.sid.as_deref().and_then(Sid::parse);
                    let names_user = sid.is_some_and(|sid| self.shard.names_identified(&sid));
                    is_identified.set(names_user);
                    self.polls.insert(poll, answer);
                    Input::Http { poll, request, body }
                }
                ToShard::Body { poll, bytes, is_last, taken } => {
                    let input = Input::Body { poll, bytes: &bytes, is_last };
                    self.shard.step(input, &mut self.effects);
                    // The client may have closed its connection.
                    let _ = taken.send(());
                    continue;
                }
                ToShard::HttpGone { poll } => {
                    self.polls.remove(&poll);
                    Input::HttpGone { poll }
                }
                ToShard::HasSession { request, answer } => {
                    let has_session = self.shard.has_session(&request);
                    if !has_session {
                        let why = HandshakeRefusal::UnknownSid;
                        self.config.policy.refusals.note(request.peer, why);
                    }
                    // The client may have closed its connection.
                    let _ = answer.send(has_session);
                    continue;
                }
                ToShard::Upgraded(upgraded) => {
                    self.take_upgraded(*upgraded);
                    continue;
                }
                ToShard::IsIdentified { sid, answer } => {
                    // The client may have closed its connection.
                    let _ = answer.send(self.shard.names_identified(&sid));
                    continue;
                }
                ToShard::Accepted(stream) => {
                    if !self.is_stopping {
                        self.admit(stream.into(), Peer { socket: None, proxied: None });
                    }
                    continue;
                }
                ToShard::Notice(notice) => Input::Notice(notice),
                ToShard::Stop => {
                    self.stop_accepting();
                    Input::Stop
                }
                ToShard::Exit => {
                    self.is_ending = true;
                    return;
                }
            };
            self.shard.step(input, &mut self.effects);
        }
    }

    fn take_upgraded(&mut self, upgraded: Upgraded) {
        let Upgraded { stream, permit, accept, request, mut leftover } = upgraded;
        let pipe = self.connections.insert_pipe(Pipe::new(stream, permit));
        let open = self.connections.pipe(pipe).expect("it was inserted above");
        if let Err(error) = self.readiness.add_pipe(&open.stream, pipe) {
            tracing::warn!(%error, "an upgraded connection could not be watched");
            self.connections.take_pipe(pipe);
            return self.connections.release(pipe);
        }
        let input = Input::Upgrade { pipe, accept, request };
        self.shard.step(input, &mut self.effects);
        if !leftover.is_empty() {
            self.shard.step(Input::Bytes { pipe, bytes: &mut leftover }, &mut self.effects);
        }
    }

    /// A delivery never needs a slot of a lane, so all of them are taken.
    pub(super) fn take_deliveries(&mut self) {
        for (from, lane) in self.lane_ends.deliveries_in.iter_mut().enumerate() {
            // Deliveries pushed from now on are for the next turn, so that this one is bounded.
            for _ in 0..lane.len() {
                let delivery = lane.pop().expect("only this shard takes from the lane");
                let from = ShardId(from as u8);
                self.shard.step(Input::Delivery { from, delivery }, &mut self.effects);
            }
        }
    }

    /// Takes requests, one of each peer in turn, while their worst-case fan-out fits.
    pub(super) fn take_requests(&mut self) {
        self.is_stalled = false;
        let peers = self.lane_ends.requests_in.len();
        let mut empty_in_a_row = 0;
        for _ in 0..REQUESTS_PER_TURN {
            if !self.shard.takes_requests() {
                self.is_stalled = self.lane_ends.requests_in.iter().any(|lane| !lane.is_empty());
                return;
            }
            let request = loop {
                let from = self.next_peer;
                self.next_peer = (from + 1) % peers;
                match self.lane_ends.requests_in[from].pop() {
                    Some(request) => break Some((ShardId(from as u8), request)),
                    None if empty_in_a_row == peers => break None,
                    None => empty_in_a_row += 1,
                }
            };
            let Some((from, request)) = request else { return };
            empty_in_a_row = 0;
            self.shard.step(Input::Request { from, request }, &mut self.effects);
        }
    }
}
