//! Starts and stops the parts of the chat server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;
use throng_chat::{
    Chat, Exceeded, InvalidTokens, Notice, Numbering, RoomId, Seq, Start, TokenHash, UserId,
};
use throng_engine::Keyed;
use throng_health::{Need, State};
use throng_rest::{Deps, OverLimit, RestCounters, TakeLookup, TakeUpload};
use throng_store::Store;
use throng_wire::http::ClientKey;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{AbortHandle, JoinSet};

use crate::backplane::{Backplane, BackplaneConfig, BackplaneHandle, NodeChange, StoreDatabase};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::presence::Views;
use crate::rows::{card, room_info};
use crate::session_log;
use crate::start::StartError;
use crate::store_thread::StoreThread;
use crate::store_worker::{self, StoreWorker};
use crate::terminal::announce;
use throng_runtime::clock::Clock;
use throng_runtime::clock::unix_ms;
use throng_runtime::descriptors;
use throng_runtime::http::{self, HttpSettings, OnRequest, Running};
use throng_runtime::launch::{self, Launch, Shards, random, seeds};
use throng_runtime::lifetime::{StopSignals, wait_until_started};
use throng_runtime::limiter::ConnectionLimiter;
use throng_runtime::link::ToShard;
use throng_runtime::listen::{self, bind_unix};
use throng_runtime::shard::ShardConfig;
use throng_runtime::stop::{GRACE, stop};

