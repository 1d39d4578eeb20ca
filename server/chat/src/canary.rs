//! Deliberate defects inside the chat, for the simulation; see `canary` of the engine.

throng_engine::canaries! {
    /// Edge: the number of a room's last message that comes after the edge has settled gets no deadline.
    KeepTip,
    /// Edge: a user whose last session has ended is still listed as a follower.
    KeepFollower,
    /// Edge: a session that has to be told a number is not listed.
    DropWaiting,
    /// Edge: bytes of events that wait for the store are not counted.
    UncountedPendingBytes,
    /// Home: a changed room is listed twice for the end of the turn.
    ListRoomTwice,
    /// Roster: a delta member that left still counts as a receiver of changes.
    KeepReceiver,
    /// Edge: a session whose token was looked up stays listed as one that asks.
    KeepAsking,
    /// Home: a user that left another node still counts as present there.
    KeepRemote,
}
