//! The boundary between the engine and an application.

use crate::CounterTable;
use crate::engine::{Engine, SessionEvent};
use crate::ids::ShardId;
use crate::items::Items;
use crate::lanes::Lanes;
use crate::long_packets::LongPackets;
use crate::now::Now;
use crate::settings::Seed;

/// An application on the engine: what sessions, rooms and lanes mean.
///
/// An application has two roles on every shard. As *edge* it serves the sessions that the shard
/// accepted: it gets their [`SessionEvent`]s and sends [`Items::Request`]s. As *home* it owns the
/// rooms whose keyed hash falls on the shard: it takes requests and sends [`Items::Delivery`]s. Both
/// roles exchange only these items, also when they are on the same shard, so an application that is
/// correct on one shard is correct on many.
///
/// Nothing here may wait, and nothing may read a clock: [`Engine::now`] is the time.
///
/// [`crate::rooms::Rooms`] is a ready-made application for those that need no more than named rooms
/// to broadcast in.
pub trait App: Items {
    /// What the application is given at its start, the same on all shards.
    type Settings: Clone + Send + Sync + 'static;
    /// State of one shard that other threads may read.
    type View: Default + Extend<Self::Change> + Send + 'static;
    /// The application's own counters.
    type Counters: CounterTable + Clone + Default + Send + 'static;

    /// The namespaces served; the index is the namespace's number. At most eight.
    const NAMESPACES: &'static [&'static str] = &["/"];

    /// Whether the application finds out whose a session is, and says so with
    /// [`Engine::set_trust`]. Until then the limits of `limits.anonymous` hold. Otherwise every
    /// session counts as identified from its start.
    const IDENTIFIES: bool = false;

    /// Whether events may have binary attachments; otherwise they are counted and dropped, and
    /// [`SessionEvent::Event`] comes without them.
    const TAKES_ATTACHMENTS: bool = true;

    /// Whether the application decides who may connect a namespace: for each
    /// [`SessionEvent::Connected`] it calls [`Engine::admit`] or [`Engine::refuse`] before it returns.
    /// Otherwise the engine admits everybody.
    const ADMITS: bool = false;

    /// How packets that are too long to be parsed come; by default all are parsed, which may hold a shard
    /// for as long as the largest takes.
    fn long_packets(settings: &Self::Settings) -> Option<LongPackets> {
        let _ = settings;
        None
    }

    /// Makes the application of one shard.
    fn new(settings: &Self::Settings, place: &Place) -> Self;

    /// A turn begins.
    fn begin(&mut self, now: Now) {
        let _ = now;
    }

    /// Edge: something happened to a session of this shard.
    fn session_event(&mut self, event: SessionEvent, cx: &mut Cx<'_, Self>);

    /// Home: an item of a request lane. Called only after [`App::takes_requests`].
    fn request(&mut self, request: Self::Request, cx: &mut Cx<'_, Self>);

    /// Edge: an item of a delivery lane.
    fn delivery(&mut self, delivery: Self::Delivery, engine: &mut Engine);

    /// A command has been carried out.
    fn reply(&mut self, reply: Self::Reply, cx: &mut Cx<'_, Self>);

    /// Another thread reports something.
    fn notice(&mut self, notice: Self::Notice, cx: &mut Cx<'_, Self>);

    /// Edge: the turn ends; send what did not fit a lane, and what was put off.
    fn settle_edge(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// Home: the turn ends; send what gathered in the rooms.
    fn settle_home(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// Home: whether the deliveries of one more request fit, in the worst case.
    fn takes_requests(&self, lanes: &Lanes<Self>) -> bool;

    /// When the shard must settle next even if nothing happens.
    fn next_deadline(&self) -> Option<Now> {
        None
    }

    /// The server is stopping; the engine has closed every session.
    fn stop(&mut self) {}

    /// The application's counters.
    fn counters(&self) -> &Self::Counters;

    /// Asserts the application's invariants, together with the engine's. Costs as much as it
    /// likes: it runs after each turn of tests and simulation, never in production.
    ///
    /// # Panics
    /// When an index does not point back, a number does not add up, or something is owed without a
    /// deadline.
    fn check(&self, engine: &Engine, lanes: &Lanes<Self>) {
        let _ = (engine, lanes);
    }
}

/// Which shard of how many, and its randomness.
#[derive(Clone)]
pub struct Place {
    /// The shard.
    pub shard: ShardId,
    /// Shards of the process, at least 1.
    pub shards: u8,
    /// Secrets and randomness of this run.
    pub seed: Seed,
}

/// What an application acts on: the sessions of its shard, and the lanes.
pub struct Cx<'a, A: App> {
    /// Sessions, and the bytes that wait for their clients.
    pub engine: &'a mut Engine,
    /// The sending side of every lane.
    pub lanes: &'a mut Lanes<A>,
}
