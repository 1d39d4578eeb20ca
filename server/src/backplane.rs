//! The way to other nodes: a thread next to the shards that steps the cluster's state machine and
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
mod cause;
mod database;
mod inputs;
mod log;
mod stats;

use std::sync::Arc;
use std::thread::JoinHandle;

use throng_chat::cluster::Signal;
use throng_chat::{Chat, NewMessage, RoomId, TokenHash, UserCard};
use throng_cluster::{Cluster, NumberFault, Numbers, Seed};
use throng_health::Dependency;
use throng_redis::adapter::Channels;
use throng_redis::egress::Egress;
use throng_redis::ingress::Ingress;
use throng_redis::names::RoomNames;
use throng_redis::orders::Executor;
use throng_redis::{Commands, Connector, Failure, obstacle, rights};
use tokio::sync::{mpsc, oneshot};

pub use database::StoreDatabase;
pub use stats::{NodeGauges, RedisStats};

use crate::start::StartError;
use actor::Actor;
use inputs::Inputs;
use throng_runtime::clock::Clock;
use throng_runtime::link::ShardHandles;

/// Changes of the HTTP thread that wait.
const CHANGES_MAX: usize = 1024;
/// Events of other programs that wait for the shards.
const EMITS_MAX: usize = 4096;
/// An order that takes longer counts as not done. The state machine allows about two seconds.
const ORDER_TIMEOUT_FACTOR: u32 = 2;

/// Settings of the backplane.
#[derive(Clone, Debug)]
pub struct BackplaneConfig {
    /// Address, login and timeouts.
    pub redis: throng_redis::Settings,
    /// Lease and prefix of the keys.
    pub cluster: throng_cluster::Settings,
    /// Names of rooms for other programs.
    pub names: RoomNames,
}

/// A change on this node that other nodes learn of.
pub enum NodeChange {
    /// A user has a new name or avatar.
    UserChanged(Arc<UserCard>),
    /// A token is no longer valid.
    Revoked(TokenHash),
    /// Messages of a room that the database does not number.
    Publish {
        /// The room.
        room: RoomId,
        /// Messages with the card of their author.
        batch: Vec<(NewMessage, Arc<UserCard>)>,
        /// Receives their numbers.
        numbers: oneshot::Sender<Result<Numbers, NumberFault>>,
    },
    /// The node leaves.
    Stop,
}

/// Made before the store is opened, because the store files reading users under the name of this
/// process.
pub struct Backplane {
    config: BackplaneConfig,
    connector: Arc<Connector>,
    commands: Commands,
    cluster: Cluster,
}

/// Handle on a running backplane.
#[derive(Clone)]
pub struct BackplaneHandle {
    changes: mpsc::Sender<NodeChange>,
    /// What the backplane publishes.
    pub stats: Arc<RedisStats>,
}

impl BackplaneHandle {
    /// Sends without waiting; dropped when the backplane has ended. One task per call waits for a free slot:
    /// the callers are requests of the REST API, which is throttled.
    pub fn send(&self, change: NodeChange) {
        let sender = self.changes.clone();
        tokio::spawn(async move { drop(sender.send(change).await) });
    }

    /// Has a batch numbered.
    ///
    /// # Errors
    /// Redis gave no numbers, or has not answered.
    pub async fn number(
        &self,
        room: RoomId,
        batch: Vec<(NewMessage, Arc<UserCard>)>,
    ) -> Result<Numbers, NumberFault> {
        let (numbers, answer) = oneshot::channel();
        let change = NodeChange::Publish { room, batch, numbers };
        self.changes.send(change).await.map_err(|_| NumberFault::Refused)?;
        answer.await.unwrap_or(Err(NumberFault::Unknown))
    }
}

impl Backplane {
    /// # Errors
    /// [`StartError::RedisSettings`] when the certificates cannot be read.
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

