//! Defaults of settings that a server has through [`Options`](crate::Options) and a binary in a table of its
//! own. Those of [`http`](crate::http) stand there.

use throng_mesh::Capacity;

/// Connections that may be open.
pub const CONNECTIONS_MAX: u32 = 200_000;
/// Connections of one client.
pub const CONNECTIONS_PER_IP_MAX: u32 = 4096;
/// Items of each lane between two shards.
pub const LANES: Capacity = Capacity { request_lane_max: 4096, delivery_lane_max: 8192 };
