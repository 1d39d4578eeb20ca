//! What passes between the shards and the HTTP thread.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use throng_core::cluster::{ClusterInput, Signal};
use throng_core::input::{Accept, BodyFault, UserCard};
use throng_core::{Answer, Command, EngineRequest, LogLine, PollId, Reply, ShardId, TokenHash};
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
pub enum ToShard {
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
    Revoked(TokenHash),
    UserChanged(Arc<UserCard>),
    /// From other nodes, or from a program beside us.
    Cluster(ClusterInput),
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
pub struct ShardEnds {
    pub inbox: mpsc::Receiver<ToShard>,
    pub replies: mpsc::Receiver<Reply>,
    pub commands: mpsc::Sender<Command>,
    pub signals: mpsc::Sender<Signal>,
    pub handed: mpsc::Sender<Handed>,
    pub logs: mpsc::Sender<LogLine>,
    /// To the other shards, for handshakes that name a session of theirs.
    pub handles: ShardHandles,
}

/// The HTTP thread's ends.
pub struct HttpEnds {
    pub handles: ShardHandles,
    /// One per shard.
    pub commands: Vec<mpsc::Receiver<Command>>,
    /// One per shard; silent unless there is a backplane.
    pub signals: Vec<mpsc::Receiver<Signal>>,
    pub handed: mpsc::Receiver<Handed>,
    pub logs: mpsc::Receiver<LogLine>,
}

/// The way into one shard. Rings its bell.
#[derive(Clone)]
pub struct ShardHandle {
    inbox: mpsc::Sender<ToShard>,
    replies: mpsc::Sender<Reply>,
    bell: Arc<Bell>,
}

/// The shard is gone: the server is stopping.
#[derive(Debug, PartialEq, Eq)]
pub struct ShardGone;

impl ShardHandle {
    /// Waits while the shard's inbox is full.
    ///
    /// # Errors
    /// [`ShardGone`] when its thread has ended.
    pub async fn send(&self, item: ToShard) -> Result<(), ShardGone> {
        self.inbox.send(item).await.map_err(|_| ShardGone)?;
        self.bell.ring();
        Ok(())
    }

    /// Gives the item back when the shard's inbox is full or its thread has ended.
    pub fn try_send(&self, item: ToShard) -> Result<(), ToShard> {
        self.inbox.try_send(item).map_err(mpsc::error::TrySendError::into_inner)?;
        self.bell.ring();
        Ok(())
    }

    /// The thread of the shard has ended.
    pub fn is_gone(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Waits until the inbox has room for one more.
    pub async fn has_room(&self) {
        // When the shard is gone, whoever sends next will learn it.
        drop(self.inbox.reserve().await);
    }

    pub fn reply(&self, reply: Reply) {
        self.reply_all([reply]);
    }

    /// Never waits: an unanswered command has its slot. One ring for all.
    pub fn reply_all(&self, replies: impl IntoIterator<Item = Reply>) {
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
#[derive(Clone)]
pub struct ShardHandles(Arc<[ShardHandle]>);

impl ShardHandles {
    pub fn to(&self, shard: ShardId) -> Option<&ShardHandle> {
        self.0.get(usize::from(shard.0))
    }

    pub fn iter(&self) -> impl Iterator<Item = &ShardHandle> {
        self.0.iter()
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Sends the same to every shard.
    pub async fn send_all(&self, make: impl Fn() -> ToShard) {
        for handle in self.iter() {
            // A shard that is gone needs no message.
            let _ = handle.send(make()).await;
        }
    }
}

/// Makes the channels between the HTTP thread and the shards that sleep on `bells`.
pub fn link(bells: &[Arc<Bell>]) -> (Vec<ShardEnds>, HttpEnds) {
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
