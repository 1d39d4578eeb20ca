//! The ways into all shards.

use std::sync::Arc;

use throng_engine::{App, ShardId};

use super::handle::ShardHandle;
use super::to_shard::ToShard;

/// The ways into all shards.
pub struct ShardHandles<A: App>(Arc<[ShardHandle<A>]>);

impl<A: App> Clone for ShardHandles<A> {
    fn clone(&self) -> ShardHandles<A> {
        ShardHandles(Arc::clone(&self.0))
    }
}

impl<A: App> ShardHandles<A> {
    pub(super) fn new(handles: Vec<ShardHandle<A>>) -> ShardHandles<A> {
        ShardHandles(handles.into())
    }

    /// The handle of one shard; `None` if there is no such shard.
    pub fn to(&self, shard: ShardId) -> Option<&ShardHandle<A>> {
        self.0.get(usize::from(shard.0))
    }

    /// All handles, by the number of the shard.
    pub fn iter(&self) -> std::slice::Iter<'_, ShardHandle<A>> {
        self.0.iter()
    }

    /// The number of shards.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Sends the same to every shard.
    pub async fn send_all(&self, make: impl Fn() -> ToShard<A>) {
        for handle in self.iter() {
            // A shard that has ended needs no item.
            let _ = handle.send(make()).await;
        }
    }
}
