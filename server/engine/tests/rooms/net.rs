//! Shards driven by hand through tiny lanes, and clients that speak WebSocket to them.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};

use throng_engine::{
    Accept, App, Effects, Eio, Endpoint, EngineRequest, Input, LaneSlots, Method, Now, PipeEnd,
    PipeId, Place, Seed, Settings, Shard, ShardId, Transport,
};
use throng_wire::ws;

const MASK: [u8; 4] = [1, 2, 3, 4];

pub struct Net<A: App> {
    pub shards: Vec<Shard<A>>,
    lane_max: usize,
    /// By sender and receiver.
    requests: Vec<Vec<VecDeque<A::Request>>>,
    deliveries: Vec<Vec<VecDeque<A::Delivery>>>,
    clients: Vec<Client>,
    now: Now,
    /// What clients received with the answer to their handshake.
    unread: Vec<Received>,
}

/// One connection.
struct Client {
    shard: usize,
    pipe: PipeId,
    is_open: bool,
    /// The shard has been notified of the close.
    is_gone: bool,
    /// Bytes for the shard.
    up: Vec<u8>,
}

/// A packet and the client that received it.
pub type Received = (usize, String);

fn lanes<T>(shards: usize) -> Vec<Vec<VecDeque<T>>> {
    (0..shards).map(|_| (0..shards).map(|_| VecDeque::new()).collect()).collect()
}

