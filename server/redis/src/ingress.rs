//! Listens to what other programs publish for our rooms.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use redis::Msg;
use throng_core::cluster::{Audience, Emit};
use throng_core::{RoomId, UserId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::adapter::{Broadcast, Channels, Scope, is_from};
use crate::connector::Connector;
use crate::counters::Counters;
use crate::failure::Failure;
use crate::names::{Named, RoomNames};

/// Between two attempts to connect: at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Publications taken at a time.
const MESSAGES_MAX: usize = 256;

/// The publisher id of every Throng server: what one of them publishes the others have from its
/// log.
pub const UID: &str = "throng";
/// Why a publication for names that mean no room and no user of ours is not passed on.
const FOREIGN: &str = "foreign";

/// What the subscriber needs to know.
pub struct Ingress {
    pub connector: Arc<Connector>,
    pub channels: Channels,
    pub names: RoomNames,
    pub bytes_max: usize,
    pub timeout: Duration,
    pub counters: Arc<Counters>,
}

impl Ingress {
    /// Listens until nobody takes the events any more.
    pub async fn run(self, emits: mpsc::Sender<Arc<Emit>>) {
        let mut retry = RETRY_MIN;
        while !emits.is_closed() {
            match self.listen(&emits, &mut retry).await {
                Ok(()) => return,
                Err(failure) => tracing::debug!(%failure, "not subscribed"),
            }
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = emits.closed() => return,
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// One connection, from its subscription to its end. One pattern for all rooms, as the adapter of
    /// Node has it: a subscription per room would begin after its first member is there, and miss
    /// what is published in between.
    async fn listen(
        &self,
        emits: &mpsc::Sender<Arc<Emit>>,
        retry: &mut Duration,
    ) -> Result<(), Failure> {
        let (mut sink, mut messages) = self.connector.subscriber().await?.split();
        let subscribing = timeout(self.timeout, sink.psubscribe(self.channels.pattern()));
        subscribing.await.map_err(|_| Failure::Timeout)??;
        *retry = RETRY_MIN;
        self.counters.subscribed(true);
        let _subscribed = Subscribed(&self.counters);
        while self.take(&mut messages, emits).await {}
        if emits.is_closed() { Ok(()) } else { Err(Failure::Down) }
    }

    /// Takes one publication and those behind it; false when there will be no more.
    async fn take(
        &self,
        messages: &mut (impl Stream<Item = Msg> + Unpin),
        emits: &mpsc::Sender<Arc<Emit>>,
    ) -> bool {
        let mut messages = messages.ready_chunks(MESSAGES_MAX);
        let Some(chunk) = messages.next().await else { return false };
        for message in chunk {
            let Some(emit) = self.read(&message) else { continue };
            match emits.try_send(Arc::new(emit)) {
                Ok(()) => self.counters.count_emit(),
                Err(mpsc::error::TrySendError::Full(_)) => self.counters.count_skipped("busy"),
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
        }
        true
    }

    fn read(&self, message: &Msg) -> Option<Emit> {
        let scope = self.channels.scope(message.get_channel_name())?;
        let bytes = message.get_payload_bytes();
        // What is for rooms of others, a socket's own among them, or of ourselves, may be most of what
        // comes: it is known at a glance.
        if matches!(scope, Scope::Room(name) if self.names.meaning(name).is_none()) {
            self.counters.count_skipped(FOREIGN);
            return None;
        }
        if is_from(UID, bytes) {
            return None;
        }
        let broadcast = match Broadcast::decode(bytes, self.bytes_max) {
            Ok(broadcast) => broadcast,
            Err(malformed) => {
                self.counters.count_skipped(malformed.name());
                return None;
            }
        };
        if broadcast.uid == UID {
            return None;
        }
        // The channel of one room says the same as the broadcast; where it does not, both the
        // adapter of Node and we believe the broadcast.
        let to = match (broadcast.rooms.is_empty(), scope) {
            (true, Scope::Named) => None,
            (true, Scope::Room(name)) => Some(self.audiences(&[name.to_owned()])),
            (false, _) => Some(self.audiences(&broadcast.rooms)),
        };
        if to.as_ref().is_some_and(|to| to.is_empty()) {
            self.counters.count_skipped(FOREIGN);
            return None;
        }
        let except = self.audiences(&broadcast.except);
        Some(Emit { to, except, event: broadcast.event.into() })
    }

    /// Names of rooms and users; others mean nobody.
    fn audiences(&self, names: &[String]) -> Box<[Audience]> {
        let known = names.iter().filter_map(|name| self.names.meaning(name));
        let audiences = known.map(|named| match named {
            Named::Room(id) => Audience::Room(RoomId(id)),
            Named::User(id) => Audience::User(UserId(id)),
        });
        audiences.collect()
    }
}

/// Tells of the end of the subscription, however it comes.
struct Subscribed<'a>(&'a Counters);

impl Drop for Subscribed<'_> {
    fn drop(&mut self) {
        self.0.subscribed(false);
    }
}
