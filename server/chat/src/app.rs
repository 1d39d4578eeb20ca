//! The chat as an application of the engine: edge and home behind one trait.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use throng_engine::{
    App, Cx, Engine, Items, Keyed, LongPackets, Now, Place, SessionEvent, Shard, home_of,
};

use crate::Lanes;
use crate::cluster::{ClusterInput, Signal};
use crate::counters::Counters;
use crate::edge::{Context, Edge};
use crate::home::Home;
use crate::ids::TokenHash;
use crate::image;
use crate::invalid_tokens::InvalidTokens;
use crate::lane::{Delivery, Request};
use crate::presence::{Presence, PresenceChange};
use crate::quota::Quotas;
use crate::report::LogLine;
use crate::room_info::RoomInfo;
use crate::settings::Settings;
use crate::store::{Command, Reply};
use crate::user::UserCard;

/// What a chat is given at its start.
#[derive(Clone, Debug)]
pub struct Start {
    /// Limits.
    pub settings: Settings,
    /// Every room of the server; a shard picks those it is home to.
    pub rooms: Arc<[RoomInfo]>,
    /// What users have used of their rates, on all shards.
    pub quotas: Arc<Quotas>,
    /// What clients have used of theirs.
    pub invalid_tokens: Arc<InvalidTokens>,
    /// Rooms that joins may still create on all shards, where the store does not create them.
    pub rooms_to_create: Arc<AtomicU32>,
}

impl Start {
    /// The start of a process, in which nobody has used anything and no room was created.
    #[must_use]
    pub fn new(settings: Settings, rooms: Arc<[RoomInfo]>) -> Start {
        let quotas = Arc::new(Quotas::new(&settings));
        let invalid_tokens = Arc::new(InvalidTokens::new(&settings));
        let rooms_to_create = Arc::new(AtomicU32::new(settings.auto_create_max));
        Start { settings, rooms, quotas, invalid_tokens, rooms_to_create }
    }
}

/// What other threads of this process report to every shard.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A token was revoked (logout): sessions bound to it lose their identity.
    Revoked(TokenHash),
    /// A user changed name or avatar.
    UserChanged(Arc<UserCard>),
    /// Another node, or another program, through the cluster's backplane.
    Cluster(ClusterInput),
}

/// The chat on one shard.
pub struct Chat {
    edge: Edge,
    home: Home,
    counters: Counters,
}

/// One shard of the chat server.
pub fn shard(start: &Start, place: &Place) -> Shard<Chat> {
    Shard::new(&start.settings.engine, start, place)
}

impl Chat {
    /// Calls edge with what it acts on.
    fn at_edge(&mut self, cx: &mut Cx<'_, Chat>, call: impl FnOnce(&mut Edge, &mut Context<'_>)) {
        let Cx { engine, lanes } = cx;
        call(&mut self.edge, &mut Context { engine, lanes, counters: &mut self.counters });
    }

    fn cluster(&mut self, input: ClusterInput, cx: &mut Cx<'_, Chat>) {
        match &input {
            ClusterInput::Emit(emit) => self.edge.emit(emit, cx.engine, &mut self.counters),
            ClusterInput::Announce => self.edge.announce(),
            ClusterInput::Resync => {
                self.edge.reload_marks();
                self.edge.check_tokens();
            }
            ClusterInput::Messages { .. }
            | ClusterInput::Tip { .. }
            | ClusterInput::Present { .. }
            | ClusterInput::Read { .. }
            | ClusterInput::Chosen { .. }
            | ClusterInput::NodePresence { .. }
            | ClusterInput::NodeGone { .. } => {}
        }
        self.home.cluster(input, &mut self.counters);
    }
}

impl Items for Chat {
    type Request = Request;
    type Delivery = Delivery;
    type Command = Command;
    type Reply = Reply;
    type Signal = Signal;
    type Notice = Notice;
    type Log = LogLine;
    type Change = PresenceChange;
}

impl App for Chat {
    type Settings = Start;
    type View = Presence;
    type Counters = Counters;

    const IDENTIFIES: bool = true;
    // No event of the chat has a use for them.
    const TAKES_ATTACHMENTS: bool = false;

