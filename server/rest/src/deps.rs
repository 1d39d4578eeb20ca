//! What the front desk needs from the rest of the server.

use std::net::SocketAddr;
use std::sync::Arc;

use throng_store::{Store, UserRow};

use crate::Settings;

/// The other end of the connection a request came on; the shell puts it into the extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// A token that opens nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub token_hash: [u8; 32],
    pub user: u32,
}

/// Whether the server can serve, and what that was judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub is_ready: bool,
    /// Name of a check and its result in a word, such as `("shards", "ok")`.
    pub checks: Vec<(String, String)>,
}

/// Told after every request: its route, not its path, and the status of its answer.
pub type OnRequest = Arc<dyn Fn(&str, u16) + Send + Sync>;

/// The store, the settings, and questions and news for the shards. The closures are called on the
/// front desk's runtime and must not block.
#[derive(Clone)]
pub struct Deps {
    pub store: Store,
    pub settings: Settings,
    /// Users present in a room.
    pub rooms_online: Arc<dyn Fn(u32) -> u32 + Send + Sync>,
    /// Whether a user (first) has a session in a room (second): he has read all of it.
    pub is_present: Arc<dyn Fn(u32, u32) -> bool + Send + Sync>,
    /// After a logout: sessions that hold the token lose their identity.
    pub on_revoked: Arc<dyn Fn(Revoked) + Send + Sync>,
    /// After a change of the avatar.
    pub on_user_changed: Arc<dyn Fn(&UserRow) + Send + Sync>,
    pub on_request: OnRequest,
    /// The Prometheus text of the whole server.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Readiness of everything but the store, which the front desk asks itself.
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
}

impl Deps {
    /// A front desk with nobody behind it: no rooms occupied, no listeners.
    #[must_use]
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            settings,
            rooms_online: Arc::new(|_| 0),
            is_present: Arc::new(|_, _| false),
            on_revoked: Arc::new(|_| ()),
            on_user_changed: Arc::new(|_| ()),
            on_request: Arc::new(|_, _| ()),
            metrics: Arc::new(String::new),
            ready: Arc::new(|| Readiness { is_ready: true, checks: Vec::new() }),
        }
    }
}
