//! The thread between this node's shards and other nodes: it steps the cluster's state machine and
//! carries out its orders.
//!
//! ```text
//!  shards ── signals ──►┌───────────┐── orders ──► Redis (throng-redis), SQL (store)
//!  shards ◄── inputs ───│  Cluster  │◄─ outcomes ─
//!                       └───────────┘
//!  other programs ── publications ──► ingress ──► shards · messages ──► egress ──► other programs
//! ```
//!
//! It is a thread of its own so that a busy HTTP thread does not delay the renewal of the lease, and a
//! flood of publications does not delay the HTTP thread. No shard ever waits for it.

mod actor;
mod database;
mod inputs;
mod notes;
mod stats;

use std::sync::Arc;
use std::thread::JoinHandle;

use throng_chat::UserCard;
use throng_chat::cluster::Signal;
use throng_chat::{Chat, NewMessage, RoomId, Seq, TokenHash};
use throng_cluster::{Cluster, Seed};
use throng_redis::adapter::Channels;
use throng_redis::egress::Egress;
use throng_redis::ingress::Ingress;
use throng_redis::names::RoomNames;
use throng_redis::orders::Executor;
use throng_redis::{Commands, Connector, Failure};
use throng_store::Store;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

pub use stats::{NodeGauges, RedisStats};

use crate::start::StartError;
use actor::Actor;
use database::StoreDatabase;
use inputs::Inputs;
use throng_runtime::clock::Clock;
use throng_runtime::link::ShardHandles;

/// Reports of the HTTP thread in the queue.
const NEWS_MAX: usize = 1024;
/// Events of other programs in the queue.
const EMITS_MAX: usize = 4096;
/// An order fails after this many command timeouts. The machine assumes about two seconds.
const ORDER_PATIENCE_FACTOR: u32 = 2;

/// Settings of the backplane.
#[derive(Clone, Debug)]
pub struct BackplaneConfig {
    pub redis: throng_redis::Settings,
    pub cluster: throng_cluster::Settings,
    pub names: RoomNames,
}

/// What the HTTP thread reports to the backplane.
pub enum News {
    UserChanged(Arc<UserCard>),
    Revoked(TokenHash),
    /// Messages of a room, to be numbered by Redis.
    Publish {
        room: RoomId,
        batch: Vec<(NewMessage, Arc<UserCard>)>,
        first: oneshot::Sender<Option<Seq>>,
    },
    Stop,
}

/// A backplane that has not started. It exists before the store is opened, because the store keeps
/// who is reading under the name of this process.
pub struct Backplane {
    config: BackplaneConfig,
    connector: Arc<Connector>,
    commands: Commands,
    cluster: Cluster,
}

/// Handle on a running backplane.
#[derive(Clone)]
pub struct BackplaneHandle {
    news: mpsc::Sender<News>,
    pub stats: Arc<RedisStats>,
}

impl BackplaneHandle {
    /// Reports in the background; dropped if the backplane has ended.
    pub fn tell(&self, news: News) {
        let sender = self.news.clone();
        tokio::spawn(async move { drop(sender.send(news).await) });
    }

    /// The first number of a batch, or `None` if Redis did not number it.
    pub async fn number(
        &self,
        room: RoomId,
        batch: Vec<(NewMessage, Arc<UserCard>)>,
    ) -> Option<Seq> {
        let (first, answer) = oneshot::channel();
        self.news.send(News::Publish { room, batch, first }).await.ok()?;
        answer.await.ok().flatten()
    }
}

impl Backplane {
    /// # Errors
    /// [`StartError::RedisSettings`] when the certificates are invalid.
    pub fn new(config: BackplaneConfig, seed: Seed) -> Result<Backplane, StartError> {
        let connector = Connector::new(&config.redis)
            .map_err(|error| StartError::RedisSettings(error.to_string()))?;
        let connector = Arc::new(connector);
        let commands = Commands::new(Arc::clone(&connector), &config.redis);
        let cluster = Cluster::new(config.cluster.clone(), seed);
        Ok(Backplane { config, connector, commands, cluster })
    }

    /// The name of this process among all nodes.
    pub fn process(&self) -> &str {
        self.cluster.process()
    }

    /// Makes one call, to detect a wrong password at once. An unreachable Redis does not prevent the
    /// start: it may come back before the clients do.
    ///
    /// # Errors
    /// [`StartError::RedisLogin`] when Redis rejects the login.
    pub async fn probe(&self) -> Result<(), StartError> {
        let redis = &self.config.redis.url;
        let probe = throng_redis::Call::new("GET", &format!("{}probe", self.config.cluster.prefix));
        match self.commands.call(probe).await {
            Ok(_) => tracing::info!(%redis, "connected to Redis"),
            Err(failure @ (Failure::Unauthenticated | Failure::Denied)) => {
                return Err(StartError::RedisLogin { url: redis.to_string(), failure });
            }
            Err(failure) => {
                tracing::warn!(%redis, %failure, "cannot reach Redis; starting without it");
            }
        }
        Ok(())
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(
        self,
        store: Store,
        handles: ShardHandles<Chat>,
        placement: [u8; 16],
        signals: Vec<mpsc::Receiver<Signal>>,
        clock: Clock,
    ) -> Result<(BackplaneHandle, JoinHandle<()>), StartError> {
        let Backplane { config, connector, cluster, .. } = self;
        let (news_in, news) = mpsc::channel(NEWS_MAX);
        let stats = Arc::new(RedisStats::default());
        let handle = BackplaneHandle { news: news_in, stats: Arc::clone(&stats) };
        let database = StoreDatabase::new(store, Handle::current());
        let thread = std::thread::Builder::new().name("backplane".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    return tracing::error!(%error, "cannot create the runtime of the backplane");
                }
            };
            runtime.block_on(async move {
                // A connection belongs to the runtime it was opened on, so this is a new pool.
                let commands = Commands::new(Arc::clone(&connector), &config.redis);
                let timeout = config.redis.command_timeout();
                let executor = Executor::new(
                    Arc::clone(&connector),
                    commands.clone(),
                    database,
                    timeout * ORDER_PATIENCE_FACTOR,
                );
                let channels = Channels::new(&config.redis.adapter_channel);
                let counters = Arc::clone(&stats.adapter);
                let egress = config.redis.adapter_publish.then(|| {
                    let (channels, names) = (channels.clone(), config.names.clone());
                    Egress::start(commands, channels, names, Arc::clone(&counters))
                });
                let (emits_in, emits) = mpsc::channel(EMITS_MAX);
                let ingress = Ingress {
                    connector,
                    channels,
                    names: config.names,
                    bytes_max: config.redis.adapter_bytes_max,
                    timeout,
                    counters,
                };
                let listening = tokio::spawn(ingress.run(emits_in));
                let inputs = Inputs::new(handles, placement);
                let actor = Actor::new(cluster, executor, inputs, egress, stats, clock);
                actor.run(signals, news, emits).await;
                listening.abort();
            });
        });
        Ok((handle, thread.map_err(throng_runtime::StartError::System)?))
    }
}
