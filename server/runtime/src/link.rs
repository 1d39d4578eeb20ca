//! The channels between the shards and the HTTP thread.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use throng_engine::{Accept, Answer, App, Body, EngineRequest, PollId, ShardId};
use throng_mesh::Bell;
use throng_wire::http::Peer;
use tokio::sync::{mpsc, oneshot, watch};

use crate::limiter::Permit;

/// Commands of one shard that may be unanswered. Replies have as many slots, so they always fit.
pub const COMMANDS_MAX: usize = 4096;
/// Signals of one shard that wait for the backplane.
pub const SIGNALS_MAX: usize = 4096;
/// Items that wait in the inbox of one shard.
const INBOX_MAX: usize = 1024;
/// Connections that wait for the HTTP thread.
const HANDOVERS_MAX: usize = 1024;
/// Refused connections that wait for the HTTP thread; one more is closed at once.
const REFUSED_MAX: usize = 256;
const LOGS_MAX: usize = 8192;

/// An item of a shard's inbox.
pub enum ToShard<A: App> {
    /// A polling request.
    Http {
        /// Number of this request.
        poll: PollId,
        /// Its fields.
        request: EngineRequest,
        /// The body of a POST, or that it follows.
        body: Body,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// A piece of a body.
    Body {
        /// Number of the request.
        poll: PollId,
        /// Any part of the body, in order.
        bytes: Vec<u8>,
        /// The body is whole with it.
        is_last: bool,
        /// Completes when the next piece may come.
        taken: oneshot::Sender<()>,
    },
    /// The client of a polling request closed its connection before the answer.
    HttpGone {
        /// Number of the request.
        poll: PollId,
    },
    /// Asks whether the shard has the session that this handshake names.
    HasSession {
        /// The handshake.
        request: EngineRequest,
        /// Where the answer goes.
        answer: oneshot::Sender<bool>,
    },
    /// A WebSocket connection that another thread accepted.
    Upgraded(Box<Upgraded>),
    /// A connection that was accepted on a Unix socket, non-blocking.
    Accepted(UnixStream),
    /// For the application.
    Notice(A::Notice),
    /// Stop accepting, and close all sessions with a close frame or an answer.
    Stop,
    /// End the thread.
    Exit,
}

/// A WebSocket connection on its way to the shard that owns its session.
pub struct Upgraded {
    /// The socket, non-blocking.
    pub stream: TcpStream,
    /// Its place in the count of connections.
    pub permit: Permit,
    /// Whether the `101` answer is still to be sent.
    pub accept: Accept,
    /// The handshake.
    pub request: EngineRequest,
    /// Bytes that were read behind the handshake.
    pub leftover: Vec<u8>,
}

/// A connection on its way from a shard to the HTTP thread.
pub struct Handover {
    /// The socket, non-blocking.
    pub stream: TcpStream,
    /// Bytes that were read from it.
    pub prefix: Vec<u8>,
    /// Its other end.
    pub peer: Peer,
    /// Its place in the count of connections.
    pub permit: Permit,
}

/// What shards hand over to the HTTP thread.
pub struct Handovers {
    /// Connections that are not WebSockets.
    pub connections: mpsc::Receiver<Handover>,
    /// Connections that were answered before all they sent was read; they are counted no more.
    pub refused: mpsc::Receiver<TcpStream>,
}

/// One shard's channels to the other threads.
pub struct ShardChannels<A: App> {
    /// Items of the HTTP thread, the backplane and other shards.
    pub inbox: mpsc::Receiver<ToShard<A>>,
    /// Replies to commands.
    pub replies: mpsc::Receiver<A::Reply>,
    /// Commands, at most [`COMMANDS_MAX`] of them unanswered.
    pub commands: mpsc::Sender<A::Command>,
    /// Signals for other nodes.
    pub signals: mpsc::Sender<A::Signal>,
    /// Connections for the HTTP thread.
    pub handovers: mpsc::Sender<Handover>,
    /// Refused connections, which are closed when their clients have had time to read why.
    pub refused: mpsc::Sender<TcpStream>,
    /// Lines of the log; dropped when the channel is full.
    pub logs: mpsc::Sender<A::Log>,
    /// The other shards, for handshakes that name one of their sessions.
    pub handles: ShardHandles<A>,
}

/// The HTTP thread's channels to the shards.
pub struct HttpChannels<A: App> {
    /// The ways into the shards.
    pub handles: ShardHandles<A>,
    /// Commands of each shard.
    pub commands: Vec<mpsc::Receiver<A::Command>>,
    /// Signals of each shard; none unless the application is one of several nodes.
    pub signals: Vec<mpsc::Receiver<A::Signal>>,
    /// Connections, of all shards.
    pub handovers: Handovers,
    /// Lines of the log, of all shards.
    pub logs: mpsc::Receiver<A::Log>,
}

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

/// The ways into all shards.
pub struct ShardHandles<A: App>(Arc<[ShardHandle<A>]>);

impl<A: App> Clone for ShardHandles<A> {
    fn clone(&self) -> ShardHandles<A> {
        ShardHandles(Arc::clone(&self.0))
    }
}

impl<A: App> ShardHandles<A> {
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

/// Makes the channels between the HTTP thread and as many shards as there are `bells`; each shard
/// sleeps on its bell.
pub fn channels<A: App>(bells: &[Arc<Bell>]) -> (Vec<ShardChannels<A>>, HttpChannels<A>) {
    let (handovers_in, handovers) = mpsc::channel(HANDOVERS_MAX);
    let (refused_in, refused) = mpsc::channel(REFUSED_MAX);
    let (logs_in, logs) = mpsc::channel(LOGS_MAX);
    let mut handles = Vec::new();
    let mut receivers = Vec::new();
    for bell in bells {
        let (inbox_in, inbox) = mpsc::channel(INBOX_MAX);
        let (replies_in, replies) = mpsc::channel(COMMANDS_MAX);
        handles.push(ShardHandle {
            inbox: inbox_in,
            replies: replies_in,
            bell: Arc::clone(bell),
            is_hung: watch::Sender::new(false),
        });
        receivers.push((inbox, replies));
    }
    let handles = ShardHandles(handles.into());
    let mut commands = Vec::new();
    let mut signals = Vec::new();
    let shards = receivers.into_iter().map(|(inbox, replies)| {
        let (commands_in, commands_out) = mpsc::channel(COMMANDS_MAX);
        commands.push(commands_out);
        let (signals_in, signals_out) = mpsc::channel(SIGNALS_MAX);
        signals.push(signals_out);
        ShardChannels {
            inbox,
            replies,
            commands: commands_in,
            signals: signals_in,
            handovers: handovers_in.clone(),
            refused: refused_in.clone(),
            logs: logs_in.clone(),
            handles: handles.clone(),
        }
    });
    let shards = shards.collect();
    let handovers = Handovers { connections: handovers, refused };
    (shards, HttpChannels { handles, commands, signals, handovers, logs })
}
