//! Real shards on one thread, with bounded lanes, a store in memory and a clock that jumps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use throng_chat::cluster::{self, ClusterInput, Signal, StoredMessage};
use throng_chat::lane::{Delivery, Request};
use throng_chat::{
    Appended, Command, Effects, Input, Reply, RoomId, RoomInfo, Seq, Settings, Shard, StoreDown,
    TokenHash, UserId,
};
use throng_chat::{Notice, Start, UserCard};
use throng_engine::{Accept, App as _, CounterTable as _, Place};
use throng_engine::{
    Answer, BodyFault, Eio, Endpoint, EngineRequest, Flushed, LaneSlots, Method, Now, PipeEnd,
    PipeId, PollId, Seed, SessionId, ShardId, Transport,
};

pub struct World {
    shards: Vec<Node>,
    pub now: Now,
    pub store: Store,
    pub lane_max: u32,
    /// Room of the lane to the rest of the cluster.
    pub signals_max: u32,
    pub signals: Vec<Signal>,
    polls: BTreeMap<PollId, Answer>,
    next_poll: u64,
    pub logs: Vec<throng_chat::LogLine>,
}

struct Node {
    shard: Shard,
    /// Inputs of the runtime, in order.
    inbox: VecDeque<Owned>,
    cluster: VecDeque<ClusterInput>,
    /// Lanes into this shard, by sender.
    requests: Vec<VecDeque<Request>>,
    deliveries: Vec<VecDeque<Delivery>>,
    pipes: Vec<Pipe>,
}

enum Owned {
    Upgrade(PipeId, EngineRequest),
    Bytes(PipeId, Vec<u8>),
    Closed(PipeId, PipeEnd),
    Http(PollId, EngineRequest, Result<Vec<u8>, BodyFault>),
    HttpGone(PollId),
    Reply(Reply),
    Revoked(TokenHash),
    UserChanged(Arc<UserCard>),
    Stop,
}

#[derive(Default)]
struct Pipe {
    id: Option<PipeId>,
    received: Vec<u8>,
    is_shut: bool,
    is_stopped: bool,
}

/// What the store remembers.
#[derive(Default)]
pub struct Store {
    pub users: Vec<Arc<UserCard>>,
    pub tokens: Vec<([u8; 32], UserId)>,
    /// How many tokens were asked for at a time.
    pub checks: Vec<usize>,
    pub messages: Vec<(RoomId, Seq, UserId, String)>,
    pub reads: BTreeMap<(UserId, RoomId), Seq>,
    /// User and room of those who are said to be reading.
    pub reading: BTreeSet<(u32, u32)>,
    /// Rooms beyond those of the start.
    pub rooms: BTreeMap<RoomId, Seq>,
    /// Ranges that were asked for.
    pub fetches: Vec<(u64, u64)>,
    /// Answers nothing to a fetch.
    pub forgets: bool,
    pub is_down: bool,
    /// Commands wait until this is cleared.
    pub is_paused: bool,
    waiting: VecDeque<(usize, Command)>,
    next_id: i64,
}

/// A WebSocket client: which shard, which pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub shard: usize,
    pub pipe: PipeId,
}

pub fn settings() -> Settings {
    Settings::default()
}

pub fn token(user: u32) -> String {
    format!("{user:0>60}")
}

