//! A member, as the home of a room with state keeps it.

use super::memberships::MembershipId;
use crate::ids::SocketId;

/// A member, as the home of a room with state keeps it.
pub(super) struct KeptMember {
    pub(super) id: SocketId,
    pub(super) membership_id: MembershipId,
    /// It has been removed, and its edge has not answered.
    pub(super) is_leaving: bool,
}

impl KeptMember {
    /// Whether it is this client, and has not been removed.
    pub(super) fn is(&self, id: SocketId) -> bool {
        self.id == id && !self.is_leaving
    }
}
