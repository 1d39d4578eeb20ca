//! The way into one shard from another thread.

use std::sync::Arc;

use throng_engine::App;
use throng_mesh::Bell;
use tokio::sync::{mpsc, watch};

use super::to_shard::ToShard;

/// The way into one shard from another thread. Sending wakes the shard.
pub struct ShardHandle<A: App> {
    inbox: mpsc::Sender<ToShard<A>>,
    replies: mpsc::Sender<A::Reply>,
    bell: Arc<Bell>,
    is_hung: watch::Sender<bool>,
}

impl<A: App> Clone for ShardHandle<A> {
    fn clone(&self) -> ShardHandle<A> {
        ShardHandle {
            inbox: self.inbox.clone(),
            replies: self.replies.clone(),
            bell: Arc::clone(&self.bell),
            is_hung: self.is_hung.clone(),
        }
    }
}

/// The thread of the shard has ended: the server is stopping.
#[derive(Debug, PartialEq, Eq)]
pub struct ShardEnded;

impl<A: App> ShardHandle<A> {
    pub(super) fn new(
        inbox: mpsc::Sender<ToShard<A>>,
        replies: mpsc::Sender<A::Reply>,
        bell: Arc<Bell>,
    ) -> ShardHandle<A> {
        ShardHandle { inbox, replies, bell, is_hung: watch::Sender::new(false) }
    }

    /// Waits while the shard's inbox is full.
    ///
    /// # Errors
    /// [`ShardEnded`]: the item is lost.
    pub async fn send(&self, item: ToShard<A>) -> Result<(), ShardEnded> {
        self.inbox.send(item).await.map_err(|_| ShardEnded)?;
        self.bell.ring();
        Ok(())
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// The item, when the inbox is full or the thread has ended; [`ShardHandle::has_ended`] says which.
    pub fn try_send(&self, item: ToShard<A>) -> Result<(), ToShard<A>> {
        self.inbox.try_send(item).map_err(mpsc::error::TrySendError::into_inner)?;
        self.bell.ring();
        Ok(())
    }

    /// The thread of the shard has ended.
    pub fn has_ended(&self) -> bool {
        self.inbox.is_closed()
    }

    /// The shard makes no turns, so nothing that is sent to it will be answered soon.
    pub fn is_hung(&self) -> bool {
        *self.is_hung.borrow()
    }

    /// Completes while the shard makes no turns.
    pub async fn hung(&self) {
        // The sender lives as long as this handle.
        let _ = self.is_hung.subscribe().wait_for(|is_hung| *is_hung).await;
    }

    pub(crate) fn set_hung(&self, is_hung: bool) {
        self.is_hung.send_replace(is_hung);
    }

    /// Makes a sleeping shard take a turn.
    pub(crate) fn wake(&self) {
        self.bell.ring();
    }

    /// Waits until the inbox has a free slot.
    pub async fn has_free_slot(&self) {
        // If the shard has ended, the next send fails.
        drop(self.inbox.reserve().await);
    }

    /// Replies to one command. Never waits: each unanswered command has its slot.
    pub fn reply(&self, reply: A::Reply) {
        self.reply_all([reply]);
    }

    /// Replies to several commands and wakes the shard once. Never waits.
    pub fn reply_all(&self, replies: impl IntoIterator<Item = A::Reply>) {
        for reply in replies {
            match self.replies.try_send(reply) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    unreachable!("a shard has no more unanswered commands than reply slots")
                }
            }
        }
        self.bell.ring();
    }
}
