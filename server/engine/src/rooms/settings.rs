//! Limits and counters of the application of named rooms.

/// Limits of [`super::Rooms`], and its handler.
#[derive(Clone, Debug)]
pub struct Settings<H> {
    /// Cloned for each shard.
    pub handler: H,
    /// Rooms that one client may be in.
    pub rooms_per_session_max: u32,
    /// Bytes of a room's name.
    pub name_bytes_max: u32,
    /// Bytes of events and acks that may wait for other shards before the client that adds more is
    /// disconnected.
    pub waiting_bytes_max: u32,
}

impl<H> Settings<H> {
    /// Production defaults.
    pub fn new(handler: H) -> Settings<H> {
        Settings {
            handler,
            rooms_per_session_max: 64,
            name_bytes_max: 256,
            waiting_bytes_max: 64 << 20,
        }
    }
}

throng_tables::metrics! {
    /// What [`super::Rooms`] counts.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Counters: u64, "";

    Gauge rooms "rooms": "Rooms that have their home on this shard.";
    Counter joins "sessions": "Sessions that entered a room.";
    Counter leaves "sessions": "Sessions that left a room and stayed connected.";
    Counter lane_refusals_request "requests": "Requests refused because the request lane was full.";
}
