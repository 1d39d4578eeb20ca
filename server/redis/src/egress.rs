//! Publishes the messages of our rooms for servers that use Socket.IO's Redis adapter.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::json;
use throng_chat::RoomId;
use throng_chat::cluster::StoredMessage;
use tokio::sync::mpsc;

use crate::adapter::{Channels, UID, encode};
use crate::call::Call;
use crate::counters::Counters;
use crate::names::RoomNames;
use crate::pool::Commands;

/// Publications in one write.
const BATCH_MAX: usize = 256;
/// Publications in the queue. More are dropped and counted: the adapter guarantees no delivery.
const QUEUE_MAX: usize = 4096;

/// Accepts messages without waiting.
pub struct Egress {
    queue: mpsc::Sender<Call>,
    channels: Channels,
    names: RoomNames,
    counters: Arc<Counters>,
}

impl Egress {
    /// Starts the task that publishes, which ends when the value is dropped.
    pub fn start(
        commands: Commands,
        channels: Channels,
        names: RoomNames,
        counters: Arc<Counters>,
    ) -> Egress {
        let (queue, calls) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(publish(commands, calls, Arc::clone(&counters)));
        Egress { queue, channels, names, counters }
    }

    /// Queues messages of a room.
    pub fn publish(&self, room: RoomId, messages: &[StoredMessage]) {
        let name = self.names.room(room.0);
        let channel = self.channels.room(&name);
        for message in messages {
            let payload = encode(UID, &event(room, message), &name);
            if self.queue.try_send(Call::new("PUBLISH", &channel).arg(payload)).is_err() {
                self.counters.unpublished.fetch_add(1, Relaxed);
            }
        }
    }
}

/// The event that members other than the author receive.
fn event(room: RoomId, message: &StoredMessage) -> [serde_json::Value; 2] {
    let StoredMessage { seq, id, author, msg, img, time } = message;
    let body = json!({
        "userid": format!("u{}", author.id.0),
        "username": author.name,
        "src": author.avatar,
        "msg": msg,
        "img": img,
        "roomid": room.0,
        "time": time,
        "id": id,
        "seq": seq.0,
    });
    ["message".into(), body]
}

async fn publish(commands: Commands, mut calls: mpsc::Receiver<Call>, counters: Arc<Counters>) {
    let mut batch = Vec::new();
    while calls.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let answers = commands.run(&batch).await;
        let done = answers.map_or(0, |answers| answers.iter().filter(|a| a.is_ok()).count());
        counters.published.fetch_add(done as u64, Relaxed);
        counters.unpublished.fetch_add((batch.len() - done) as u64, Relaxed);
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use throng_chat::UserCard;
    use throng_chat::{Seq, UserId};

    #[test]
    fn the_event_is_the_one_of_the_spec_and_holds_no_email() {
        let author = UserCard {
            id: UserId(7),
            email: "secret@example.com".into(),
            name: "Ann".into(),
            avatar: "/a.png".into(),
        };
        let message = StoredMessage {
            seq: Seq(3),
            id: 12,
            author: Arc::new(author),
            msg: "hi".into(),
            img: "".into(),
            time: "2026-01-01 10:00:00".into(),
        };
        let [name, body] = event(RoomId(1), &message);
        assert_eq!(name, "message");
        assert!(!body.to_string().contains("secret"), "{body}");
        let vectors = throng_spec::vectors("chat_events");
        let known = vectors.iter().find(|vector| {
            vector.meaning["schema"] == "s2c.message" && vector.meaning["args"][0].is_object()
        });
        let known = known.expect("the spec has a message").meaning["args"][0].as_object();
        let keys: Vec<_> = known.expect("an object").keys().collect();
        assert_eq!(body.as_object().expect("an object").keys().collect::<Vec<_>>(), keys);
    }
}
