//! A shard with a room full of members, and nothing around it: for what measures or counts the work
//! of the core alone.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use throng_chat::{
    Appended, Command, Effects, Input, Reply, RoomId, RoomInfo, Seq, Settings, Shard, UserId,
};
use throng_chat::{Start, UserCard};
use throng_engine::{Accept, Place, ShardId};
use throng_engine::{
    Eio, Endpoint, EngineRequest, Flushed, LaneSlots, Method, Now, PipeId, Seed, Transport,
};
use throng_loadgen::frame;

pub struct Crowd {
    shard: Shard,
    effects: Effects,
    now: Now,
    dirty: Vec<PipeId>,
    /// Bytes that would have been sent.
    pub sent_bytes: usize,
}

impl Crowd {
    pub fn new(members: u32) -> Self {
        let settings = Settings {
            engine: throng_engine::Settings {
                ping_interval_ms: 1_000_000_000,
                ..throng_engine::Settings::default()
            },
            ephemeral: true,
            publish_per_s: 0,
            join_per_s: 0,
            sessions_per_user_max: u32::MAX,
            ..Settings::default()
        };
        let seed = Seed { placement: [1; 16], random: [2; 32], started_unix_ms: 0 };
        let room = RoomInfo { id: RoomId(1), name: "Lobby".into(), last_seq: Seq(0) };
        let start = Start { settings, rooms: [room].into() };
        let place = Place { shard: ShardId(0), shards: 1, seed };
        let mut crowd = Self {
            shard: throng_chat::shard(&start, &place),
            effects: Effects::default(),
            now: Now(0),
            dirty: Vec::new(),
            sent_bytes: 0,
        };
        for slot in 0..members {
            crowd.enter(slot);
        }
        // Rosters and counts that are due are sent before anything is measured.
        for _ in 0..100 {
            crowd.now = crowd.now.plus_ms(100);
            crowd.turn(|_, _| {});
        }
        crowd
    }

    fn enter(&mut self, slot: u32) {
        let pipe = PipeId { slot, generation: 0 };
        let request = EngineRequest {
            endpoint: Endpoint::SocketIo,
            method: Method::Get,
            transport: Transport::Websocket,
            eio: Eio::V4,
            sid: None,
            b64: false,
            jsonp: None,
            token: None,
            origin_allowed: true,
            octet_stream: false,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let accept = Accept::Write("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into());
        self.turn(|shard, effects| {
            shard.step(Input::Upgrade { pipe, accept, request }, effects);
        });
        let token = "a".repeat(60);
        self.say(slot, &format!("40{{\"api_token\":\"{token}\"}}"));
        self.say(slot, "420[\"room\",{\"roomid\":1,\"presence\":\"count\"}]");
    }

    fn say(&mut self, slot: u32, packet: &str) {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, frame::TEXT, 0x1357_9bdf, packet.as_bytes());
        self.hear(slot, &mut bytes);
    }

    /// What a member says, and what follows from it.
    pub fn hear(&mut self, slot: u32, bytes: &mut [u8]) {
        let pipe = PipeId { slot, generation: 0 };
        self.turn(|shard, effects| shard.step(Input::Bytes { pipe, bytes }, effects));
    }

    /// Turns of a runtime whose sockets take everything and whose store answers at once.
    fn turn(&mut self, act: impl FnOnce(&mut Shard, &mut Effects)) {
        self.turn_once(act);
        while let Some(command) = self.effects.commands.pop() {
            let reply = answer(command);
            self.turn_once(|shard, effects| shard.step(Input::Reply(reply), effects));
        }
        self.effects.logs.clear();
    }

    fn turn_once(&mut self, act: impl FnOnce(&mut Shard, &mut Effects)) {
        self.now = self.now.plus_ns(50_000);
        let room =
            LaneSlots { requests: vec![1024], deliveries: vec![1024], commands: 1024, signals: 0 };
        self.shard.begin(self.now, &room);
        act(&mut self.shard, &mut self.effects);
        self.shard.settle(&mut self.effects);
        self.flush();
    }

    fn flush(&mut self) {
        let outbox = self.shard.outbox();
        outbox.take_dirty(&mut self.dirty);
        for pipe in self.dirty.drain(..) {
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = outbox.slices(pipe, &mut slices);
            let bytes = slices[..filled].iter().map(|slice| slice.len()).sum();
            self.sent_bytes += bytes;
            assert_eq!(outbox.sent(pipe, bytes), Flushed::Empty);
        }
    }
}

fn answer(command: Command) -> Reply {
    match command {
        Command::Authenticate { session, token } => {
            let user = session.slot();
            let card = UserCard {
                id: UserId(user),
                email: format!("u{user}@x").into(),
                name: format!("u{user}").into(),
                avatar: "/avatars/1.svg".into(),
            };
            Reply::Authenticated { session, token, outcome: Ok(Some(Arc::new(card))) }
        }
        Command::CheckTokens { tokens } => Reply::TokensChecked { tokens, outcome: Ok(Vec::new()) },
        Command::Append { room, first_seq, batch } => {
            let ids = (0..batch.len() as i64).collect();
            let first_seq = first_seq.expect("one node numbers its own messages");
            Reply::Appended { room, outcome: Ok(Appended { first_seq, ids }) }
        }
        Command::CreateRoom { room } => Reply::RoomCreated { room, outcome: Ok(None) },
        Command::LoadRoom { room } => Reply::RoomLoaded { room, outcome: Ok(None) },
        Command::Fetch { room, .. } => Reply::Fetched { room, outcome: Ok(Vec::new()) },
        Command::Reads { user } => Reply::Reads { user, outcome: Ok(Vec::new()) },
        Command::SaveRead { user, room, seq, is_reading } => {
            Reply::ReadSaved { user, room, seq, is_reading, outcome: Ok(()) }
        }
        Command::SaveImage { session, .. } => {
            Reply::ImageSaved { session, outcome: Ok("/storage/images/x.png".into()) }
        }
    }
}

/// So many publishes of 128 bytes, as a client's frames.
pub fn publishes(count: u32) -> Vec<u8> {
    let text = "x".repeat(128);
    let packet =
        format!("42[\"message\",{{\"msg\":\"{text}\",\"img\":\"\",\"roomid\":1,\"time\":\"\"}}]");
    let mut frames = Vec::new();
    for _ in 0..count {
        frame::put(&mut frames, frame::TEXT, 0x1357_9bdf, packet.as_bytes());
    }
    frames
}
