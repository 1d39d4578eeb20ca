//! Shards with tiny lanes, and clients that speak WebSocket to them.

use std::convert::Infallible;

use throng_engine::{App, Eio, PipeEnd, Settings, Shard, Transport};
use throng_world::{Client, World, request};

pub struct Net<A: App<Command = Infallible>> {
    world: World<A, ()>,
    /// Connections, and whether they are open.
    clients: Vec<(Client, bool)>,
}

/// A packet and the client that received it.
pub type Received = (usize, String);

impl<A: App<Command = Infallible>> Net<A> {
    pub fn new(shards: usize, lane_max: usize, app: &A::Settings) -> Net<A> {
        let lane_max = lane_max as u32;
        let settings = Settings { own_lane_max: lane_max, ..Settings::default() };
        let mut world = World::start(shards as u8, lane_max, &settings, app, ());
        world.checks_steps = true;
        Net { world, clients: Vec::new() }
    }

    /// Opens a WebSocket to a shard; returns the client's index. It sends CONNECT in the next turn if
    /// its protocol has that.
    pub fn connect(&mut self, shard: usize, eio: Eio) -> usize {
        let client = self.open(shard, eio);
        if eio == Eio::V4 {
            self.send(client, "40");
        }
        client
    }

    /// Opens a WebSocket to a shard; returns the client's index.
    pub fn open(&mut self, shard: usize, eio: Eio) -> usize {
        let client = self.world.upgrade(shard, request(Transport::Websocket, eio));
        self.clients.push((client, true));
        self.clients.len() - 1
    }

    pub fn send(&mut self, client: usize, packet: &str) {
        self.world.send_quietly(self.clients[client].0, packet);
    }

    pub fn close(&mut self, client: usize) {
        let (pipe, is_open) = &mut self.clients[client];
        *is_open = false;
        self.world.close_quietly(*pipe, PipeEnd::Eof);
    }

    pub fn is_open(&self, client: usize) -> bool {
        self.clients[client].1
    }

    pub fn pass(&mut self, ms: u64) {
        self.world.now = self.world.now.plus_ms(ms);
    }

    /// Seconds since the start.
    pub fn world_s(&self) -> u64 {
        self.world.now.0 / 1_000_000_000 - 1
    }

    /// One turn, and what the clients have received since the last.
    pub fn turn(&mut self, index: usize) -> Vec<Received> {
        self.pass(1);
        self.world.turn(index);
        self.received()
    }

    /// Turns until nothing moves; `each` gets what clients receive.
    pub fn drain(&mut self, mut each: impl FnMut(usize, &str)) {
        self.world.advance(10);
        self.received().iter().for_each(|(client, packet)| each(*client, packet));
    }

    fn received(&mut self) -> Vec<Received> {
        let mut received = Vec::new();
        for (index, (client, _)) in self.clients.iter().enumerate() {
            received.extend(self.world.take(*client).into_iter().map(|packet| (index, packet)));
        }
        received
    }

    pub fn shards(&self) -> impl Iterator<Item = &Shard<A>> {
        self.world.shards()
    }

    pub fn are_lanes_empty(&self) -> bool {
        self.world.is_drained()
    }
}
