//! Capacity that is left in the lanes of one shard.

/// Free slots at the start of a turn. A shard never emits more than that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneSlots {
    /// Of the request lane to each shard.
    pub requests: Vec<u32>,
    /// Of the delivery lane to each shard.
    pub deliveries: Vec<u32>,
    /// Of the lane of commands.
    pub commands: u32,
    /// Of the lane of signals.
    pub signals: u32,
}
