//! What passes between the shards and the HTTP thread.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use throng_engine::{Accept, Answer, App, BodyFault, EngineRequest, PollId, ShardId};
use throng_mesh::Bell;
use tokio::sync::{mpsc, oneshot};

use crate::limiter::Permit;

/// Commands of one shard that may be unanswered. Replies have as many slots, so they always fit.
pub const COMMANDS_MAX: usize = 4096;
/// Signals of one shard that the backplane has not taken.
pub const SIGNALS_MAX: usize = 4096;
/// Items of the HTTP thread that wait for one shard.
const INBOX_MAX: usize = 1024;
/// Connections that wait for the HTTP thread.
const HANDED_MAX: usize = 1024;
const LOGS_MAX: usize = 8192;

/// From the HTTP thread to one shard.
pub enum ToShard<A: App> {
    Http {
        poll: PollId,
        request: EngineRequest,
        body: Result<Vec<u8>, BodyFault>,
        answer: oneshot::Sender<Answer>,
    },
    HttpGone {
        poll: PollId,
    },
    /// Does the session that this handshake names live there?
    HasSession {
        request: EngineRequest,
        answer: oneshot::Sender<bool>,
    },
    /// A WebSocket handshake that came in elsewhere, and what the client sent behind it.
    Upgraded(Box<Upgraded>),
    /// For the application.
    Notice(A::Notice),
    /// Stop accepting and close everything, politely.
    Stop,
    /// End the thread.
    Exit,
}

pub struct Upgraded {
    pub stream: TcpStream,
    pub permit: Permit,
    pub accept: Accept,
    pub request: EngineRequest,
    pub leftover: Vec<u8>,
}

/// A connection on its way from a shard to the HTTP thread.
pub struct Handed {
    pub stream: TcpStream,
    /// What was read of it.
    pub prefix: Vec<u8>,
    pub peer: SocketAddr,
    pub permit: Permit,
}

/// A shard's ends.
pub struct ShardEnds<A: App> {
    pub inbox: mpsc::Receiver<ToShard<A>>,
    pub replies: mpsc::Receiver<A::Reply>,
    pub commands: mpsc::Sender<A::Command>,
    pub signals: mpsc::Sender<A::Signal>,
    pub handed: mpsc::Sender<Handed>,
    pub logs: mpsc::Sender<A::Log>,
    /// To the other shards, for handshakes that name a session of theirs.
    pub handles: ShardHandles<A>,
}

/// The HTTP thread's ends.
pub struct HttpEnds<A: App> {
    pub handles: ShardHandles<A>,
    /// One per shard.
    pub commands: Vec<mpsc::Receiver<A::Command>>,
    /// One per shard; silent unless there is a backplane.
    pub signals: Vec<mpsc::Receiver<A::Signal>>,
    pub handed: mpsc::Receiver<Handed>,
    pub logs: mpsc::Receiver<A::Log>,
}

/// The way into one shard. Rings its bell.
pub struct ShardHandle<A: App> {
    inbox: mpsc::Sender<ToShard<A>>,
    replies: mpsc::Sender<A::Reply>,
    bell: Arc<Bell>,
}

impl<A: App> Clone for ShardHandle<A> {
    fn clone(&self) -> ShardHandle<A> {
        ShardHandle {
            inbox: self.inbox.clone(),
            replies: self.replies.clone(),
            bell: Arc::clone(&self.bell),
        }
    }
}

/// The shard is gone: the server is stopping.
#[derive(Debug, PartialEq, Eq)]
pub struct ShardGone;

impl<A: App> ShardHandle<A> {
    /// Waits while the shard's inbox is full.
    ///
    /// # Errors
    /// [`ShardGone`] when its thread has ended.
    pub async fn send(&self, item: ToShard<A>) -> Result<(), ShardGone> {
        self.inbox.send(item).await.map_err(|_| ShardGone)?;
        self.bell.ring();
        Ok(())
    }

    /// Gives the item back when the shard's inbox is full or its thread has ended.
    pub fn try_send(&self, item: ToShard<A>) -> Result<(), ToShard<A>> {
        self.inbox.try_send(item).map_err(mpsc::error::TrySendError::into_inner)?;
        self.bell.ring();
        Ok(())
    }

    /// The thread of the shard has ended.
    pub fn is_gone(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Waits until the inbox has a free slot.
    pub async fn has_free_slot(&self) {
        // When the shard is gone, whoever sends next will learn it.
        drop(self.inbox.reserve().await);
    }

    pub fn reply(&self, reply: A::Reply) {
        self.reply_all([reply]);
    }

    /// Never waits: an unanswered command has its slot. One ring for all.
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

    /// Items that wait in the inbox.
    pub fn depth(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }
}

/// The ways into all shards.
pub struct ShardHandles<A: App>(Arc<[ShardHandle<A>]>);

impl<A: App> Clone for ShardHandles<A> {
    fn clone(&self) -> ShardHandles<A> {
        ShardHandles(Arc::clone(&self.0))
    }
}

impl<A: App> ShardHandles<A> {
    pub fn to(&self, shard: ShardId) -> Option<&ShardHandle<A>> {
        self.0.get(usize::from(shard.0))
    }

    pub fn iter(&self) -> impl Iterator<Item = &ShardHandle<A>> {
        self.0.iter()
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Sends the same to every shard.
    pub async fn send_all(&self, make: impl Fn() -> ToShard<A>) {
        for handle in self.iter() {
            // A shard that is gone needs no message.
            let _ = handle.send(make()).await;
        }
    }
}

/// Makes the channels between the HTTP thread and the shards that sleep on `bells`.
pub fn link<A: App>(bells: &[Arc<Bell>]) -> (Vec<ShardEnds<A>>, HttpEnds<A>) {
    let (handed_in, handed) = mpsc::channel(HANDED_MAX);
    let (logs_in, logs) = mpsc::channel(LOGS_MAX);
    let mut handles = Vec::new();
    let mut receivers = Vec::new();
    for bell in bells {
        let (inbox_in, inbox) = mpsc::channel(INBOX_MAX);
        let (replies_in, replies) = mpsc::channel(COMMANDS_MAX);
        handles.push(ShardHandle { inbox: inbox_in, replies: replies_in, bell: Arc::clone(bell) });
        receivers.push((inbox, replies));
    }
    let handles = ShardHandles(handles.into());
    let mut commands = Vec::new();
    let mut signals = Vec::new();
    let ends = receivers.into_iter().map(|(inbox, replies)| {
        let (commands_in, commands_out) = mpsc::channel(COMMANDS_MAX);
        commands.push(commands_out);
        let (signals_in, signals_out) = mpsc::channel(SIGNALS_MAX);
        signals.push(signals_out);
        ShardEnds {
            inbox,
            replies,
            commands: commands_in,
            signals: signals_in,
            handed: handed_in.clone(),
            logs: logs_in.clone(),
            handles: handles.clone(),
        }
    });
    let ends = ends.collect();
    (ends, HttpEnds { handles, commands, signals, handed, logs })
}
