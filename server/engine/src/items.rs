//! What travels between a shard and the rest of the world, as types that only the application knows.

/// The items of an application: what its edges and homes send to each other, and what they exchange
/// with the world outside the shard. [`std::convert::Infallible`] stands for an item that there is
/// not.
pub trait Items: Sized + 'static {
    /// From an edge to a home.
    type Request: Send + 'static;
    /// From a home to an edge. Handling one never emits a request or a delivery, so deliveries
    /// always drain and no cycle of full lanes can block.
    type Delivery: Send + 'static;
    /// Work for the world outside the shard, such as a database.
    type Command: Send + 'static;
    /// The answer to a command; each command gets exactly one.
    type Reply: Send + 'static;
    /// What this shard reports to other nodes.
    type Signal: Send + 'static;
    /// What other threads of this process report to the shard.
    type Notice: Send + 'static;
    /// A line for the operator.
    type Log: Send + 'static;
    /// A change of the shard's [`crate::App::View`].
    type Change: Send + 'static;
}