    /// Tries what a node does, to find a wrong password or a missing right at once.
    ///
    /// # Errors
    /// [`StartError::RedisLogin`] when Redis rejects the login, [`StartError::RedisSettings`] when it refuses the
    /// database of the URL, [`StartError::RedisRights`] when its user may not do what a node does,
    /// [`StartError::NoRedis`] when it cannot be reached or does not answer as Redis does.
    pub async fn probe(&self) -> Result<(), StartError> {
        let BackplaneConfig { redis: settings, cluster, .. } = &self.config;
        let redis = &settings.url;
        let keys =
            [&cluster.prefix, &cluster.map_prefix, &cluster.socket_id_key].map(String::as_str);
        let channels = Channels::new(&settings.adapter_channel);
        let wait = settings.command_timeout();
        let missing = rights::missing(&self.commands, &self.connector, keys, &channels, wait);
        match missing.await {
            Ok(None) => Ok(()),
            Ok(Some(right)) => Err(StartError::RedisRights { url: redis.to_string(), right }),
            Err(failure @ (Failure::Unauthenticated | Failure::Denied)) => {
                Err(StartError::RedisLogin { url: redis.to_string(), failure })
            }
            Err(Failure::NoDatabase(words)) => Err(StartError::RedisSettings(format!(
                "cannot use the database in {redis}: Redis says {words:?}"
            ))),
            Err(failure) => Err(StartError::NoRedis {
                url: redis.to_string(),
                cause: self.cause(&failure).await,
            }),
        }
    }

    /// What is wrong, or may become wrong, though a node can start.
    pub async fn warning(&self) -> Option<String> {
        let prefix = &self.config.cluster.prefix;
        let unwritable = rights::unwritable(&self.commands, prefix).await;
        let evicts = rights::evicts_any_key(&self.commands).await.then(|| {
            "Redis drops keys of rosters when its memory is full: set maxmemory-policy to noeviction or volatile-lru"
                .to_owned()
        });
        let warnings: Vec<String> =
            unwritable.map(|state| state.to_string()).into_iter().chain(evicts).collect();
        (!warnings.is_empty()).then(|| warnings.join("; "))
    }

    /// A failure in words, with what the system or Redis says of the first address that cannot be used.
    async fn cause(&self, failure: &Failure) -> String {
        let redis = &self.config.redis;
        if let Some(obstacle) = obstacle::find(&redis.url, redis.connect_timeout()).await {
            return obstacle.to_string();
        }
        match failure {
            Failure::Down | Failure::Unexpected => {
                let tls = if redis.url.is_tls { " over TLS" } else { "" };
                format!("{failure}: what listens there does not answer as Redis does{tls}")
            }
            Failure::Timeout
            | Failure::OutOfMemory
            | Failure::Unauthenticated
            | Failure::Denied
            | Failure::NotWritable(_)
            | Failure::NoDatabase(_)
            | Failure::Refused(_) => failure.to_string(),
        }
    }

    /// Starts the thread. `redis`: where it reports how Redis is.
    ///
    /// # Errors
    /// [`throng_runtime::StartError::System`] when the thread or its runtime cannot be made.
    pub fn start(
        self,
        database: StoreDatabase,
        handles: ShardHandles<Chat>,
        placement: [u8; 16],
        signals: Vec<mpsc::Receiver<Signal>>,
        clock: Clock,
        redis: Dependency,
    ) -> Result<(BackplaneHandle, JoinHandle<()>), StartError> {
        let Backplane { config, connector, cluster, .. } = self;
        let (changes_in, changes) = mpsc::channel(CHANGES_MAX);
        let stats = Arc::new(RedisStats::new(redis));
        let handle = BackplaneHandle { changes: changes_in, stats: Arc::clone(&stats) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(throng_runtime::StartError::System)?;
        let thread = std::thread::Builder::new().name("backplane".into()).spawn(move || {
            runtime.block_on(async move {
                // Connections belong to the runtime that made them, so this is a new pool.
                let commands = Commands::new(Arc::clone(&connector), &config.redis);
                let timeout = config.redis.command_timeout();
                let executor = Executor::new(
                    Arc::clone(&connector),
                    commands.clone(),
                    database,
                    timeout * ORDER_TIMEOUT_FACTOR,
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
                actor.run(signals, changes, emits).await;
                listening.abort();
            });
        });
        Ok((handle, thread.map_err(throng_runtime::StartError::System)?))
    }
}
