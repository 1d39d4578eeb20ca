//! Inputs on their way to the shards, in order; they wait while inboxes are full.

use std::collections::VecDeque;

use throng_chat::cluster::ClusterInput;
use throng_chat::{Chat, Notice};
use throng_engine::{Keyed, ShardId, home_of};
use throng_runtime::link::{ShardHandles, ToShard};

const IS_SHARD: &str = "inputs go to the home of a room, or to each shard";

pub struct Inputs {
    handles: ShardHandles<Chat>,
    keyed: Keyed,
    waiting: VecDeque<(ShardId, ToShard<Chat>)>,
}

impl Inputs {
    pub fn new(handles: ShardHandles<Chat>, placement: [u8; 16]) -> Inputs {
        Inputs { handles, keyed: Keyed::new(placement), waiting: VecDeque::new() }
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends the input to its room's home, or to all shards if it concerns no room.
    pub fn push(&mut self, input: ClusterInput) {
        let shards = u8::try_from(self.handles.count()).expect("the number of shards is a byte");
        match input.room() {
            Some(room) => {
                let home = home_of(&self.keyed, room, shards);
                self.waiting.push_back((home, ToShard::Notice(Notice::Cluster(input))));
            }
            None => self.push_all(|| ToShard::Notice(Notice::Cluster(input.clone()))),
        }
    }

    pub fn push_all(&mut self, make: impl Fn() -> ToShard<Chat>) {
        let shards = u8::try_from(self.handles.count()).expect("the number of shards is a byte");
        self.waiting.extend((0..shards).map(|shard| (ShardId(shard), make())));
    }

    /// Sends what fits. The first that does not fit delays the others: shards empty their inboxes
    /// every turn.
    pub fn send_waiting(&mut self) {
        while let Some((shard, item)) = self.waiting.pop_front() {
            let handle = self.handles.to(shard).expect(IS_SHARD);
            if let Err(item) = handle.try_send(item) {
                // For a shard that has ended the item is dropped.
                if !handle.has_ended() {
                    self.waiting.push_front((shard, item));
                    return;
                }
            }
        }
    }

    /// Waits until the first input fits.
    pub async fn until_free_slot(&self) {
        match self.waiting.front() {
            Some((shard, _)) => self.handles.to(*shard).expect(IS_SHARD).has_free_slot().await,
            None => std::future::pending().await,
        }
    }
}
