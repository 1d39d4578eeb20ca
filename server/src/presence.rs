//! Presence as the shards publish it, for the REST API and the metrics.

use std::sync::{Arc, Mutex, PoisonError};

use throng_chat::Presence;

/// Calls `of` with the presence of each shard, one after the other.
pub(crate) fn read<T>(
    views: &[Arc<Mutex<Presence>>],
    mut of: impl FnMut(&Presence) -> T,
) -> Vec<T> {
    views.iter().map(|view| of(&view.lock().unwrap_or_else(PoisonError::into_inner))).collect()
}
