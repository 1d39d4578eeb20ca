//! Deliberate defects, at the world's boundary or inside a core. A checker that has never been seen
//! to fail proves nothing, so each of these must be caught.

use throng_chat::canary::Canary as OfChat;
use throng_engine::canary::Canary as OfEngine;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// One fan-out in seven is lost.
    DropFanOut,
    /// One fan-out in seven arrives twice.
    DoubleFanOut,
    /// Two neighbours of a delivery lane change places.
    SwapDeliveries,
    /// Leaves are messages that may be lost.
    DropLeave,
    /// A late answer reaches the next session in the slot.
    WrongGeneration,
    /// A join is answered without its ack.
    LoseAck,
    /// One roster broadcast in five is lost.
    DropRoster,
    /// A first roster never comes.
    DropMemberRoster,
    /// What a user reads is not sent to one edge.
    DropReading,
    /// The last number of a room is not sent to one edge.
    DropTip,
    /// Requests and deliveries share a lane.
    OneLane,
    /// A lane says it has one slot more than it has.
    LaneTooRoomy,
    /// A message is stored and refused.
    StoreAppliesThenRefuses,
    /// The store does not know client ids.
    ForgetCids,
    /// Ids of one commit come back in another order.
    StoreSwapsIds,
    /// The bytes of one flush in forty are lost.
    DropBytes,
    /// A poll is answered with the answer of the one before.
    StaleAnswer,
    /// Nothing happens at a deadline.
    ForgetDeadlines,
    /// Two commits of different nodes get the same number.
    NumberTwice,
    /// The log answers a fetch with nothing.
    FetchNothing,
    /// One of three arrivals and departures of other nodes does not arrive.
    DropPresent,
    /// One of five arrivals and departures here is not sent to other nodes.
    KeepPresent,
    /// That a node is gone reaches no shard.
    DropNodeGone,
    /// One of three batches of messages from other nodes does not arrive, nor how far they are.
    DropMessages,
    /// The end of a session is not sent to the map.
    KeepConnection,
    /// Inside the engine: only `Shard::check`, or a bound of a script, can see it.
    Engine(OfEngine),
    /// Inside the chat: only `Shard::check` can see it.
    Chat(OfChat),
}

/// What scripts against one shard must notice.
pub const OF_SCRIPTS: [Canary; 8] = [
    Canary::Engine(OfEngine::UncountedPollBytes),
    Canary::Chat(OfChat::UncountedPendingBytes),
    Canary::Engine(OfEngine::KeepPoll),
    Canary::Engine(OfEngine::KeepSlow),
    Canary::Engine(OfEngine::KeepAccount),
    Canary::Chat(OfChat::KeepTip),
    Canary::Engine(OfEngine::FreeWork),
    Canary::Engine(OfEngine::NoConnectTimer),
];

impl Canary {
    pub const ALL: [Canary; 37] = [
        Canary::DropFanOut,
        Canary::DoubleFanOut,
        Canary::SwapDeliveries,
        Canary::DropLeave,
        Canary::WrongGeneration,
        Canary::LoseAck,
        Canary::DropRoster,
        Canary::DropMemberRoster,
        Canary::DropReading,
        Canary::DropTip,
        Canary::OneLane,
        Canary::LaneTooRoomy,
        Canary::StoreAppliesThenRefuses,
        Canary::ForgetCids,
        Canary::StoreSwapsIds,
        Canary::DropBytes,
        Canary::StaleAnswer,
        Canary::ForgetDeadlines,
        Canary::NumberTwice,
        Canary::FetchNothing,
        Canary::DropPresent,
        Canary::KeepPresent,
        Canary::DropNodeGone,
        Canary::DropMessages,
        Canary::KeepConnection,
        Canary::Engine(OfEngine::ListPipeTwice),
        Canary::Engine(OfEngine::KeepHolder),
        Canary::Engine(OfEngine::UncountedPollBytes),
        Canary::Engine(OfEngine::NoConnectTimer),
        Canary::Engine(OfEngine::KeepAccount),
        Canary::Engine(OfEngine::KeepPoll),
        Canary::Chat(OfChat::KeepTip),
        Canary::Chat(OfChat::UncountedPendingBytes),
        Canary::Chat(OfChat::ListRoomTwice),
        Canary::Chat(OfChat::KeepReceiver),
        Canary::Chat(OfChat::KeepAsking),
        Canary::Chat(OfChat::KeepRemote),
    ];

    /// Whether it needs several nodes.
    pub fn is_of_cluster(self) -> bool {
        match self {
            Canary::Chat(inner) => inner == OfChat::KeepRemote,
            Canary::NumberTwice
            | Canary::FetchNothing
            | Canary::DropPresent
            | Canary::KeepPresent
            | Canary::DropNodeGone
            | Canary::DropMessages
            | Canary::KeepConnection => true,
            _ => false,
        }
    }

    /// Arms the canary inside the cores of this thread, and disarms all others.
    pub fn arm(canary: Option<Canary>) {
        let (of_engine, of_chat) = match canary {
            Some(Canary::Engine(inner)) => (Some(inner), None),
            Some(Canary::Chat(inner)) => (None, Some(inner)),
            _ => (None, None),
        };
        #[cfg(debug_assertions)]
        throng_engine::canary::arm(of_engine);
        #[cfg(debug_assertions)]
        throng_chat::canary::arm(of_chat);
        let is_inside = of_engine.is_some() || of_chat.is_some();
        assert!(cfg!(debug_assertions) || !is_inside, "only debug builds have these canaries");
    }

    /// As it is written on the command line.
    pub fn name(self) -> String {
        match self {
            Canary::Engine(inner) => format!("{inner:?}"),
            Canary::Chat(inner) => format!("{inner:?}"),
            other => format!("{other:?}"),
        }
    }

    pub fn parse(name: &str) -> Option<Canary> {
        Canary::ALL.into_iter().find(|canary| canary.name().eq_ignore_ascii_case(name))
    }
}