/// Serves until SIGTERM or SIGINT; returns whether everything was written. Runs on the HTTP thread.
///
/// 1. The thread of the store starts, the store is opened and the rooms are created.
/// 2. The shards start, and with them the listening sockets.
/// 3. The HTTP thread starts, and the address is printed.
///
/// # Errors
/// [`StartError`] for the first step that fails.
pub async fn serve(config: Config) -> Result<bool, StartError> {
    survive_full_files()?;
    let backplane = match config.backplane.clone() {
        Some(settings) => Some(join(settings).await?),
        None => None,
    };
    let mut config = config;
    if let Some(backplane) = &backplane {
        config.store.node = backplane.process().to_owned();
    }
    let url = config.database_url();
    let (store_thread, store) = StoreThread::open(&url, &config.store).await?;
    let listed = &config.server.list;
    let listed: Vec<_> = listed.iter().map(|room| (room.id, room.name.clone())).collect();
    store.ensure_rooms(&listed).await?;
    let mut rooms: Vec<_> = store.rooms().await?.into_iter().map(room_info).collect();
    let numbering = config.chat.numbering();
    if numbering == Numbering::Redis {
        // Redis numbers the messages: the numbers of messages stored earlier do not count.
        rooms.iter_mut().for_each(|room| room.last_seq = Seq(0));
    }
    let health = config.store.health.clone();
    let turning = health.depends_on("shards", Need::Required);
    let created = rooms.len().saturating_sub(listed.len());
    let created = u32::try_from(created).unwrap_or(u32::MAX);
    let rooms_to_create = config.chat.auto_create_max.saturating_sub(created);

    let connections_max = descriptors::raise_limit(config.server.connections_max);
    let policy = Arc::new(config.policy.clone());
    let launch = Launch {
        listen: config.server.listen,
        lanes: config.lanes,
        config: ShardConfig {
            shards: config.server.shards,
            tuning: config.tuning.clone(),
            policy: Arc::clone(&policy),
            limiter: ConnectionLimiter::new(connections_max, config.server.connections_per_ip_max),
            clock: Clock::start(),
        },
    };
    let seeds = seeds(config.server.shards)?;
    let placement = seeds[0].placement;
    let clock = launch.config.clock;
    let start = Start {
        rooms_to_create: Arc::new(rooms_to_create.into()),
        ..Start::new(config.chat.clone(), rooms.into())
    };
    let (mut shards, mut channels) = launch.start::<Chat>(&config.chat.engine, &start, seeds)?;

    let signals = std::mem::take(&mut channels.signals);
    let (backplane, backplane_thread) = match backplane {
        Some(backplane) => {
            let handles = shards.handles.clone();
            let redis = health.depends_on("redis", need_of_redis(numbering));
            let database = StoreDatabase::new(store.clone(), store_thread.handle().clone());
            let (handle, thread) =
                backplane.start(database, handles, placement, signals, clock, redis)?;
            (Some(handle), Some(thread))
        }
        None => (None, None),
    };

    let stats = backplane.as_ref().map(|backplane| Arc::clone(&backplane.stats));
    let quotas = Arc::clone(&start.quotas);
    let invalid_tokens = Arc::clone(&start.invalid_tokens);
    let given_back = Arc::clone(&start.invalid_tokens);
    let keyed = Keyed::new(placement);
    let given_back_keyed = keyed.clone();
    let counters = Arc::default();
    let views = Views::new(&shards.views, placement);
    let metrics = Metrics::new(
        &shards,
        views.clone(),
        store.clone(),
        stats,
        Arc::clone(&quotas),
        Arc::clone(&counters),
        Arc::clone(&policy.refusals),
    );
    let metrics = Arc::new(metrics);
    let on_request: OnRequest = {
        let metrics = Arc::clone(&metrics);
        Arc::new(move |route: &str, status| metrics.count_request(route, status))
    };
    let hooks = ApiHooks {
        on_request: Arc::clone(&on_request),
        take_lookup: Arc::new(move |client| {
            let bucket = InvalidTokens::bucket(&keyed, client);
            invalid_tokens.take(clock.now(), bucket).map_err(Duration::from_nanos)
        }),
        give_back_lookup: Arc::new(move |client| {
            given_back.give_back(InvalidTokens::bucket(&given_back_keyed, client));
        }),
        take_upload: Arc::new(move |user, bytes| {
            let taken = quotas.take_upload(clock.now(), UserId(user), bytes);
            taken.map_err(|exceeded| OverLimit {
                setting: match exceeded {
                    Exceeded::Rate { .. } => "limits.uploads_per_minute",
                    Exceeded::Bytes { .. } => "limits.user_mib_per_day",
                },
                wait: Duration::from_secs(exceeded.wait_s().into()),
            })
        }),
        counters,
    };
    let deps = deps(&config, &store, &shards, views, &metrics, backplane.as_ref(), hooks);
    let engine = &config.chat.engine;
    let users_silence_ms = engine.ping_interval_ms + engine.ping_timeout_ms;
    let settings = HttpSettings {
        policy,
        router: throng_rest::router(deps.clone()),
        request_timeout_ms: config.server.request_timeout_ms,
        keep_alive_ms: config.server.keep_alive_ms,
        users_silence_ms,
        requests_per_s: config.server.requests_per_s,
        requests_per_ip_max: config.server.requests_per_ip_max,
        lingering_max: connections_max.lingering,
        on_request,
        counters: Arc::clone(&metrics.http),
    };
    let mut admin = match config.admin.listen {
        Some(addr) => Some(start_admin(addr, &settings, deps, &shards).await?),
        None => None,
    };
    let unix = match &config.server.listen_unix {
        Some(path) => Some(listen_unix(path, &shards)?),
        None => None,
    };
    let numbers = backplane.clone().filter(|_| numbering == Numbering::Redis);
    let worker = StoreWorker::new(store.clone(), rooms_to_create, numbering, numbers);
    let mut workers = JoinSet::new();
    workers.spawn(session_log::write(channels.logs));
    for (commands, handle) in channels.commands.into_iter().zip(channels.handles.iter()) {
        let work = store_worker::work(commands, handle.clone(), Arc::clone(&worker));
        workers.spawn_on(work, store_thread.handle());
    }
    let http = http::start(channels.handles, channels.handovers, settings);

    wait_until_started(&mut shards).await?;
    turning.set(State::Ok);
    shards.watch(move |hung| turning.set_fault(hung));
    tracing::info!(addr = %shards.addr, shards = config.server.shards, "listening");
    let signals = StopSignals::catch()?;
    announce(format_args!("throng listening on http://{}", shards.addr));
    signals.wait(&mut shards).await?;
    tracing::info!("stopping");
    // Who asks on `admin.listen`, which answers to the end, must not send new clients here.
    health.depends_on("server", Need::Required).set(State::Pending("stopping"));
    if let Some(unix) = unix {
        unix.abort();
    }
    let stopped = stop(shards, http, workers).await;
    if let (Some(backplane), Some(thread)) = (backplane, backplane_thread) {
        leave(&backplane, thread).await;
    }
    if let Some(admin) = &mut admin {
        admin.stop().await;
    }
    let is_flushed = store.close().await;
    let unsaved_marks = worker.unsaved_marks();
    let is_all_written = stopped.is_drained && is_flushed && unsaved_marks == 0;
    if !is_all_written {
        tracing::error!(
            drained = stopped.is_drained,
            flushed = is_flushed,
            unsaved_marks,
            "not everything was written"
        );
    }
    tracing::info!(
        clients_notified = stopped.all_notified,
        all_written = is_all_written,
        "stopped"
    );
    Ok(is_all_written)
}

