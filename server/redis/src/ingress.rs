//! Receives the broadcasts of other programs for our rooms.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use redis::aio::PubSubSink;
use redis::{Msg, Value};
use throng_chat::cluster::{Audience, Emit};
use throng_chat::{RoomId, UserId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::adapter::{Broadcast, Channels, Scope, UID, is_from};
use crate::connector::Connector;
use crate::counters::Counters;
use crate::failure::Failure;
use crate::names::{Named, RoomNames};

/// Delay between two attempts to connect, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Time without a publication after which Redis is asked whether the connection still carries bytes.
/// A connection that only listens is not found lost by what it sends.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Publications read at a time.
const MESSAGES_MAX: usize = 256;

/// The subscriber, before it runs.
pub struct Ingress {
    /// Opens the subscription.
    pub connector: Arc<Connector>,
    /// The channels to subscribe to.
    pub channels: Channels,
    /// Names of rooms and users in broadcasts.
    pub names: RoomNames,
    /// Size of a publication.
    pub bytes_max: usize,
    /// How long Redis may take to accept the subscription, and to answer on a silent connection.
    pub timeout: Duration,
    /// Counts what is received.
    pub counters: Arc<Counters>,
}

impl Ingress {
    /// Runs until the receiver of `emits` is dropped.
    pub async fn run(self, emits: mpsc::Sender<Arc<Emit>>) {
        let mut retry = RETRY_MIN;
        while !emits.is_closed() {
            match self.listen(&emits, &mut retry).await {
                Ok(()) => return,
                Err(failure) => tracing::debug!(%failure, "the subscription to Redis failed"),
            }
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = emits.closed() => return,
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Runs one connection. It subscribes to one pattern for all rooms, as Node's adapter does: a
    /// subscription per room would start after its first member has joined, and miss what is
    /// published in between.
    async fn listen(
        &self,
        emits: &mpsc::Sender<Arc<Emit>>,
        retry: &mut Duration,
    ) -> Result<(), Failure> {
        let (mut sink, mut messages) = self.connector.subscriber().await?.split();
        let subscribing = timeout(self.timeout, sink.psubscribe(self.channels.pattern()));
        subscribing.await.map_err(|_| Failure::Timeout)??;
        *retry = RETRY_MIN;
        self.counters.subscribed.store(1, Relaxed);
        let _subscribed = Subscribed(&self.counters);
        loop {
            let taken = match timeout(SILENCE_MAX, self.take(&mut messages, emits)).await {
                Ok(taken) => taken,
                // A publication is an answer too: the one to the ping may wait behind many of them.
                Err(_) => tokio::select! {
                    taken = self.take(&mut messages, emits) => taken,
                    answered = self.ping(&mut sink) => {
                        answered?;
                        continue;
                    }
                },
            };
            if !taken {
                break;
            }
        }
        if emits.is_closed() { Ok(()) } else { Err(Failure::Down) }
    }

    /// Waits until Redis answers. What it answers does not matter: a user who may not ping may listen.
    async fn ping(&self, sink: &mut PubSubSink) -> Result<(), Failure> {
        let answer = timeout(self.timeout, sink.ping::<Value>());
        match answer.await.map_err(|_| Failure::Timeout)?.map_err(Failure::from) {
            Err(failure @ (Failure::Down | Failure::Timeout)) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Reads the publications that have arrived; false at the end of the connection. Loses none when it
    /// is dropped before it is done.
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
                Ok(()) => count(&self.counters.events_in),
                Err(mpsc::error::TrySendError::Full(_)) => count(&self.counters.skipped_busy),
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
        }
        true
    }

    fn read(&self, message: &Msg) -> Option<Emit> {
        let scope = self.channels.scope(message.get_channel_name())?;
        let bytes = message.get_payload_bytes();
        // Publications for rooms of other programs, and our own, may be most of them: both are
        // recognised without decoding.
        if matches!(scope, Scope::Room(name) if self.names.meaning(name).is_none()) {
            count(&self.counters.skipped_foreign);
            return None;
        }
        if is_from(UID, bytes) {
            return None;
        }
        let broadcast = match Broadcast::decode(bytes, self.bytes_max) {
            Ok(broadcast) => broadcast,
            Err(malformed) => {
                count(self.counters.malformed(malformed));
                return None;
            }
        };
        if broadcast.uid == UID {
            return None;
        }
        // The broadcast normally names the room of its channel; where they differ, the broadcast
        // counts, as in Node's adapter.
        let to = match (broadcast.rooms.is_empty(), scope) {
            (true, Scope::Named) => None,
            (true, Scope::Room(name)) => Some(self.audiences(&[name.to_owned()])),
            (false, _) => Some(self.audiences(&broadcast.rooms)),
        };
        if to.as_ref().is_some_and(|to| to.is_empty()) {
            count(&self.counters.skipped_foreign);
            return None;
        }
        let except = self.audiences(&broadcast.except);
        Some(Emit { to, except, event: broadcast.event.into() })
    }

    /// The rooms and users among the names.
    fn audiences(&self, names: &[String]) -> Box<[Audience]> {
        let known = names.iter().filter_map(|name| self.names.meaning(name));
        let audiences = known.map(|meaning| match meaning {
            Named::Room(id) => Audience::Room(RoomId(id)),
            Named::User(id) => Audience::User(UserId(id)),
        });
        audiences.collect()
    }
}

/// Records the end of the subscription when it is dropped.
struct Subscribed<'a>(&'a Counters);

impl Drop for Subscribed<'_> {
    fn drop(&mut self) {
        self.0.subscribed.store(0, Relaxed);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
