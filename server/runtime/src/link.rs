//! The channels between the shards and the HTTP thread.

mod channels;
mod connections;
mod handle;
mod handles;
mod is_identified;
mod to_shard;

pub use channels::{COMMANDS_MAX, HttpChannels, SIGNALS_MAX, ShardChannels, channels};
pub use connections::{Handover, Handovers, Upgraded};
pub use handle::{ShardEnded, ShardHandle};
pub use handles::ShardHandles;
pub use is_identified::IsIdentified;
pub use to_shard::ToShard;