/// Checks that what the server needs at its start could be opened: its addresses, the store, and Redis. Answers what
/// may not be as it is when the server starts.
///
/// # Errors
/// [`StartError`] of what could not.
pub async fn check(config: Config) -> Result<Vec<String>, StartError> {
    let mut warnings = check_system(&config)?;
    let url = config.database_url();
    let checked = throng_store::check(&url, &config.store).await;
    warnings.extend(checked.map_err(|error| StartError::open_store(&url, &config.store, error))?);
    if let Some(backplane) = config.backplane {
        let backplane = prepare(backplane)?;
        backplane.probe().await?;
        warnings.extend(backplane.warning().await);
    }
    Ok(warnings)
}

fn in_use(addr: &impl std::fmt::Display) -> String {
    format!("{addr} is in use: the server cannot start while another program listens there")
}

/// Checks what the shards ask of the system.
fn check_system(config: &Config) -> Result<Vec<String>, StartError> {
    launch::check_driver(config.tuning.io_driver)?;
    let mut warnings = Vec::new();
    for addr in [Some(config.server.listen), config.admin.listen].into_iter().flatten() {
        let bind = |error| throng_runtime::StartError::Bind { addr: addr.to_string(), error };
        if !listen::check(addr).map_err(bind)? {
            warnings.push(in_use(&addr));
        }
    }
    if let Some(path) = &config.server.listen_unix {
        let addr = path.display().to_string();
        let bind = |error| throng_runtime::StartError::Bind { addr, error };
        if !listen::check_unix(path).map_err(bind)? {
            warnings.push(in_use(&path.display()));
        }
    }
    Ok(warnings)
}

/// Chat works without Redis, unless Redis numbers the messages: then none is accepted without it (NODE-35).
fn need_of_redis(numbering: Numbering) -> Need {
    match numbering {
        Numbering::Redis => Need::Required,
        Numbering::Home | Numbering::HomeChecked | Numbering::Database => Need::Optional,
    }
}

/// A file that may not grow any more (RLIMIT_FSIZE) fails the write, as a full disk does, instead of
/// ending the process.
fn survive_full_files() -> Result<(), StartError> {
    let kind = SignalKind::from_raw(Signal::XFSZ.as_raw());
    signal(kind).map(drop).map_err(throng_runtime::StartError::System)?;
    Ok(())
}

/// Serves what operators look at on an address of its own. It answers until the stop is over.
async fn start_admin(
    addr: SocketAddr,
    public: &HttpSettings,
    deps: Deps,
    shards: &Shards<Chat>,
) -> Result<Running, StartError> {
    let bind = |error| throng_runtime::StartError::Bind { addr: addr.to_string(), error };
    let listener = TcpListener::bind(addr).await.map_err(bind)?;
    let addr = listener.local_addr().map_err(throng_runtime::StartError::System)?;
    tracing::info!(%addr, "serving metrics and health");
    let settings = HttpSettings {
        policy: Arc::default(),
        requests_per_s: 0,
        requests_per_ip_max: 0,
        router: throng_rest::admin_router(deps),
        on_request: Arc::clone(&public.on_request),
        counters: Arc::clone(&public.counters),
        ..*public
    };
    Ok(http::start_admin(shards.handles.clone(), listener, settings))
}

