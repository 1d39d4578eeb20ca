//! Bytes in, effects out: one shard of the chat under a script. Whatever its clients send, and whether
//! they read or not, what it holds for them and does for them stays within bounds.

use std::collections::BTreeMap;

use throng_chat::Settings;
use throng_engine::{AnonymousLimits, Eio, EngineRequest, Method, PipeEnd, PollId, Transport};
use throng_world::chat::{World, hash, token};
use throng_world::{Arriving, Client, masked, request};

use crate::bounds::{Bounds, Tally};
use crate::script::{CLIENTS, Kind, Step, StoreState, steps};

/// Bytes that clients of one script send.
const SENT_MAX: usize = 2 << 20;
/// Bytes that the kernel keeps of a client whose shard does not read.
const UNREAD_MAX: usize = 64 << 10;
/// Pieces of a frame or a body.
const PIECES_MAX: usize = 64;
/// After that time without clients nothing is left of them.
const REST_MS: u64 = 10 * 60_000;

/// Short times and low bounds, so that a short script meets them.
pub fn settings() -> Settings {
    let anonymous = AnonymousLimits {
        payload_bytes_max: 4096,
        outbound_bytes_max: 16 << 10,
        work_per_s: 50,
        work_burst: 200,
        identify_timeout_ms: 20_000,
        held_mib_max: 1,
        sessions_per_ip_max: 6,
        polling_sessions_max: 4,
    };
    let engine = throng_engine::Settings {
        ping_interval_ms: 2000,
        ping_timeout_ms: 1000,
        connect_timeout_ms: 1500,
        upgrade_timeout_ms: 1000,
        max_payload: 64 << 10,
        fragments_max: 16,
        attachments_max: 4,
        json_values_max: 1024,
        outbound_bytes_max: 64 << 10,
        poll_packets_max: 256,
        inbound_mib_max: 1,
        outbound_mib_max: 1,
        work_per_s: 200,
        work_burst: 400,
        message_timeout_ms: 1000,
        anonymous,
        ..throng_engine::Settings::default()
    };
    Settings { pending_bytes_max: 128 << 10, pending_events_max: 64, engine, ..Settings::default() }
}

/// How a client speaks.
enum Wire {
    Pipe(Client),
    Polling(Polling),
}

struct Polling {
    sid: Option<Box<str>>,
    eio: Eio,
    /// Requests without an answer.
    waiting: Vec<PollId>,
    last_poll: Option<PollId>,
}

struct Peer {
    wire: Wire,
    tally: Tally,
}

struct Onslaught<'h> {
    world: World,
    peers: BTreeMap<usize, Peer>,
    bounds: Bounds<'h>,
    sent: usize,
}

/// Plays a script. `heap` answers how many bytes of the heap are in use, if that is known.
///
/// # Panics
/// When an invariant of the shard or a bound does not hold.
pub fn play(script: &[u8], heap: Option<&dyn Fn() -> usize>) {
    let settings = settings();
    let before = heap.map_or(0, |heap| heap());
    let mut world = World::new(1, settings.clone());
    world.run();
    let bounds = Bounds::new(&settings, heap);
    let mut onslaught = Onslaught { world, peers: BTreeMap::new(), bounds, sent: 0 };
    for step in steps(script) {
        onslaught.step(step);
        onslaught.read();
        onslaught.judge();
    }
    onslaught.rest();
    drop(onslaught);
    if let Some(heap) = heap {
        assert!(
            heap() <= before,
            "a shard that is dropped leaves nothing: {} bytes",
            heap() - before
        );
    }
}

