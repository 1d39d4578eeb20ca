//! One shard of the chat server: engine, edge and home behind one `step`.

use crate::Logic;
use crate::chat::edge::{Context, Edge};
use crate::chat::home::Home;
use crate::chat::lane::Mark;
use crate::chat::lanes::Lanes;
use crate::chat::maps::{Keyed, home_of};
use crate::cluster::ClusterInput;
use crate::counters::Counters;
use crate::effect::{Effects, LaneSlots};
use crate::engine::Engine;
use crate::input::{EngineRequest, Input, Reply};
use crate::now::Now;
use crate::outbox::Outbox;
use crate::settings::{RoomInfo, Seed, Settings};

pub struct Shard {
    engine: Engine,
    edge: Edge,
    home: Home,
    lanes: Lanes,
}

impl Shard {
    /// `rooms`: every room of the server; the shard picks those it is home to.
    pub fn new(settings: Settings, seed: Seed, rooms: &[RoomInfo]) -> Shard {
        let keyed = Keyed::new(seed.placement);
        let mut home = Home::new(settings.clone(), keyed.clone());
        for room in rooms {
            if home_of(&keyed, room.id, settings.shards) == settings.shard {
                home.add_room(room);
            }
        }
        Shard {
            engine: Engine::new(settings.clone(), seed.random, &["/"]),
            edge: Edge::new(settings.clone(), keyed, seed.started_unix_ms, rooms),
            home,
            lanes: Lanes::new(settings.shard, settings.shards, settings.own_lane_max),
        }
    }

    /// Handles session_events and the lanes to this very shard until nothing moves.
    fn pump(&mut self) {
        loop {
            let mut cx = Context { engine: &mut self.engine, lanes: &mut self.lanes };
            if let Some(session_event) = cx.engine.next_session_event() {
                self.edge.session_event(session_event, &mut cx);
            } else if let Some(delivery) = self.lanes.next_own_delivery() {
                self.edge.delivery(delivery, &mut self.engine);
            } else if self.lanes.has_own_requests() && self.home.takes_requests(&self.lanes) {
                if let Some(request) = self.lanes.next_own_request() {
                    self.home.request(request, &mut self.lanes, &mut self.engine.counters);
                }
            } else {
                return;
            }
        }
    }

    fn cluster(&mut self, input: ClusterInput) {
        match &input {
            ClusterInput::Emit(emit) => self.edge.emit(emit, &mut self.engine),
            ClusterInput::Announce => self.edge.announce(),
            ClusterInput::Resync => {
                self.edge.read_again();
                self.edge.check_tokens();
            }
            _ => {}
        }
        self.home.cluster(input, &mut self.engine.counters);
    }

    fn reply(&mut self, reply: Reply) {
        let mut cx = Context { engine: &mut self.engine, lanes: &mut self.lanes };
        match reply {
            Reply::Authenticated { conn, token, outcome } => {
                self.edge.authenticated(conn, token, outcome, &mut cx);
            }
            Reply::TokensChecked { tokens, outcome } => {
                self.edge.tokens_checked(&tokens, outcome, &mut cx);
            }
            Reply::Appended { room, outcome } => self.home.appended(room, outcome),
            Reply::RoomCreated { room, outcome } => self.home.room_created(room, outcome),
            Reply::RoomLoaded { room, outcome } => self.home.room_loaded(room, outcome),
            Reply::Fetched { room, outcome } => {
                self.home.fetched(room, outcome, &mut self.engine.counters);
            }
            Reply::Reads { user, outcome } => self.edge.reads_loaded(user, outcome, &mut cx),
            Reply::ReadSaved { user, room, seq, is_reading, outcome } => {
                let now = cx.engine.now;
                let mark = Mark { room, seq, is_reading };
                self.home.read_saved(now, user, mark, outcome);
            }
            Reply::ImageSaved { conn, outcome } => self.edge.image_saved(conn, outcome, &mut cx),
        }
    }
}

impl Logic for Shard {
    fn begin(&mut self, now: Now, room: &LaneSlots) {
        self.engine.now = now;
        self.home.now = now;
        self.lanes.begin(room);
        // Own requests that did not fit the lanes of the last turn come first.
        self.pump();
    }

    fn step(&mut self, input: Input<'_>, effects: &mut Effects) {
        match input {
            Input::Upgrade { pipe, accept, request } => self.engine.upgrade(pipe, accept, request),
            Input::Bytes { pipe, bytes } => self.engine.bytes(pipe, bytes),
            Input::PipeClosed { pipe, end } => self.engine.pipe_closed(pipe, end),
            Input::Http { poll, request, body } => self.engine.http(poll, request, body),
            Input::HttpGone { poll } => self.engine.http_gone(poll),
            Input::Request { request, .. } => {
                self.home.request(request, &mut self.lanes, &mut self.engine.counters);
            }
            Input::Delivery { delivery, .. } => self.edge.delivery(delivery, &mut self.engine),
            Input::Reply(reply) => self.reply(reply),
            Input::Revoked(token) => {
                let mut cx = Context { engine: &mut self.engine, lanes: &mut self.lanes };
                self.edge.revoked(token, &mut cx);
            }
            Input::UserChanged(card) => {
                self.edge.user_changed(&card);
                self.home.rename(&card);
            }
            Input::Cluster(input) => self.cluster(input),
            Input::Stop => {
                self.engine.stop();
                self.edge.stop();
            }
        }
        self.pump();
        self.lanes.drain_into(effects);
    }

    fn settle(&mut self, effects: &mut Effects) {
        self.engine.run_timers();
        self.pump();
        loop {
            let mut cx = Context { engine: &mut self.engine, lanes: &mut self.lanes };
            self.edge.settle(&mut cx);
            self.pump();
            let now = self.engine.now;
            self.home.settle(now, &mut self.lanes, &mut self.engine.counters);
            // What home tells its own edge is handled in this very turn.
            self.pump();
            // Evicted sessions owe leaves, and leaves are told: once more, for ever fewer sessions.
            if !self.engine.evict_slow() {
                break;
            }
            self.pump();
        }
        self.engine.finish_turn(effects);
        self.lanes.drain_into(effects);
    }

    fn takes_requests(&self) -> bool {
        !self.lanes.has_own_requests() && self.home.takes_requests(&self.lanes)
    }

    fn knows(&self, request: &EngineRequest) -> bool {
        self.engine.knows(request)
    }

    fn next_deadline(&self) -> Option<Now> {
        let stuck = self.lanes.has_own_requests().then(|| self.engine.now.plus_ms(1));
        [self.engine.next_deadline(), self.edge.next_deadline(), self.home.next_deadline(), stuck]
            .into_iter()
            .flatten()
            .min()
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.engine.outbox
    }

    fn counters(&self) -> &Counters {
        &self.engine.counters
    }
}
