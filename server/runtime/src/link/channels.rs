//! Both ends of all channels, made at the start.

use std::net::TcpStream;
use std::sync::Arc;

use throng_engine::App;
use throng_mesh::Bell;
use tokio::sync::mpsc;

use super::connections::{Handover, Handovers};
use super::handle::ShardHandle;
use super::handles::ShardHandles;
use super::to_shard::ToShard;

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
        handles.push(ShardHandle::new(inbox_in, replies_in, Arc::clone(bell)));
        receivers.push((inbox, replies));
    }
    let handles = ShardHandles::new(handles);
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
