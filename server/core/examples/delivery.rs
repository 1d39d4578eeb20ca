//! A room, publishes into it, and every member's bytes: the work of the core alone, for counting
//! the instructions of a delivery (`cargo xtask instructions`).
//!
//! Arguments: members, publishes per turn, turns. Prints how many bytes would have been sent.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use throng_core::input::{Accept, UserCard};
use throng_core::{
    Command, Effects, Eio, Endpoint, EngineRequest, Flushed, Input, LaneRoom, Logic as _, Method,
    Now, PipeId, Reply, RoomId, RoomInfo, Seed, Seq, Settings, Shard, Transport, UserId,
};

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().expect("three numbers"));
    let mut next = || args.next().expect("three numbers");
    let (members, publishes, turns): (u32, u32, u32) = (next(), next(), next());
    let mut room = Room::new(members);
    let text = "x".repeat(128);
    let packet = format!(r#"42["message",{{"msg":"{text}","img":"","roomid":1,"time":""}}]"#);
    let said = frame(&packet).repeat(publishes as usize);
    for _ in 0..turns {
        room.hear(members / 2, said.clone());
    }
    println!("{}", room.sent_bytes);
}

/// A client's text frame, masked.
fn frame(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("a short text");
    let mask = [0x13, 0x57, 0x9b, 0xdf];
    let mut frame = vec![0x81];
    match len {
        0..126 => frame.push(0x80 | len as u8),
        _ => frame.extend([[0x80 | 126].as_slice(), &len.to_be_bytes()].concat()),
    }
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A shard with one room, and sockets that take everything.
struct Room {
    shard: Shard,
    effects: Effects,
    now: Now,
    dirty: Vec<PipeId>,
    sent_bytes: usize,
}

impl Room {
    fn new(members: u32) -> Room {
        let settings = Settings {
            ephemeral: true,
            publish_per_s: 0,
            join_per_s: 0,
            ping_interval_ms: 1_000_000_000,
            ..Settings::DEFAULT
        };
        let seed = Seed { placement: [1; 16], random: [2; 32], started_unix_ms: 0 };
        let info = RoomInfo { id: RoomId(1), name: "Lobby".into(), last_seq: Seq(0) };
        let mut room = Room {
            shard: Shard::new(settings, seed, &[info]),
            effects: Effects::default(),
            now: Now(0),
            dirty: Vec::new(),
            sent_bytes: 0,
        };
        for slot in 0..members {
            room.enter(slot);
        }
        room
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
        self.turn(Input::Upgrade { pipe, accept, request });
        let token = "a".repeat(60);
        self.hear(slot, frame(&format!(r#"40{{"api_token":"{token}"}}"#)));
        self.hear(slot, frame(r#"420["room",{"roomid":1,"presence":"count"}]"#));
    }

    fn hear(&mut self, slot: u32, mut bytes: Vec<u8>) {
        let pipe = PipeId { slot, generation: 0 };
        self.turn(Input::Bytes { pipe, bytes: &mut bytes });
    }

    /// A turn, and one more for each reply of a store that answers at once.
    fn turn(&mut self, input: Input<'_>) {
        self.now = self.now.plus_ns(50_000);
        let room = LaneRoom {
            requests: vec![1024],
            deliveries: vec![1024],
            commands: 1024,
            ..LaneRoom::default()
        };
        self.shard.begin(self.now, &room);
        self.shard.step(input, &mut self.effects);
        self.shard.settle(&mut self.effects);
        self.effects.logs.clear();
        self.flush();
        while let Some(command) = self.effects.commands.pop() {
            self.turn(Input::Reply(answer(command)));
        }
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
        Command::Authenticate { conn, token } => {
            let user = conn.slot();
            let card = UserCard {
                id: UserId(user),
                email: format!("u{user}@x").into(),
                name: format!("u{user}").into(),
                avatar: "/avatars/1.svg".into(),
            };
            Reply::Authenticated { conn, token, outcome: Ok(Some(Arc::new(card))) }
        }
        Command::Reads { user } => Reply::Reads { user, outcome: Ok(Vec::new()) },
        other => unreachable!("an ephemeral room of a known name asks for nothing else: {other:?}"),
    }
}
