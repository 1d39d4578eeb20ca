//! The keys, all in one place: what `redis-cli` shows.
//!
//! ```text
//! throng:node:<id>            string  incarnation; expires with the lease
//! throng:nodes                hash    incarnation → {"id":3,"ready":true,"addr":"host:port","started":ms}
//! throng:presence:<room>      hash    <incarnation>/<user> → {"name":…,"avatar":…}
//! throng:rooms:<incarnation>  set     rooms in whose presence hash it may have fields
//! throng:fds:<incarnation>    set     <fd>/<room name>: what it may have in the original's sets
//! throng:log:{<n>}            stream  what happened in the rooms with room % log_streams = n
//! throng:seq:{<n>}            hash    room → last number (ephemeral only)
//!
//! socket_id                   hash    user → fd of his newest connection
//! swoole:rooms:<room name>    set     fds
//! swoole:fds:<fd>             set     room names
//! ```

use throng_core::{RoomId, UserId};

use crate::order::Fd;
use crate::settings::Settings;

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

    pub fn lease(&self, id: u16) -> String {
        format!("{}node:{id}", self.prefix)
    }

    pub fn presence(&self, room: RoomId) -> String {
        format!("{}presence:{}", self.prefix, room.0)
    }

    pub fn owned_rooms(&self, incarnation: &str) -> String {
        format!("{}rooms:{incarnation}", self.prefix)
    }

    pub fn owned_fds(&self, incarnation: &str) -> String {
        format!("{}fds:{incarnation}", self.prefix)
    }

    /// The stream of a room. The braces are a hash tag: log and counters of a stream share a slot.
    pub fn partition(&self, room: RoomId) -> u16 {
        (room.0 % u32::from(self.log_streams)) as u16
    }

    pub fn log(&self, partition: u16) -> String {
        format!("{}log:{{{partition}}}", self.prefix)
    }

    /// The reverse of [`Keys::log`].
    pub fn partition_of(&self, stream: &str) -> Option<u16> {
        let number = stream.strip_prefix(&self.prefix)?.strip_prefix("log:{")?.strip_suffix('}')?;
        number.parse().ok().filter(|partition| *partition < self.log_streams)
    }

    pub fn counters(&self, partition: u16) -> String {
        format!("{}seq:{{{partition}}}", self.prefix)
    }

    pub fn partitions(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.log_streams
    }

    // ---- the original's -----------------------------------------------------------------------

    pub fn room_name(&self, room: RoomId) -> String {
        self.room_name.replace("{id}", &room.0.to_string())
    }

    /// The room of all connections of a user, as the original has it.
    pub fn user_name(user: UserId) -> String {
        format!("uid_{}", user.0)
    }

    /// The reverse of [`Keys::user_name`].
    pub fn user_of(name: &str) -> Option<UserId> {
        name.strip_prefix("uid_")?.parse().ok().map(UserId)
    }

    pub fn fds_of(&self, name: &str) -> String {
        format!("{}rooms:{name}", self.map_prefix)
    }

    pub fn names_of(&self, fd: Fd) -> String {
        format!("{}fds:{fd}", self.map_prefix)
    }
}

/// `<incarnation>/<user>`: whose field it is in a presence hash.
pub fn presence_field(incarnation: &str, user: UserId) -> String {
    format!("{incarnation}/{}", user.0)
}

/// Of all fields of an incarnation, and of no other's.
pub fn presence_prefix(incarnation: &str) -> String {
    format!("{incarnation}/")
}

pub fn parse_presence_field(field: &str) -> Option<(&str, UserId)> {
    let (incarnation, user) = field.split_once('/')?;
    Some((incarnation, UserId(user.parse().ok()?)))
}

/// `<fd>/<room name>`: one pair of the original's map, in the set of what an incarnation owns.
pub fn owned_pair(fd: Fd, name: &str) -> String {
    format!("{fd}/{name}")
}

pub fn parse_owned_pair(member: &str) -> Option<(Fd, &str)> {
    let (fd, name) = member.split_once('/')?;
    Some((Fd(fd.parse().ok()?), name))
}
