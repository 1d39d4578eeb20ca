//! Limits and counters of the application of named rooms.

/// Limits of [`super::Rooms`], and its handler.
#[derive(Clone, Debug)]
pub struct Settings<H> {
    /// Cloned for each shard.
    pub handler: H,
    /// Rooms that one client may be in or have asked to join. A room that it leaves counts no more.
    pub rooms_per_session_max: u32,
    /// Bytes of a room's name.
    pub name_bytes_max: u32,
    /// Bytes of requests that may wait for other shards before the client that adds more is
    /// disconnected.
    pub waiting_bytes_max: u32,
    /// Rooms with state that have their home on one shard; joins of further ones are refused.
    pub rooms_per_shard_max: u32,
    /// Members of a room with state; one more is refused.
    pub members_per_room_max: u32,
    /// Bytes that one call of a [`super::RoomState`] may send; further events are dropped. An event to
    /// the room counts once for each shard with members.
    pub home_bytes_max: u32,
    /// Time between two calls of [`super::Handler::tick`] and of [`super::RoomState::tick`], in ms;
    /// 0 is never.
    pub tick_ms: u32,
}

impl<H> Settings<H> {
    /// Production defaults.
    pub fn new(handler: H) -> Settings<H> {
        Settings {
            handler,
            rooms_per_session_max: 64,
            name_bytes_max: 256,
            waiting_bytes_max: 64 << 20,
            rooms_per_shard_max: 1 << 20,
            members_per_room_max: 100_000,
            home_bytes_max: 64 << 20,
            tick_ms: 0,
        }
    }
}

throng_tables::metrics! {
    /// What [`super::Rooms`] counts.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Counters: u64, "";

    Gauge rooms "rooms": "Rooms that have their home on this shard.";
    Counter connects_refused "connects": "Requests to connect that the handler refused.";
    Counter joins "sessions": "Sessions that entered a room.";
    Counter leaves "sessions": "Sessions that left a room and stayed connected.";
    Counter joins_refused "joins": "Joins that the room's state or a limit refused.";
    Counter leaves_late "requests": "Leaves sent before the refusal of the join arrived.";
    Counter sockets_unknown "requests": "Actions on a client that had gone.";
    Gauge home_members "members": "Members that rooms with state keep on this shard.";
    Gauge home_bytes "bytes": "Bytes that wait at homes for free slots of delivery lanes.";
    Counter home_emits_dropped "events": "Events of rooms with state dropped at the limit of one call.";
    Counter lane_refusals_request "requests": "Requests refused because the request lane was full.";
}