/// Accepts connections of a proxy on this machine.
fn listen_unix(path: &Path, shards: &Shards<Chat>) -> Result<AbortHandle, StartError> {
    let bind = |error| throng_runtime::StartError::Bind { addr: path.display().to_string(), error };
    let listener = bind_unix(path).and_then(UnixListener::from_std).map_err(bind)?;
    tracing::info!(path = %path.display(), "listening on a Unix socket");
    Ok(tokio::spawn(http::accept_unix(shards.handles.clone(), listener)).abort_handle())
}

fn prepare(config: BackplaneConfig) -> Result<Backplane, StartError> {
    let seed = throng_cluster::Seed { random: random()?, started_unix_ms: unix_ms() };
    Backplane::new(config, seed)
}

/// Prepares the backplane, and checks that Redis accepts the login. An unreachable Redis does not prevent the
/// start: it may come back before the clients do.
async fn join(config: BackplaneConfig) -> Result<Backplane, StartError> {
    let redis = config.redis.url.to_string();
    let backplane = prepare(config)?;
    match backplane.probe().await {
        Ok(()) => {
            tracing::info!(redis, "connected to Redis");
            if let Some(warning) = backplane.warning().await {
                tracing::warn!("{warning}");
            }
        }
        Err(StartError::NoRedis { cause, .. }) => {
            tracing::warn!(redis, cause, "cannot use Redis; starting without it");
        }
        Err(error) => return Err(error),
    }
    Ok(backplane)
}

/// Announces to the other nodes that this one leaves; gives up after [`GRACE`].
async fn leave(backplane: &BackplaneHandle, thread: JoinHandle<()>) {
    backplane.send(NodeChange::Stop);
    let ended = tokio::task::spawn_blocking(move || thread.join());
    match tokio::time::timeout(GRACE, ended).await {
        Ok(Ok(Ok(()))) => {}
        Ok(_) => tracing::error!("the backplane thread panicked"),
        Err(_) => {
            tracing::warn!(
                "the stop was not announced to the other nodes in time; they will see the lease expire"
            )
        }
    }
}

/// What the API reports to and asks of parts other than the shards.
struct ApiHooks {
    on_request: OnRequest,
    take_upload: TakeUpload,
    take_lookup: TakeLookup,
    give_back_lookup: Arc<dyn Fn(ClientKey) + Send + Sync>,
    counters: Arc<RestCounters>,
}

/// What the REST API reads from the shards and sends to them.
fn deps(
    config: &Config,
    store: &Store,
    shards: &Shards<Chat>,
    views: Views,
    metrics: &Arc<Metrics>,
    backplane: Option<&BackplaneHandle>,
    hooks: ApiHooks,
) -> Deps {
    let metrics = Arc::clone(metrics);
    let revoking = shards.handles.clone();
    let changing = shards.handles.clone();
    let revoking_elsewhere = backplane.cloned();
    let changing_elsewhere = backplane.cloned();
    Deps {
        store: store.clone(),
        settings: config.rest.clone(),
        rooms: Arc::new(move |user, rooms| {
            let rooms: Vec<RoomId> = rooms.iter().copied().map(RoomId).collect();
            views.rooms(UserId(user), &rooms)
        }),
        // One task per request until all inboxes have taken the notice; the API is throttled.
        on_revoked: Arc::new(move |revoked| {
            let handles = revoking.clone();
            if let Some(backplane) = &revoking_elsewhere {
                backplane.send(NodeChange::Revoked(TokenHash(revoked.token_hash)));
            }
            tokio::spawn(async move {
                handles
                    .send_all(|| ToShard::Notice(Notice::Revoked(TokenHash(revoked.token_hash))))
                    .await;
            });
        }),
        on_user_changed: Arc::new(move |user| {
            let handles = changing.clone();
            let card = Arc::new(card(user));
            if let Some(backplane) = &changing_elsewhere {
                backplane.send(NodeChange::UserChanged(Arc::clone(&card)));
            }
            tokio::spawn(async move {
                handles.send_all(|| ToShard::Notice(Notice::UserChanged(Arc::clone(&card)))).await;
            });
        }),
        on_request: hooks.on_request,
        take_upload: hooks.take_upload,
        take_lookup: hooks.take_lookup,
        give_back_lookup: hooks.give_back_lookup,
        counters: hooks.counters,
        metrics: Arc::new(move || metrics.text()),
    }
}
