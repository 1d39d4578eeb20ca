//! Limits and counters of the application of named rooms.

/// Limits of [`super::Rooms`], and its handler. [`Settings::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Settings<H> {
    /// Cloned for each shard.
    pub handler: H,
    /// Rooms that one client may be in or have asked to join. A room that it leaves counts no more.
    ///
    /// Default: `64` rooms.
    pub rooms_per_session_max: u32,
    /// Length of a room's name.
    ///
    /// Default: `256` bytes.
    pub name_bytes_max: u32,
    /// Bytes of requests that may wait for other shards before the client that adds more is
    /// disconnected.
    ///
    /// Default: `64 << 20` bytes.
    pub waiting_bytes_max: u32,
    /// Rooms with state that have their home on one shard; joins of further ones are refused.
    ///
    /// Default: `1 << 20` rooms.
    pub rooms_per_shard_max: u32,
    /// Members of a room with state; one more is refused.
    ///
    /// Default: `100_000` members.
    pub members_per_room_max: u32,
    /// Bytes that one call of a [`super::RoomState`] may send; further events are dropped. An event to
    /// the room counts once for each shard with members.
    ///
    /// Default: `64 << 20` bytes.
    pub home_bytes_max: u32,
    /// Time between two calls of [`super::Handler::tick`] and of [`super::RoomState::tick`]; 0 is never.
    ///
    /// Default: `0` ms.
    pub tick_ms: u32,
}

impl<H> Settings<H> {
    /// The defaults.
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

#[cfg(test)]
mod tests {
    /// The code of the default and that of the documentation are the same text.
    #[test]
    fn each_limit_documents_its_default() {
        let source = include_str!("settings.rs");
        let (fields, rest) = source.split_once("impl<H>").expect("the fields come first");
        let mut documented = Vec::new();
        let mut default = None;
        for line in fields.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("/// Default: `") {
                default = text.split_once('`').map(|(default, _)| default);
            } else if let Some((name, _)) =
                line.strip_prefix("pub ").and_then(|it| it.split_once(": "))
            {
                let default = default.take();
                documented.extend(default.map(|default| format!("{name}: {default},")));
            }
        }
        let (_, set) = rest.split_once("handler,\n").expect("new sets them");
        let (set, _) = set.split_once('}').expect("the value ends");
        let set: Vec<&str> = set.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(documented, set);
    }
}