impl Onslaught<'_> {
    fn step(&mut self, step: Step) {
        self.bounds.steps += 1;
        match step {
            Step::Open { client, kind, user } => self.open(client, kind, user),
            Step::Probe { client, polling } => self.probe(client, polling),
            Step::Frame { client, first, payload, times, piece } => {
                self.frames(client, first, &payload, times, piece);
            }
            Step::Half { client, payload } => {
                self.says(client, &payload);
                let frame = masked(0x81, &payload);
                self.bytes(client, &frame[..frame.len().div_ceil(2)]);
                self.world.run();
            }
            Step::Raw { client, bytes } => {
                self.says(client, &bytes);
                self.bytes(client, &bytes);
                self.world.run();
            }
            Step::Poll { client } => self.http(client, Method::Get, ""),
            Step::Read { client, bytes } => {
                if let Some(pipe) = self.pipe(client) {
                    self.world.read(pipe, bytes.unwrap_or(usize::MAX));
                }
            }
            Step::Close { client, is_failed } => self.close(client, is_failed),
            Step::Wait { ms } => {
                self.bounds.ms += ms;
                self.world.advance(ms);
            }
            Step::Store(state) => {
                self.world.store.is_down = state == StoreState::Down;
                self.world.store.is_paused = state == StoreState::Paused;
                self.world.run();
            }
            Step::Revoke { user } => {
                self.world.store.tokens.remove(&hash(&token(user)));
                self.world.revoke(&token(user));
            }
        }
    }

    // ---- clients ------------------------------------------------------------------------------

    fn open(&mut self, client: usize, kind: Kind, user: Option<u32>) {
        if self.peers.contains_key(&client) {
            return;
        }
        let (transport, eio) = match kind {
            Kind::Websocket4 => (Transport::Websocket, Eio::V4),
            Kind::Websocket3 => (Transport::Websocket, Eio::V3),
            Kind::Polling4 => (Transport::Polling, Eio::V4),
            Kind::Polling3 => (Transport::Polling, Eio::V3),
        };
        let token = user.map(|user| token(user).into());
        let handshake = EngineRequest { token, b64: true, ..request(transport, eio) };
        let wire = match transport {
            Transport::Websocket => Wire::Pipe(self.world.upgrade(0, handshake)),
            _ => {
                let poll = self.world.http(0, handshake, Ok(""));
                let (waiting, last_poll) = (vec![poll], Some(poll));
                Wire::Polling(Polling { sid: None, eio, waiting, last_poll })
            }
        };
        self.peers.insert(client, Peer { wire, tally: Tally::new(user.is_some(), self.bounds.ms) });
    }

    /// A WebSocket with the `sid` of a polling client.
    fn probe(&mut self, client: usize, polling: usize) {
        let Some(Peer { wire: Wire::Polling(of), tally }) = self.peers.get(&polling) else {
            return;
        };
        let (sid, eio, is_known) = (of.sid.clone(), of.eio, tally.names_users);
        if sid.is_none() || self.peers.contains_key(&client) {
            return;
        }
        let handshake = EngineRequest { sid, ..request(Transport::Websocket, eio) };
        let wire = Wire::Pipe(self.world.upgrade(0, handshake));
        self.peers.insert(client, Peer { wire, tally: Tally::new(is_known, self.bounds.ms) });
    }

    fn pipe(&self, client: usize) -> Option<Client> {
        match self.peers.get(&client)?.wire {
            Wire::Pipe(pipe) => Some(pipe),
            Wire::Polling(_) => None,
        }
    }

    fn says(&mut self, client: usize, payload: &[u8]) {
        if let Some(peer) = self.peers.get_mut(&client) {
            peer.tally.says(payload);
        }
    }

    fn frames(&mut self, client: usize, first: u8, payload: &[u8], times: usize, piece: usize) {
        self.says(client, payload);
        if let Some(Wire::Polling(polling)) = self.peers.get(&client).map(|peer| &peer.wire) {
            let text = String::from_utf8_lossy(payload);
            let packet = match polling.eio {
                Eio::V3 => format!("{}:{text}", text.chars().map(char::len_utf16).sum::<usize>()),
                _ => text.into_owned(),
            };
            let between = if polling.eio == Eio::V3 { "" } else { "\u{1e}" };
            let body = vec![packet; times].join(between);
            return match piece {
                0 => self.http(client, Method::Post, &body),
                piece => self.http_pieces(client, &body, piece),
            };
        }
        let frame = masked(first, payload);
        if piece == 0 {
            for _ in 0..times {
                self.bytes(client, &frame);
            }
            self.world.run();
        }
        for piece in frame.chunks(piece.max(1)).take(if piece == 0 { 0 } else { PIECES_MAX }) {
            self.bytes(client, piece);
            self.world.run();
            self.bounds.steps += 1;
        }
    }

    /// The client sends bytes, unless the kernel would not take them.
    fn bytes(&mut self, client: usize, bytes: &[u8]) {
        let Some(pipe) = self.pipe(client) else { return };
        let is_taken = self.sent + bytes.len() <= SENT_MAX
            && self.world.unread(pipe) + bytes.len() <= UNREAD_MAX
            && !self.world.is_shut(pipe);
        if !is_taken {
            return;
        }
        let peer = self.peers.get_mut(&client).expect("it has a pipe");
        peer.tally.sent += bytes.len() as u64;
        self.sent += bytes.len();
        self.world.send_bytes(pipe, bytes);
    }

    fn http(&mut self, client: usize, method: Method, body: &str) {
        self.request(client, method, body.len(), Ok(body));
    }

    /// A request with so many bytes of a body, unless too much has been sent.
    fn request(
        &mut self,
        client: usize,
        method: Method,
        bytes: usize,
        body: Result<&str, Arriving>,
    ) -> Option<PollId> {
        let Some(Peer { wire: Wire::Polling(polling), tally }) = self.peers.get_mut(&client) else {
            return None;
        };
        let sid = polling.sid.clone()?;
        if self.sent + bytes > SENT_MAX {
            return None;
        }
        self.sent += bytes;
        tally.sent += bytes as u64;
        tally.requests += 1;
        let request =
            EngineRequest { sid: Some(sid), method, ..request(Transport::Polling, polling.eio) };
        let poll = self.world.http(0, request, body);
        polling.waiting.push(poll);
        if method == Method::Get {
            polling.last_poll = Some(poll);
        }
        Some(poll)
    }

    /// A POST whose body comes in pieces; of more than so many the rest never comes.
    fn http_pieces(&mut self, client: usize, body: &str, piece: usize) {
        let announced = Arriving(Some(body.len() as u64));
        let Some(poll) = self.request(client, Method::Post, body.len(), Err(announced)) else {
            return;
        };
        let count = body.len().div_ceil(piece);
        for (index, bytes) in body.as_bytes().chunks(piece).take(PIECES_MAX).enumerate() {
            self.world.http_body(0, poll, bytes, index + 1 == count);
            self.bounds.steps += 1;
        }
    }

    fn close(&mut self, client: usize, is_failed: bool) {
        let Some(peer) = self.peers.remove(&client) else { return };
        self.bounds.left(&peer.tally);
        match peer.wire {
            Wire::Pipe(pipe) => {
                self.world.close(pipe, if is_failed { PipeEnd::Failed } else { PipeEnd::Eof });
                self.receive(pipe);
            }
            Wire::Polling(polling) => {
                for poll in polling.waiting {
                    if self.world.answer(poll).is_none() {
                        self.world.http_gone(0, poll);
                    }
                }
            }
        }
    }

    /// The clients read what has come; those whose connection the server ended are gone.
    fn read(&mut self) {
        let mut ended = Vec::new();
        for client in 0..CLIENTS {
            match self.peers.get_mut(&client).map(|peer| &mut peer.wire) {
                Some(Wire::Pipe(pipe)) => {
                    let pipe = *pipe;
                    self.receive(pipe);
                    let received = self.world.taken(pipe);
                    self.peers.get_mut(&client).expect("it is there").tally.received = received;
                    ended.extend(self.world.is_shut(pipe).then_some(client));
                }
                Some(Wire::Polling(_)) => self.read_answers(client),
                None => {}
            }
        }
        for client in ended {
            self.close(client, false);
        }
    }

    fn receive(&mut self, pipe: Client) {
        while self.world.receive(pipe).is_some() {}
    }

    fn read_answers(&mut self, client: usize) {
        let Some(Peer { wire: Wire::Polling(polling), tally }) = self.peers.get_mut(&client) else {
            return;
        };
        let world = &mut self.world;
        let mut is_over = false;
        polling.waiting.retain(|poll| {
            let Some((status, body)) = world.answer(*poll) else { return true };
            tally.received += body.len() as u64;
            is_over |= status != 200;
            if polling.sid.is_none()
                && let Some((_, rest)) = body.split_once(r#""sid":""#)
            {
                polling.sid = rest.split('"').next().map(Box::from);
            }
            false
        });
        if is_over {
            self.close(client, false);
        }
    }

    // ---- what must hold -----------------------------------------------------------------------

    fn judge(&mut self) {
        let model = self.model_bytes();
        self.bounds.judge(&self.world, self.peers.values().map(|peer| &peer.tally), model);
    }

    /// Bytes that the world around the shard keeps, more or less.
    fn model_bytes(&self) -> usize {
        let pipes = self.peers.keys().filter_map(|client| self.pipe(*client));
        let unread: usize = pipes.map(|pipe| self.world.unread(pipe)).sum();
        let rows: usize = self.world.store.rows.values().map(|row| row.msg.len() + 512).sum();
        2 * unread + rows
    }

    /// All clients go, and time passes: nothing of them is left.
    fn rest(&mut self) {
        self.step(Step::Store(StoreState::Up));
        for client in 0..CLIENTS {
            self.close(client, client % 2 == 0);
        }
        self.world.advance(REST_MS);
        self.bounds.ms += REST_MS;
        let shard = self.world.shards().next().expect("there is one");
        assert_eq!(shard.engine().sessions().count(), 0, "sessions end with their clients");
        assert_eq!(shard.engine().held(), 0, "nothing is held for clients that are gone");
        assert_eq!(shard.next_deadline(), None, "nothing is due without clients");
        assert!(self.world.commands.is_empty(), "the store has answered");
        let model = self.model_bytes();
        self.bounds.judge(&self.world, std::iter::empty(), model);
    }
}