pub fn request(transport: Transport, eio: Eio) -> EngineRequest {
    EngineRequest {
        endpoint: Endpoint::SocketIo,
        method: Method::Get,
        transport,
        eio,
        sid: None,
        b64: false,
        jsonp: None,
        token: None,
        origin_allowed: true,
        octet_stream: false,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

impl World {
    pub fn new(shards: u8, settings: Settings) -> World {
        World::with_lanes(shards, settings, 64)
    }

    pub fn with_lanes(shards: u8, settings: Settings, lane_max: u32) -> World {
        let rooms: Vec<RoomInfo> = (1..=5)
            .map(|id| RoomInfo { id: RoomId(id), name: "".into(), last_seq: Seq(0) })
            .collect();
        let start = Start { settings: settings.clone(), rooms: rooms.into() };
        let nodes = (0..shards)
            .map(|index| {
                let seed = Seed { placement: [7; 16], random: [index; 32], started_unix_ms: 0 };
                let place = Place { shard: ShardId(index), shards, seed };
                Node {
                    shard: throng_chat::shard(&start, &place),
                    inbox: VecDeque::new(),
                    cluster: VecDeque::new(),
                    requests: (0..shards).map(|_| VecDeque::new()).collect(),
                    deliveries: (0..shards).map(|_| VecDeque::new()).collect(),
                    pipes: Vec::new(),
                }
            })
            .collect();
        let mut store = Store::default();
        for id in 1..=150 {
            store.add_user(id);
        }
        World {
            shards: nodes,
            now: Now(1_000_000_000),
            store,
            lane_max,
            signals_max: if settings.cluster { 64 } else { 0 },
            signals: Vec::new(),
            polls: BTreeMap::new(),
            next_poll: 0,
            logs: Vec::new(),
        }
    }

    // ---- clients ------------------------------------------------------------------------------

    pub fn upgrade(&mut self, shard: usize, request: EngineRequest) -> Client {
        let node = &mut self.shards[shard];
        let slot = node.pipes.len() as u32;
        let pipe = PipeId { slot, generation: 1 };
        node.pipes.push(Pipe { id: Some(pipe), ..Pipe::default() });
        node.inbox.push_back(Owned::Upgrade(pipe, request));
        self.run();
        Client { shard, pipe }
    }

    /// An Engine.IO 4 WebSocket client that has connected `/`, as `user` if given.
    pub fn connect(&mut self, shard: usize, user: Option<u32>) -> Client {
        let client = self.upgrade(shard, request(Transport::Websocket, Eio::V4));
        let auth = user.map(|user| format!(r#"{{"token":"{}"}}"#, token(user))).unwrap_or_default();
        self.send(client, &format!("40{auth}"));
        self.take(client);
        client
    }

    /// An Engine.IO 3 WebSocket client with the token in its query.
    pub fn connect_legacy(&mut self, shard: usize, user: Option<u32>) -> Client {
        let token = user.map(|user| token(user).into());
        let request = EngineRequest { token, ..request(Transport::Websocket, Eio::V3) };
        let client = self.upgrade(shard, request);
        self.take(client);
        client
    }

    /// Sends one text message and lets everything settle.
    pub fn send(&mut self, client: Client, text: &str) {
        self.send_quietly(client, text);
        self.run();
    }

    pub fn send_quietly(&mut self, client: Client, text: &str) {
        self.send_bytes(client, masked(0x81, text.as_bytes()));
    }

    pub fn send_bytes(&mut self, client: Client, bytes: Vec<u8>) {
        self.shards[client.shard].inbox.push_back(Owned::Bytes(client.pipe, bytes));
    }

    pub fn close(&mut self, client: Client, end: PipeEnd) {
        self.shards[client.shard].pipes[client.pipe.slot as usize].id = None;
        self.shards[client.shard].inbox.push_back(Owned::Closed(client.pipe, end));
        self.run();
    }

    /// The client stops (or resumes) reading.
    pub fn stop_reading(&mut self, client: Client, is_stopped: bool) {
        let node = &mut self.shards[client.shard];
        node.pipes[client.pipe.slot as usize].is_stopped = is_stopped;
        if !is_stopped {
            node.shard.outbox().writable(client.pipe);
        }
        self.run();
    }

    /// The text messages received since the last call; a close frame reads as `close:CODE`.
    pub fn take(&mut self, client: Client) -> Vec<String> {
        let pipe = &mut self.shards[client.shard].pipes[client.pipe.slot as usize];
        let mut bytes = std::mem::take(&mut pipe.received);
        if bytes.starts_with(b"HTTP/1.1 101") {
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head") + 4;
            bytes.drain(..end);
        }
        if bytes.starts_with(b"HTTP/1.1") {
            return vec![String::from_utf8(bytes).expect("an HTTP answer is text")];
        }
        frames(&bytes)
    }

    pub fn is_shut(&self, client: Client) -> bool {
        self.shards[client.shard].pipes[client.pipe.slot as usize].is_shut
    }

    pub fn http(
        &mut self,
        shard: usize,
        request: EngineRequest,
        body: Result<&str, BodyFault>,
    ) -> PollId {
        self.next_poll += 1;
        let poll = PollId(self.next_poll);
        let body = body.map(|text| text.as_bytes().to_vec());
        self.shards[shard].inbox.push_back(Owned::Http(poll, request, body));
        self.run();
        poll
    }

    pub fn http_gone(&mut self, shard: usize, poll: PollId) {
        self.shards[shard].inbox.push_back(Owned::HttpGone(poll));
        self.run();
    }

    /// The answer to an HTTP request, if there is one yet.
    pub fn answer(&mut self, poll: PollId) -> Option<(u16, String)> {
        let answer = self.polls.remove(&poll)?;
        Some((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    pub fn stop(&mut self) {
        for node in &mut self.shards {
            node.inbox.push_back(Owned::Stop);
        }
        self.run();
    }

    pub fn revoke(&mut self, token: &str) {
        for node in &mut self.shards {
            node.inbox.push_back(Owned::Revoked(hash(token)));
        }
        self.run();
    }

    /// Hands the input to those who must hear it, and lets everything settle.
    pub fn cluster(&mut self, input: ClusterInput) {
        let shards = self.shards.len();
        let home = input.room().map(|room| cluster::home_of([7; 16], room, shards as u8));
        for (index, node) in self.shards.iter_mut().enumerate() {
            if home.is_none_or(|home| usize::from(home.0) == index) {
                node.cluster.push_back(input.clone());
            }
        }
        self.run();
    }

    /// What was signalled since the last call.
    pub fn take_signals(&mut self) -> Vec<Signal> {
        std::mem::take(&mut self.signals)
    }

    pub fn change_user(&mut self, card: UserCard) {
        let card = Arc::new(card);
        for node in &mut self.shards {
            node.inbox.push_back(Owned::UserChanged(card.clone()));
        }
        self.run();
    }

    pub fn counter(&self, name: &str) -> u64 {
        let value = |node: &Node| {
            let (engine, app) = (&node.shard.engine().counters, node.shard.app().counters());
            engine.value(name).or_else(|| app.value(name)).expect("a counter of this name")
        };
        self.shards.iter().map(value).sum()
    }

    // ---- time ---------------------------------------------------------------------------------

    /// Lets time pass, stopping at every deadline on the way.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            self.run();
            match self.next_deadline().filter(|at| *at < end) {
                Some(at) => self.now = at.max(self.now.plus_ns(1)),
                None => break,
            }
        }
        self.now = end;
        self.run();
    }

    pub fn next_deadline(&self) -> Option<Now> {
        self.shards.iter().filter_map(|node| node.shard.next_deadline()).min()
    }

    /// Turns until nothing moves.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            let mut is_moving = false;
            for index in 0..self.shards.len() {
                is_moving |= self.turn(index);
            }
            is_moving |= self.serve_store();
            if !is_moving {
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    /// One turn of one shard. True if it took or gave anything.
    pub fn turn(&mut self, index: usize) -> bool {
        let now = self.now;
        let count = self.shards.len();
        let room = LaneSlots {
            requests: (0..count).map(|to| self.free(&self.shards[to].requests[index])).collect(),
            deliveries: (0..count)
                .map(|to| self.free(&self.shards[to].deliveries[index]))
                .collect(),
            commands: self.lane_max,
            signals: self.signals_max,
        };
        let node = &mut self.shards[index];
        let mut effects = Effects::default();
        let mut is_moving = false;
        node.shard.begin(now, &room);
        while let Some(input) = node.inbox.pop_front() {
            is_moving = true;
            match input {
                Owned::Upgrade(pipe, request) => {
                    let accept = Accept::Write("key".into());
                    node.shard.step(Input::Upgrade { pipe, accept, request }, &mut effects);
                }
                Owned::Bytes(pipe, mut bytes) => {
                    node.shard.step(Input::Bytes { pipe, bytes: &mut bytes }, &mut effects);
                }
                Owned::Closed(pipe, end) => {
                    node.shard.step(Input::PipeClosed { pipe, end }, &mut effects);
                }
                Owned::Http(poll, request, body) => {
                    node.shard.step(Input::Http { poll, request, body }, &mut effects);
                }
                Owned::HttpGone(poll) => node.shard.step(Input::HttpGone { poll }, &mut effects),
                Owned::Reply(reply) => node.shard.step(Input::Reply(reply), &mut effects),
                Owned::Revoked(token) => {
                    node.shard.step(Input::Notice(Notice::Revoked(token)), &mut effects)
                }
                Owned::UserChanged(card) => {
                    node.shard.step(Input::Notice(Notice::UserChanged(card)), &mut effects);
                }
                Owned::Stop => node.shard.step(Input::Stop, &mut effects),
            }
        }
        for from in 0..count {
            while let Some(delivery) = node.deliveries[from].pop_front() {
                is_moving = true;
                let from = ShardId(from as u8);
                node.shard.step(Input::Delivery { from, delivery }, &mut effects);
            }
        }
        for from in 0..count {
            while node.shard.takes_requests()
                && let Some(request) = node.requests[from].pop_front()
            {
                is_moving = true;
                let from = ShardId(from as u8);
                node.shard.step(Input::Request { from, request }, &mut effects);
            }
        }
        while node.shard.takes_requests()
            && let Some(input) = node.cluster.pop_front()
        {
            is_moving = true;
            node.shard.step(Input::Notice(Notice::Cluster(input)), &mut effects);
        }
        node.shard.settle(&mut effects);
        node.shard.check();
        is_moving |= self.flush(index);
        is_moving |= self.apply(index, effects);
        is_moving
    }

    fn free<T>(&self, lane: &VecDeque<T>) -> u32 {
        self.lane_max - lane.len() as u32
    }

    fn flush(&mut self, index: usize) -> bool {
        let node = &mut self.shards[index];
        let mut dirty = Vec::new();
        node.shard.outbox().take_dirty(&mut dirty);
        for pipe in &dirty {
            let entry = &mut node.pipes[pipe.slot as usize];
            if entry.is_stopped {
                node.shard.outbox().sent(*pipe, 0);
                continue;
            }
            loop {
                let mut slices = [IoSlice::new(&[]); 8];
                let filled = node.shard.outbox().slices(*pipe, &mut slices);
                let flat: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                entry.received.extend_from_slice(&flat);
                match node.shard.outbox().sent(*pipe, flat.len()) {
                    Flushed::More => node.shard.outbox().writable(*pipe),
                    Flushed::Empty => break,
                    Flushed::Close => {
                        entry.is_shut = true;
                        break;
                    }
                }
            }
        }
        // `writable` above marks pipes dirty again although they are empty now.
        let mut again = Vec::new();
        node.shard.outbox().take_dirty(&mut again);
        for pipe in again {
            node.shard.outbox().sent(pipe, 0);
        }
        !dirty.is_empty()
    }

    fn apply(&mut self, index: usize, effects: Effects) -> bool {
        let is_moving = !(effects.requests.is_empty()
            && effects.deliveries.is_empty()
            && effects.commands.is_empty()
            && effects.answers.is_empty());
        for (to, request) in effects.requests {
            self.shards[usize::from(to.0)].requests[index].push_back(request);
        }
        for (to, delivery) in effects.deliveries {
            self.shards[usize::from(to.0)].deliveries[index].push_back(delivery);
        }
        for node in &self.shards {
            for lane in &node.requests {
                assert!(lane.len() <= self.lane_max as usize, "a request lane overflowed");
            }
            for lane in &node.deliveries {
                assert!(lane.len() <= self.lane_max as usize, "a delivery lane overflowed");
            }
        }
        self.store.waiting.extend(effects.commands.into_iter().map(|command| (index, command)));
        self.polls.extend(effects.answers);
        for pipe in effects.closes {
            self.shards[index].pipes[pipe.slot as usize].is_shut = true;
        }
        self.logs.extend(effects.logs);
        assert!(effects.signals.len() <= self.signals_max as usize, "signals overflowed");
        self.signals.extend(effects.signals);
        is_moving
    }

    /// The sessions whose token waits to be looked up.
    pub fn asked(&self) -> Vec<SessionId> {
        let session = |(_, command): &(usize, Command)| match command {
            Command::Authenticate { session, .. } => Some(*session),
            _ => None,
        };
        self.store.waiting.iter().filter_map(session).collect()
    }

    /// A store that is paused answers one command all the same.
    pub fn serve_one(&mut self) {
        let (index, command) = self.store.waiting.pop_front().expect("a command waits");
        let reply = self.store.serve(command);
        self.shards[index].inbox.push_back(Owned::Reply(reply));
        self.run();
    }

    fn serve_store(&mut self) -> bool {
        if self.store.is_paused {
            return false;
        }
        let mut is_moving = false;
        while let Some((index, command)) = self.store.waiting.pop_front() {
            is_moving = true;
            let reply = self.store.serve(command);
            self.shards[index].inbox.push_back(Owned::Reply(reply));
        }
        is_moving
    }
}

impl Store {
    /// Another node commits a message.
    pub fn commit_elsewhere(&mut self, room: u32, user: u32, text: &str) -> StoredMessage {
        let (room, user) = (RoomId(room), UserId(user));
        let seq = self.next_seq(room);
        self.messages.push((room, seq, user, text.into()));
        self.stored(seq, user, text)
    }

    /// Users have the numbers from 1 on.
    pub fn add_user(&mut self, id: u32) {
        assert_eq!(self.users.len() as u32 + 1, id);
        self.users.push(Arc::new(UserCard {
            id: UserId(id),
            email: format!("user{id}@example.com").into(),
            name: format!("user{id}").into(),
            avatar: format!("/avatars/{id}.svg").into(),
        }));
        self.tokens.push((hash(&token(id)).0, UserId(id)));
    }

    fn next_seq(&self, room: RoomId) -> Seq {
        let seqs = self.messages.iter().filter(|(of, ..)| *of == room).map(|(_, seq, ..)| seq.0);
        Seq(seqs.max().unwrap_or(0) + 1)
    }

    fn stored(&self, seq: Seq, user: UserId, text: &str) -> StoredMessage {
        StoredMessage {
            seq,
            id: 1000 + seq.0 as i64,
            author: self.card(user.0),
            msg: text.into(),
            img: "".into(),
            time: "t".into(),
        }
    }

    /// The user as other nodes announce them: without an e-mail address.
    pub fn card(&self, user: u32) -> Arc<UserCard> {
        let card = UserCard::clone(&self.users[user as usize - 1]);
        Arc::new(UserCard { email: "".into(), ..card })
    }

    fn serve(&mut self, command: Command) -> Reply {
        let is_down = self.is_down;
        let check = move || if is_down { Err(StoreDown) } else { Ok(()) };
        match command {
            Command::Authenticate { session, token } => {
                let user = self.tokens.iter().find(|(hash, _)| *hash == token.0).map(|(_, u)| *u);
                let card = user.map(|user| self.users[user.0 as usize - 1].clone());
                Reply::Authenticated { session, token, outcome: check().map(|()| card) }
            }
            Command::CheckTokens { tokens } => {
                self.checks.push(tokens.len());
                let is_known =
                    |token: &TokenHash| self.tokens.iter().any(|(hash, _)| *hash == token.0);
                let ended = tokens.iter().filter(|token| !is_known(token)).copied().collect();
                Reply::TokensChecked { tokens, outcome: check().map(|()| ended) }
            }
            Command::Append { room, first_seq, batch } => {
                let first_seq = first_seq.unwrap_or_else(|| self.next_seq(room));
                let outcome = check().map(|()| {
                    let mut ids = Vec::new();
                    for (index, message) in batch.into_iter().enumerate() {
                        self.next_id += 1;
                        ids.push(self.next_id);
                        let seq = Seq(first_seq.0 + index as u64);
                        self.messages.push((room, seq, message.user, message.msg.into()));
                    }
                    Appended { first_seq, ids }
                });
                Reply::Appended { room, outcome }
            }
            Command::CreateRoom { room } => {
                let info = RoomInfo { id: room, name: "".into(), last_seq: Seq(0) };
                Reply::RoomCreated { room, outcome: check().map(|()| Some(info)) }
            }
            Command::LoadRoom { room } => {
                let seq = self.rooms.get(&room);
                let info = seq.map(|seq| RoomInfo { id: room, name: "".into(), last_seq: *seq });
                Reply::RoomLoaded { room, outcome: check().map(|()| info) }
            }
            Command::Fetch { room, after, upto } => {
                self.fetches.push((after.0, upto.0));
                let rows = self.messages.iter().filter(|(of, seq, _, _)| {
                    *of == room && *seq > after && *seq <= upto && !self.forgets
                });
                let found = rows.map(|(_, seq, user, text)| self.stored(*seq, *user, text));
                let found: Vec<StoredMessage> = found.take(2).collect();
                Reply::Fetched { room, outcome: check().map(|()| found) }
            }
            Command::Reads { user } => {
                let reads = self.reads.iter().filter(|((owner, _), _)| *owner == user);
                let reads = reads.map(|((_, room), seq)| (*room, *seq)).collect();
                Reply::Reads { user, outcome: check().map(|()| reads) }
            }
            Command::SaveRead { user, room, seq, is_reading } => {
                let outcome = check();
                if outcome.is_ok() {
                    self.reads.insert((user, room), seq);
                    if is_reading {
                        self.reading.insert((user.0, room.0));
                    } else {
                        self.reading.remove(&(user.0, room.0));
                    }
                }
                Reply::ReadSaved { user, room, seq, is_reading, outcome }
            }
            Command::SaveImage { session, .. } => {
                let url = "/storage/images/messages/aa/aa.png".into();
                let down = throng_chat::ImageFault::StoreDown;
                Reply::ImageSaved { session, outcome: check().map(|()| url).map_err(|_| down) }
            }
        }
    }
}

pub fn hash(token: &str) -> TokenHash {
    use sha2::Digest;
    TokenHash(sha2::Sha256::digest(token).into())
}

pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    frame
}

fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (len, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => {
                let len = u64::from_be_bytes(rest[..8].try_into().expect("8 bytes"));
                (len as usize, &rest[8..])
            }
            len => (usize::from(*len), rest),
        };
        let payload = &rest[..len];
        out.push(match first {
            0x81 => String::from_utf8(payload.to_vec()).expect("text frames are UTF-8"),
            0x82 => format!("binary:{payload:?}"),
            0x88 => format!("close:{}", u16::from_be_bytes([payload[0], payload[1]])),
            0x8a => "pong".to_owned(),
            other => panic!("unexpected frame {other:#x}"),
        });
        bytes = &rest[len..];
    }
    out
}
