//! Deliberate defects at the world's boundary. A checker that has never been seen to fail proves
//! nothing, so each of these must be caught.

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
    /// A late answer reaches the slot's next tenant.
    WrongGeneration,
    /// A join is answered without its ack.
    LoseAck,
    /// One roster broadcast in five is lost.
    DropRoster,
    /// A first roster never comes.
    DropSnapshot,
    /// What a user reads is not told to one edge.
    DropReading,
    /// The last number of a room is not told to one edge.
    DropTip,
    /// Requests and deliveries share a lane.
    OneLane,
    /// A lane says it has one slot more than it has.
    LaneTooRoomy,
    /// A message is stored and refused.
    StoreAppliesThenRefuses,
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
    /// One of five arrivals and departures here is not told to others.
    KeepPresent,
    /// Nobody hears that a node is gone.
    DropNodeGone,
    /// One of three batches of messages from other nodes is not heard, nor how far they are.
    DropMessages,
    /// The end of a session is not told to the map.
    KeepConnection,
}

impl Canary {
    pub const ALL: [Canary; 24] = [
        Canary::DropFanOut,
        Canary::DoubleFanOut,
        Canary::SwapDeliveries,
        Canary::DropLeave,
        Canary::WrongGeneration,
        Canary::LoseAck,
        Canary::DropRoster,
        Canary::DropSnapshot,
        Canary::DropReading,
        Canary::DropTip,
        Canary::OneLane,
        Canary::LaneTooRoomy,
        Canary::StoreAppliesThenRefuses,
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
    ];

    /// Whether it needs several nodes.
    pub fn is_of_cluster(self) -> bool {
        self as u8 >= Canary::NumberTwice as u8
    }

    pub fn parse(name: &str) -> Option<Canary> {
        Canary::ALL.into_iter().find(|canary| format!("{canary:?}").eq_ignore_ascii_case(name))
    }
}
