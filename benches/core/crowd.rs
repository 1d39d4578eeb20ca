//! A shard with a room full of members, and nothing around it: for what measures or counts the work
//! of the core alone.
#![forbid(unsafe_code)]

use std::io::IoSlice;

use throng_chat::{Effects, Input, Settings, Shard};
use throng_engine::{Flushed, LaneSlots, Now, PipeId};
use throng_world::chat::World;
use throng_world::{Client, text};

pub struct Crowd {
    shard: Shard,
    members: Vec<Client>,
    effects: Effects,
    slots: LaneSlots,
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
            ..Settings::default()
        };
        let mut world = World::with_lanes(1, settings, 1024);
        world.checks_turns = false;
        let enter = |user| {
            if user as usize > world.store.users.len() {
                world.store.add_user();
            }
            let member = world.connect(0, Some(user));
            world.send(member, r#"42["room",{"roomid":1,"presence":"count"}]"#);
            member
        };
        let members = (1..=members).map(enter).collect();
        // Rosters and counts that are due are sent before anything is measured.
        world.advance(10_000);
        Self {
            now: world.now,
            slots: LaneSlots {
                requests: vec![1024],
                deliveries: vec![1024],
                commands: 1024,
                signals: 0,
            },
            shard: world.into_shard(0),
            members,
            effects: Effects::default(),
            dirty: Vec::new(),
            sent_bytes: 0,
        }
    }

    /// What a member says, and what follows from it: a turn of a runtime whose sockets take
    /// everything.
    pub fn hear(&mut self, member: u32, bytes: &mut [u8]) {
        let pipe = self.members[member as usize].pipe;
        self.now = self.now.plus_ns(50_000);
        self.shard.begin(self.now, 0, &self.slots);
        self.shard.step(Input::Bytes { pipe, bytes }, &mut self.effects);
        self.shard.settle(&mut self.effects);
        let outbox = self.shard.outbox();
        outbox.take_dirty(&mut self.dirty);
        for pipe in self.dirty.drain(..) {
            let bytes = outbox.piece(pipe).map(<[u8]>::len).unwrap_or_else(|| {
                let mut slices = [IoSlice::new(&[]); 8];
                let filled = outbox.slices(pipe, &mut slices, usize::MAX);
                slices[..filled].iter().map(|slice| slice.len()).sum()
            });
            self.sent_bytes += bytes;
            assert_eq!(outbox.sent(pipe, bytes), Flushed::Empty);
        }
        assert!(self.effects.commands.is_empty(), "nothing is stored");
        self.effects.logs.clear();
    }
}

/// So many publishes of 128 bytes, as a client's frames.
pub fn publishes(count: u32) -> Vec<u8> {
    let msg = "x".repeat(128);
    let packet =
        format!("42[\"message\",{{\"msg\":\"{msg}\",\"img\":\"\",\"roomid\":1,\"time\":\"\"}}]");
    text(&packet).repeat(count as usize)
}
