//! What the API needs from the rest of the server.

use std::sync::Arc;
use std::time::Duration;

use throng_store::{Store, UserRow};
use throng_wire::http::ClientKey;

use crate::{RestCounters, Settings};

/// A token that was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// Id of its user.
    pub user: u32,
}

/// Who is in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomPresence {
    /// Number of users present.
    pub online: u32,
    /// Whether the user has a session there, so that they have read all of it.
    pub is_present: bool,
}

/// How rooms (second) stand with a user (first); one answer for each, in their order.
pub type PresenceOfRooms = Arc<dyn Fn(u32, &[u32]) -> Vec<RoomPresence> + Send + Sync>;

/// Called after every request with its route (not its path) and the status of its response.
pub type OnRequest = Arc<dyn Fn(&str, u16) + Send + Sync>;

/// A limit that a client or a user has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// Its key.
    pub setting: &'static str,
    /// Until the same would be allowed.
    pub wait: Duration,
}

/// Books an upload of so many bytes (second) for a user (first), or answers what it is over.
pub type TakeUpload = Arc<dyn Fn(u32, u64) -> Result<(), OverLimit> + Send + Sync>;

/// Books the look-up of a token for a client, or answers how long it has to wait.
pub type TakeLookup = Arc<dyn Fn(ClientKey) -> Result<(), Duration> + Send + Sync>;

/// The store, the settings, and closures that ask the shards and notify them. The closures are
/// called on the router's runtime and must not block. None has a default: one that was forgotten would
/// do nothing, and a logout would revoke nothing.
#[derive(Clone)]
pub struct Deps {
    /// Users, rooms, messages and images; and how what the server depends on is.
    pub store: Store,
    /// Limits and choices.
    pub settings: Settings,
    /// How rooms (second) stand with a user (first); one answer for each, in their order.
    pub rooms: PresenceOfRooms,
    /// Called before an image is stored.
    pub take_upload: TakeUpload,
    /// Called before a token is looked up.
    pub take_lookup: TakeLookup,
    /// Called after a look-up whose token was valid, or that failed: those do not count.
    pub give_back_lookup: Arc<dyn Fn(ClientKey) + Send + Sync>,
    /// Called after a logout: sessions with the token lose their identity.
    pub on_revoked: Arc<dyn Fn(Revoked) + Send + Sync>,
    /// Called after a change of an avatar.
    pub on_user_changed: Arc<dyn Fn(&UserRow) + Send + Sync>,
    /// Called after every request.
    pub on_request: OnRequest,
    /// What the API counts.
    pub counters: Arc<RestCounters>,
    /// The metrics of the whole server in Prometheus text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}
