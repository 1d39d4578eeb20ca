//! Shards of the chat, with the model of its store.

mod store;

use std::sync::Arc;

use throng_chat::cluster::ClusterInput;
use throng_chat::{Chat, Command, Notice, Settings, Start, UserCard};
use throng_engine::{Eio, EngineRequest, Input, Keyed, SessionId, Transport, home_of};

pub use store::{Row, Store, hash, token};

use crate::client::{Client, request};
use crate::world::PLACEMENT;

/// Shards of the chat, and the model of its store.
pub type World = crate::World<Chat, Store>;

const LANE_MAX: u32 = 64;
const USERS: u32 = 150;
const ROOMS: u32 = 5;

impl World {
    /// Shards with rooms 1 to 5 and users 1 to 150.
    pub fn new(shards: u8, settings: Settings) -> World {
        World::with_lanes(shards, settings, LANE_MAX)
    }

    pub fn with_lanes(shards: u8, settings: Settings, lane_max: u32) -> World {
        let store = Store::new(USERS, ROOMS);
        let rooms = store.infos().into();
        let signals_max = if settings.cluster { LANE_MAX } else { 0 };
        let start = Start::new(settings, rooms);
        let mut world = World::start(shards, lane_max, &start.settings.engine, &start, store);
        world.signals_max = signals_max;
        world
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

    /// The token is logged out.
    pub fn revoke(&mut self, token: &str) {
        self.report_to(|_| true, || Input::Notice(Notice::Revoked(hash(token))));
    }

    pub fn change_user(&mut self, card: UserCard) {
        let card = Arc::new(card);
        self.report_to(|_| true, || Input::Notice(Notice::UserChanged(card.clone())));
    }

    /// Gives an input of the cluster to the shards that it concerns.
    pub fn cluster(&mut self, input: ClusterInput) {
        let shards = self.shards().count() as u8;
        let keyed = Keyed::new(PLACEMENT);
        let home = input.room().map(|room| home_of(&keyed, room, shards));
        let is_for = |shard| home.is_none_or(|home| home == shard);
        self.report_to(is_for, || Input::Notice(Notice::Cluster(input.clone())));
    }

    /// The sessions whose token waits to be looked up.
    pub fn asked(&self) -> Vec<SessionId> {
        let session = |(_, command): &(usize, Command)| match command {
            Command::Authenticate { session, .. } => Some(*session),
            _ => None,
        };
        self.commands.iter().filter_map(session).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_takes_a_turn_for_an_input_or_a_deadline_and_no_other() {
        let mut world = World::new(2, Settings { ephemeral: true, ..Settings::default() });
        world.run();
        assert_eq!(world.turns, 0, "nothing waits");
        let client = world.upgrade(0, request(Transport::Websocket, Eio::V4));
        assert_eq!(world.turns, 1, "one turn for the handshake");
        world.send(client, "40");
        assert_eq!(world.turns, 2, "and one for CONNECT");
        assert_eq!(world.take(client).len(), 2);
        let deadline = world.next_deadline().expect("the next ping").since(world.now);
        world.advance(deadline / 1_000_000 - 1);
        assert_eq!(world.turns, 2, "no turn before the deadline");
        world.advance(2);
        assert_eq!((world.turns, world.take(client)), (3, vec!["2".to_owned()]));
    }
}
