//! All keys in Redis.
//!
//! ```text
//! throng:node:<id>            string  incarnation; expires with the lease
//! throng:nodes                hash    incarnation → {"id":3,"ready":true,"addr":"host:port","started":ms}
//! throng:presence:<room>      hash    <incarnation>/<user> → {"name":…,"avatar":…}
//! throng:rooms:<incarnation>  set     rooms in whose presence hash it may have fields
//! throng:fds:<incarnation>    set     <fd>/<room name>: its possible members of the original's sets
//! throng:log:{<n>}            stream  the entries of the rooms with room % log_streams = n
//! throng:seq:{<n>}            hash    room → last number (ephemeral only)
//! throng:cid:{<n>}:<room>:<user>:<cid>  string  number of the message; expires (ephemeral only)
//! throng:answer:{<n>}:<process>:<publish>  string  numbers of a batch; expires (ephemeral, on a Redis Cluster)
//!
//! socket_id                   hash    user → fd of their newest connection
//! swoole:rooms:<room name>    set     fds
//! swoole:fds:<fd>             set     room names
//! ```

use throng_chat::{Cid, RoomId, UserId};

use crate::event::PublishId;
use crate::order::Fd;
use crate::settings::Settings;

/// Builds and parses keys with the prefixes of the settings.
pub struct Keys {
    prefix: String,
    map_prefix: String,
    room_name: String,
    log_streams: u16,
    pub registry: String,
    pub socket_id: String,
}

impl Keys {
    pub fn new(settings: &Settings) -> Keys {
        Keys {
            prefix: settings.prefix.clone(),
            map_prefix: settings.map_prefix.clone(),
            room_name: settings.room_name.clone(),
            log_streams: settings.log_streams.max(1),
            registry: format!("{}nodes", settings.prefix),
            socket_id: settings.socket_id_key.clone(),
        }
    }

    /// The lease of a node id.
    pub fn lease(&self, id: u16) -> String {
        format!("{}node:{id}", self.prefix)
    }

    /// The users in a room, of all nodes.
    pub fn presence(&self, room: RoomId) -> String {
        format!("{}presence:{}", self.prefix, room.0)
    }

    /// The rooms in which an incarnation may have fields.
    pub fn owned_rooms(&self, incarnation: &str) -> String {
        format!("{}rooms:{incarnation}", self.prefix)
    }

    /// The pairs of the original's map that an incarnation may have written.
    pub fn owned_fds(&self, incarnation: &str) -> String {
        format!("{}fds:{incarnation}", self.prefix)
    }

    /// The number of a room's stream. The braces in its keys are a hash tag: the log and the counters
    /// of one stream share a slot of a Redis Cluster.
    pub fn partition(&self, room: RoomId) -> u16 {
        (room.0 % u32::from(self.log_streams)) as u16
    }

    /// The stream of a partition.
    pub fn log(&self, partition: u16) -> String {
        format!("{}log:{{{partition}}}", self.prefix)
    }

    /// The reverse of [`Keys::log`].
    pub fn partition_of(&self, stream: &str) -> Option<u16> {
        let number = stream.strip_prefix(&self.prefix)?.strip_prefix("log:{")?.strip_suffix('}')?;
        number.parse().ok().filter(|partition| *partition < self.log_streams)
    }

    /// The last numbers of a partition's rooms (`ephemeral`).
    pub fn counters(&self, partition: u16) -> String {
        format!("{}seq:{{{partition}}}", self.prefix)
    }

    /// The number of a message that its author may send again (`ephemeral`).
    pub fn cid(&self, room: RoomId, user: UserId, cid: &Cid) -> String {
        let (partition, cid) = (self.partition(room), cid.as_str());
        format!("{}cid:{{{partition}}}:{}:{}:{cid}", self.prefix, room.0, user.0)
    }

    /// The numbers that a publish of a process was given (`ephemeral`).
    pub fn answer(&self, partition: u16, process: &str, publish_id: PublishId) -> String {
        format!("{}answer:{{{partition}}}:{process}:{}", self.prefix, publish_id.0)
    }

    /// The numbers of all streams.
    pub fn partitions(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.log_streams
    }

    // ---- the original's keys ------------------------------------------------------------------

    /// The name of a room in the original's sets.
    pub fn room_name(&self, room: RoomId) -> String {
        self.room_name.replace("{id}", &room.0.to_string())
    }

    /// The original's room for all connections of a user.
    pub fn user_name(user: UserId) -> String {
        format!("uid_{}", user.0)
    }

    /// The reverse of [`Keys::user_name`].
    pub fn user_of(name: &str) -> Option<UserId> {
        name.strip_prefix("uid_")?.parse().ok().map(UserId)
    }

    /// The fds in a room of the original.
    pub fn fds_of(&self, name: &str) -> String {
        format!("{}rooms:{name}", self.map_prefix)
    }

    /// The rooms of an fd in the original.
    pub fn names_of(&self, fd: Fd) -> String {
        format!("{}fds:{fd}", self.map_prefix)
    }
}

/// The field of a user in a presence hash: `<incarnation>/<user>`.
pub fn presence_field(incarnation: &str, user: UserId) -> String {
    format!("{incarnation}/{}", user.0)
}

/// The prefix of all fields of an incarnation, and of no other's.
pub fn presence_prefix(incarnation: &str) -> String {
    format!("{incarnation}/")
}

/// The reverse of [`presence_field`].
pub fn parse_presence_field(field: &str) -> Option<(&str, UserId)> {
    let (incarnation, user) = field.split_once('/')?;
    Some((incarnation, UserId(user.parse().ok()?)))
}

/// One pair of the original's map in the set of what an incarnation owns: `<fd>/<room name>`.
pub fn owned_pair(fd: Fd, name: &str) -> String {
    format!("{fd}/{name}")
}

/// The reverse of [`owned_pair`].
pub fn parse_owned_pair(member: &str) -> Option<(Fd, &str)> {
    let (fd, name) = member.split_once('/')?;
    Some((Fd(fd.parse().ok()?), name))
}
