//! A room as the store has it.

use crate::ids::{RoomId, Seq};

/// One room as known at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    /// The room.
    pub id: RoomId,
    /// Its name, for people.
    pub name: Box<str>,
    /// Number of its last message; 0 if it has none.
    pub last_seq: Seq,
}