fn masked(text: &str) -> Vec<u8> {
    assert!(text.len() < 126, "short frames only");
    let mut frame = vec![0x81, 0x80 | text.len() as u8];
    frame.extend(MASK);
    frame.extend(text.bytes().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    frame
}

impl<A: App> Net<A> {
    pub fn new(shards: usize, lane_max: usize, app: &A::Settings) -> Net<A> {
        let made = (0..shards).map(|index| {
            let seed = Seed { placement: [3; 16], random: [index as u8; 32], started_unix_ms: 0 };
            let place = Place { shard: ShardId(index as u8), shards: shards as u8, seed };
            let settings = Settings { own_lane_max: lane_max as u32, ..Settings::default() };
            Shard::new(&settings, app, &place)
        });
        Net {
            shards: made.collect(),
            lane_max,
            requests: lanes(shards),
            deliveries: lanes(shards),
            clients: Vec::new(),
            now: Now(1_000_000_000),
            unread: Vec::new(),
        }
    }

    /// Opens a WebSocket to a shard; returns the client's index. It sends CONNECT in the next turn if
    /// its protocol has that.
    pub fn connect(&mut self, shard: usize, eio: Eio) -> usize {
        let pipe = PipeId { slot: self.clients.len() as u32, generation: 1 };
        let request = EngineRequest {
            endpoint: Endpoint::SocketIo,
            method: Method::Get,
            transport: Transport::Websocket,
            eio,
            sid: None,
            b64: false,
            jsonp: None,
            token: None,
            origin_allowed: true,
            octet_stream: false,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let slots = self.slots(shard);
        let mut effects = Effects::default();
        self.shards[shard].begin(self.now, &slots);
        let accept = Accept::Write("accept".into());
        self.shards[shard].step(Input::Upgrade { pipe, accept, request }, &mut effects);
        self.shards[shard].settle(&mut effects);
        let up = if eio == Eio::V4 { masked("40") } else { Vec::new() };
        self.clients.push(Client { shard, pipe, is_open: true, is_gone: false, up });
        let (_, received) = self.apply(shard, effects);
        self.unread.extend(received);
        self.clients.len() - 1
    }

    pub fn send(&mut self, client: usize, packet: &str) {
        self.clients[client].up.extend(masked(packet));
    }

    pub fn close(&mut self, client: usize) {
        self.clients[client].is_open = false;
    }

    pub fn is_open(&self, client: usize) -> bool {
        self.clients[client].is_open
    }

    pub fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
    }

    fn slots(&self, from: usize) -> LaneSlots {
        let free = |len: usize| (self.lane_max - len) as u32;
        LaneSlots {
            requests: self.requests[from].iter().map(|lane| free(lane.len())).collect(),
            deliveries: self.deliveries[from].iter().map(|lane| free(lane.len())).collect(),
            commands: 0,
            signals: 0,
        }
    }

    /// One turn: whether anything moved, and what the clients received.
    pub fn turn(&mut self, index: usize) -> (bool, Vec<Received>) {
        self.pass(1);
        let slots = self.slots(index);
        let shard = &mut self.shards[index];
        let mut effects = Effects::default();
        let mut is_moving = false;
        shard.begin(self.now, &slots);
        for from in 0..self.deliveries.len() {
            while let Some(delivery) = self.deliveries[from][index].pop_front() {
                is_moving = true;
                let from = ShardId(from as u8);
                shard.step(Input::Delivery { from, delivery }, &mut effects);
                shard.check();
            }
        }
        for from in 0..self.requests.len() {
            while shard.takes_requests()
                && let Some(request) = self.requests[from][index].pop_front()
            {
                is_moving = true;
                let from = ShardId(from as u8);
                shard.step(Input::Request { from, request }, &mut effects);
                shard.check();
            }
        }
        for client in self.clients.iter_mut().filter(|client| client.shard == index) {
            let pipe = client.pipe;
            if !client.up.is_empty() {
                is_moving = true;
                let mut bytes = std::mem::take(&mut client.up);
                shard.step(Input::Bytes { pipe, bytes: &mut bytes }, &mut effects);
            }
            if !client.is_open && !client.is_gone {
                is_moving = true;
                client.is_gone = true;
                shard.step(Input::PipeClosed { pipe, end: PipeEnd::Eof }, &mut effects);
            }
        }
        shard.settle(&mut effects);
        shard.check();
        is_moving |= shard.next_deadline().is_some_and(|at| at <= self.now.plus_ms(1));
        let (has_effects, received) = self.apply(index, effects);
        let mut all = std::mem::take(&mut self.unread);
        all.extend(received);
        (is_moving | has_effects, all)
    }

    fn apply(&mut self, index: usize, effects: Effects<A>) -> (bool, Vec<Received>) {
        let mut is_moving = !(effects.requests.is_empty() && effects.deliveries.is_empty());
        for (to, request) in effects.requests {
            self.requests[index][usize::from(to.0)].push_back(request);
        }
        for (to, delivery) in effects.deliveries {
            self.deliveries[index][usize::from(to.0)].push_back(delivery);
        }
        for lane in self.requests[index].iter().map(VecDeque::len) {
            assert!(lane <= self.lane_max, "a request lane holds {lane}");
        }
        for lane in self.deliveries[index].iter().map(VecDeque::len) {
            assert!(lane <= self.lane_max, "a delivery lane holds {lane}");
        }
        let mut received = Vec::new();
        let mut dirty = VecDeque::new();
        self.shards[index].outbox().take_dirty(&mut dirty);
        for pipe in dirty {
            let mut slices = [IoSlice::new(&[]); 8];
            let outbox = self.shards[index].outbox();
            let count = outbox.slices(pipe, &mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            outbox.sent(pipe, bytes.len());
            is_moving |= !bytes.is_empty();
            let mut clients = self.clients.iter();
            let client = clients.position(|client| client.shard == index && client.pipe == pipe);
            let client = client.expect("a pipe has a client");
            if !self.clients[client].is_gone {
                received.extend(packets(&bytes).map(|packet| (client, packet)));
            }
        }
        (is_moving, received)
    }

    /// Turns until nothing moves; `each` gets what clients receive.
    pub fn drain(&mut self, mut each: impl FnMut(usize, &str)) {
        for _ in 0..10_000 {
            let mut is_moving = false;
            for index in 0..self.shards.len() {
                let (has_moved, received) = self.turn(index);
                is_moving |= has_moved;
                received.iter().for_each(|(client, packet)| each(*client, packet));
            }
            if !is_moving {
                return;
            }
        }
        panic!("the shards never become idle");
    }

    pub fn are_lanes_empty(&self) -> bool {
        self.requests.iter().flatten().all(VecDeque::is_empty)
            && self.deliveries.iter().flatten().all(VecDeque::is_empty)
    }
}

/// The text packets in whole frames, behind the answer to the handshake if it is there. Whole frames
/// arrive: the outbox has given up all it had.
fn packets(bytes: &[u8]) -> impl Iterator<Item = String> {
    let mut rest = bytes;
    if bytes.starts_with(b"HTTP/1.1 101") {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        rest = &bytes[end.expect("a whole head") + 4..];
    }
    std::iter::from_fn(move || {
        let is_text = *rest.first()? == 0x81;
        let frame = ws::frame_at(rest, 1);
        let payload = ws::payload_of(&rest[frame.clone()]).to_vec();
        rest = &rest[frame.end..];
        let text = String::from_utf8(payload);
        Some(if is_text { text.expect("text is UTF-8") } else { "close".to_owned() })
    })
}