    fn long_packets(start: &Start) -> Option<LongPackets> {
        let bytes_max = start.settings.event_bytes_max as usize;
        Some(LongPackets { bytes_max, find: image::find })
    }

    fn new(start: &Start, place: &Place) -> Chat {
        let Start { settings, rooms, quotas, invalid_tokens, rooms_to_create } = start;
        let keyed = Keyed::new(place.seed.placement);
        let created = Arc::clone(rooms_to_create);
        let mut home = Home::new(settings.clone(), created, place, keyed.clone());
        for room in rooms.iter() {
            if home_of(&keyed, room.id, place.shards) == place.shard {
                home.add_room(room);
            }
        }
        Chat {
            edge: Edge::new(
                settings.clone(),
                Arc::clone(quotas),
                Arc::clone(invalid_tokens),
                place,
                keyed,
                rooms,
            ),
            home,
            counters: Counters::default(),
        }
    }

    fn begin(&mut self, now: Now) {
        self.home.now = now;
    }

    fn session_event(&mut self, event: SessionEvent, cx: &mut Cx<'_, Chat>) {
        self.at_edge(cx, |edge, cx| edge.session_event(event, cx));
    }

    fn request(&mut self, request: Request, cx: &mut Cx<'_, Chat>) {
        self.home.request(request, cx.lanes, &mut self.counters);
    }

    fn delivery(&mut self, delivery: Delivery, engine: &mut Engine) {
        self.edge.delivery(delivery, engine, &mut self.counters);
    }

    fn reply(&mut self, reply: Reply, cx: &mut Cx<'_, Chat>) {
        let (home, counters) = (&mut self.home, &mut self.counters);
        match reply {
            Reply::Authenticated { session, token, client, outcome } => {
                self.at_edge(cx, |edge, cx| {
                    edge.authenticated(session, token, client, outcome, cx)
                });
            }
            Reply::TokensChecked { tokens, outcome } => {
                self.at_edge(cx, |edge, cx| edge.tokens_checked(&tokens, outcome, cx));
            }
            Reply::Appended { room, outcome } => home.appended(room, outcome, counters),
            Reply::RoomCreated { room, outcome } => home.room_created(room, outcome, counters),
            Reply::RoomLoaded { room, outcome } => home.room_loaded(room, outcome, counters),
            Reply::Fetched { room, outcome } => home.fetched(room, outcome, counters),
            Reply::Reads { user, load, outcome } => {
                self.at_edge(cx, |edge, cx| edge.reads_loaded(user, load, outcome, cx));
            }
            Reply::ReadSaved { user, mark, outcome } => {
                home.read_saved(cx.engine.now(), user, mark.room, outcome);
            }
            Reply::ImageSaved { session, outcome } => {
                self.at_edge(cx, |edge, cx| edge.image_saved(session, outcome, cx));
            }
        }
    }

    fn notice(&mut self, notice: Notice, cx: &mut Cx<'_, Chat>) {
        match notice {
            Notice::Revoked(token) => self.at_edge(cx, |edge, cx| edge.revoked(token, cx)),
            Notice::UserChanged(card) => {
                self.edge.user_changed(&card);
                self.home.rename(&card);
            }
            Notice::Cluster(input) => self.cluster(input, cx),
        }
    }

    fn settle_edge(&mut self, cx: &mut Cx<'_, Chat>) {
        self.at_edge(cx, Edge::settle);
    }

    fn settle_home(&mut self, cx: &mut Cx<'_, Chat>) {
        self.home.settle(cx.engine.now(), cx.lanes, &mut self.counters);
    }

    fn takes_requests(&self, lanes: &Lanes) -> bool {
        self.home.takes_requests(lanes)
    }

    fn next_deadline(&self) -> Option<Now> {
        [self.edge.next_deadline(), self.home.next_deadline()].into_iter().flatten().min()
    }

    fn stop(&mut self) {
        self.edge.stop();
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn check(&self, engine: &Engine, _lanes: &Lanes) {
        self.edge.check(engine);
        self.home.check();
    }
}
