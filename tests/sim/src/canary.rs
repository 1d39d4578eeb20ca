//! Deliberate defects, at the world's boundary or inside a core. A checker that has never been seen
//! to fail proves nothing, so each of these must be caught.

use throng_engine::canary::Canary as Inner;

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
    /// One of three arrivals and departures of other nodes is not heard.
    DropPresent,
    /// One of five arrivals and departures here is not sent to other nodes.
    KeepPresent,
    /// Nobody hears that a node is gone.
    DropNodeGone,
    /// One of three batches of messages from other nodes is not heard, nor how far they are.
    DropMessages,
    /// The end of a session is not sent to the map.
    KeepConnection,
    /// Inside a core: only `Shard::check` can see it.
    Core(Inner),
}

/// What scripts against one shard must notice.
pub const OF_SCRIPTS: [Inner; 8] = [
    Inner::UncountedPollBytes,
    Inner::UncountedPendingBytes,
    Inner::KeepPoll,
    Inner::KeepSlow,
    Inner::KeepAccount,
    Inner::KeepTip,
    Inner::FreeWork,
    Inner::NoConnectTimer,
];

impl Canary {
    pub const ALL: [Canary; 36] = [
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
        Canary::Core(Inner::ListPipeTwice),
        Canary::Core(Inner::KeepHolder),
        Canary::Core(Inner::UncountedPollBytes),
        Canary::Core(Inner::NoConnectTimer),
        Canary::Core(Inner::KeepAccount),
        Canary::Core(Inner::KeepPoll),
        Canary::Core(Inner::KeepTip),
        Canary::Core(Inner::UncountedPendingBytes),
        Canary::Core(Inner::ListRoomTwice),
        Canary::Core(Inner::KeepReceiver),
        Canary::Core(Inner::KeepRemote),
    ];

    /// Whether it needs several nodes.
    pub fn is_of_cluster(self) -> bool {
        match self {
            Canary::Core(inner) => inner == Inner::KeepRemote,
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
        let inner = match canary {
            Some(Canary::Core(inner)) => Some(inner),
            _ => None,
        };
        #[cfg(debug_assertions)]
        throng_engine::canary::arm(inner);
        assert!(cfg!(debug_assertions) || inner.is_none(), "only debug builds have these canaries");
    }

    /// As it is written on the command line.
    pub fn name(self) -> String {
        match self {
            Canary::Core(inner) => format!("{inner:?}"),
            other => format!("{other:?}"),
        }
    }

    pub fn parse(name: &str) -> Option<Canary> {
        Canary::ALL.into_iter().find(|canary| canary.name().eq_ignore_ascii_case(name))
    }
}
