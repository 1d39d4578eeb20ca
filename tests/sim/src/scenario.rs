//! What one run is made of: its shards, people, limits and the faults it may meet. Every seed
//! leaves a random part of the faults off, because a fault that is always on hides what happens
//! without it.

use throng_chat::Settings;
use throng_chat::settings::Exclusive;
use throng_codec::engine::Protocol;

use crate::entropy::Draw;

/// Everything that may go wrong, one switch each. Lanes never lose, repeat or reorder: the real
/// ones do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A shard takes no turn for a while.
    ShardStall,
    /// Lanes have the smallest capacity that the configuration allows.
    TightLanes,
    /// Bytes of one frame arrive in pieces.
    SplitBytes,
    /// A peer vanishes without a FIN.
    HalfOpen,
    /// A client stops reading, or reads late.
    StoppedReader,
    /// A connection ends in the middle of anything.
    AbruptClose,
    /// All clients reconnect at once.
    ReconnectStorm,
    /// Bytes that are no packet.
    Malformed,
    /// Pongs (or pings of Engine.IO 3) come late or not at all.
    LatePong,
    /// The clock jumps over many deadlines.
    ClockJump,
    /// The store answers late, and not in the order it was asked.
    StoreSlow,
    /// The store refuses, having applied nothing.
    StoreDown,
    /// A token is revoked.
    Revoked,
    /// A session becomes another user.
    Rebind,
    /// Rooms may be created on demand, but only few.
    RoomCreation,
    /// An upgrade is broken off, or the polling rules are broken.
    BrokenUpgrade,
    /// Tiny budgets, bursts, backlogs and queues.
    TightLimits,
    /// Several events at once without waiting for an answer.
    Pipelining,
}

impl Fault {
    pub const ALL: [Fault; 18] = [
        Fault::ShardStall,
        Fault::TightLanes,
        Fault::SplitBytes,
        Fault::HalfOpen,
        Fault::StoppedReader,
        Fault::AbruptClose,
        Fault::ReconnectStorm,
        Fault::Malformed,
        Fault::LatePong,
        Fault::ClockJump,
        Fault::StoreSlow,
        Fault::StoreDown,
        Fault::Revoked,
        Fault::Rebind,
        Fault::RoomCreation,
        Fault::BrokenUpgrade,
        Fault::TightLimits,
        Fault::Pipelining,
    ];
}

/// What may go wrong between nodes, one switch each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterFault {
    /// Answers of Redis take up to half a second.
    RedisSlow,
    /// Connections are refused for a while.
    RedisGone,
    /// It comes back with nothing in it.
    RedisEmptied,
    /// It takes commands and does them much later.
    RedisPaused,
    /// It has no memory for writes.
    RedisFull,
    /// A node does nothing for longer than its lease, and goes on.
    NodeAsleep,
    /// A node is killed; a new process takes its place later.
    NodeKilled,
    /// One node does not reach Redis, and the others do.
    NodeCut,
}

impl ClusterFault {
    pub const ALL: [ClusterFault; 8] = [
        ClusterFault::RedisSlow,
        ClusterFault::RedisGone,
        ClusterFault::RedisEmptied,
        ClusterFault::RedisPaused,
        ClusterFault::RedisFull,
        ClusterFault::NodeAsleep,
        ClusterFault::NodeKilled,
        ClusterFault::NodeCut,
    ];
}

impl ClusterFault {
    /// As the marks of a report name it.
    pub fn name(self) -> &'static str {
        match self {
            ClusterFault::RedisSlow => "redis_slow",
            ClusterFault::RedisGone => "redis_gone",
            ClusterFault::RedisEmptied => "redis_emptied",
            ClusterFault::RedisPaused => "redis_paused",
            ClusterFault::RedisFull => "redis_full",
            ClusterFault::NodeAsleep => "node_asleep",
            ClusterFault::NodeKilled => "node_killed",
            ClusterFault::NodeCut => "node_cut",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportUse {
    WebSocket,
    Polling,
    /// Polling first, then an upgrade.
    Upgrading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Full,
    Delta,
    Count,
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::Full, Mode::Delta, Mode::Count];

    pub fn name(self) -> &'static str {
        match self {
            Mode::Full => "full",
            Mode::Delta => "delta",
            Mode::Count => "count",
        }
    }
}

/// Where a client shows its token first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    Handshake,
    Connect,
    FirstEvent,
}

/// One tab.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub user: u32,
    pub shard: usize,
    pub way: TransportUse,
    pub protocol: Protocol,
    pub shows: Shows,
    pub mode: Mode,
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub settings: Settings,
    /// Nodes, each of `shards`.
    pub nodes: u8,
    pub shards: u8,
    pub users: u32,
    /// Rooms that exist from the start: 1 to this.
    pub rooms: u32,
    /// Rooms that clients name: 1 to this.
    pub rooms_named: u32,
    pub tabs: Vec<Profile>,
    pub lane_max: u32,
    pub commands_max: u32,
    /// Rooms the store lets clients create.
    pub rooms_to_create: u32,
    /// Free slots for signals in one turn.
    pub signals_max: u32,
    pub redis_seed: u8,
    faults: u32,
    cluster_faults: u8,
}

impl Scenario {
    pub fn draw(draw: &mut Draw<'_>, nodes: u8, shards: u8) -> Scenario {
        let mut faults = u32::from(draw.byte()) | u32::from(draw.byte()) << 8;
        faults |= u32::from(draw.byte()) << 16;
        let has = |fault: Fault| faults & 1 << fault as u32 != 0;
        let users = 2 + draw.below(4) as u32;
        let rooms = draw.pick(&[1, 2, 3, 1, 2, 12]);
        let tight = has(Fault::TightLimits);
        let lane_max = if has(Fault::TightLanes) { 16 + draw.below(4) as u32 } else { 64 };
        let creates = has(Fault::RoomCreation);
        let unlimited = !tight || draw.chance(64);
        let engine = throng_engine::Settings {
            ping_interval_ms: 5_000,
            ping_timeout_ms: 3_000,
            connect_timeout_ms: 6_000,
            upgrade_timeout_ms: 2_000,
            max_payload: 8 * 1024,
            outbound_bytes_max: if tight { 8 * 1024 } else { 64 * 1024 },
            poll_packets_max: if tight { 64 } else { 1024 },
            own_lane_max: lane_max,
            ..throng_engine::Settings::default()
        };
        let mut settings = Settings {
            engine,
            pending_bytes_max: 64 * 1024,
            pending_events_max: if tight { 6 } else { 1024 },
            sessions_per_user_max: if tight { 3 } else { 64 },
            rooms_per_session_max: if tight { 2 } else { 64 },
            room_backlog_max: if tight { 2 } else { 4096 },
            publish_per_s: if unlimited { 0 } else { 20 },
            publish_burst: 8,
            join_per_s: if unlimited { 0 } else { 10 },
            join_burst: 6,
            exclusive: draw.pick(&[Exclusive::Legacy, Exclusive::Never, Exclusive::Always]),
            grace_ms: draw.pick(&[0, 0, 300, 2_000]),
            auto_create_max: if creates { 8 } else { 0 },
            roster_repeat_bytes_per_s: if tight { 4_000 } else { 32 * 1024 * 1024 },
            roster_update_bytes_per_s: if tight { 8_000 } else { 512 * 1024 * 1024 },
            roster_bytes_per_turn: if tight { 20_000 } else { 16 * 1024 * 1024 },
            unread_window_ms: draw.pick(&[500, 20, 100]),
            ephemeral: draw.chance(64),
            cluster: nodes > 1,
            ..Settings::default()
        };
        let tabs = (0..3 + draw.below(8))
            .map(|_| Profile {
                user: 1 + draw.below(users as usize) as u32,
                shard: draw.below(usize::from(nodes) * usize::from(shards)),
                way: draw.pick(&[
                    TransportUse::WebSocket,
                    TransportUse::WebSocket,
                    TransportUse::Polling,
                    TransportUse::Upgrading,
                ]),
                protocol: draw.pick(&[Protocol::Eio4, Protocol::Eio4, Protocol::Eio3]),
                shows: draw.pick(&[Shows::Connect, Shows::Handshake, Shows::FirstEvent]),
                mode: draw.pick(&[Mode::Full, Mode::Full, Mode::Delta, Mode::Count]),
            })
            .collect();
        let (cluster_faults, redis_seed) =
            if nodes > 1 { (draw.byte(), draw.byte()) } else { (0, 0) };
        if nodes > 1 {
            settings.ephemeral = redis_seed % 8 == 7;
        }
        Scenario {
            settings,
            nodes,
            shards,
            users,
            rooms,
            rooms_named: if creates { rooms + 3 } else { rooms },
            tabs,
            lane_max,
            commands_max: if tight { 4 } else { 64 },
            rooms_to_create: if creates { draw.below(4) as u32 } else { 0 },
            signals_max: if nodes == 1 { 0 } else { [4, 64][usize::from(redis_seed) % 2] },
            redis_seed,
            faults,
            cluster_faults,
        }
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.faults & 1 << fault as u32 != 0
    }

    pub fn has_of_cluster(&self, fault: ClusterFault) -> bool {
        // Rooms that store nothing lose their messages with Redis, or with the node.
        let is_loss = matches!(fault, ClusterFault::RedisEmptied | ClusterFault::NodeKilled);
        self.cluster_faults & 1 << fault as u8 != 0 && !(self.settings.ephemeral && is_loss)
    }

    /// How long after the last change everything must have settled.
    pub fn settle_ms(&self) -> u64 {
        let s = &self.settings;
        let e = &s.engine;
        u64::from(e.ping_interval_ms + e.ping_timeout_ms + e.connect_timeout_ms + s.grace_ms)
            + 6_000
    }
}
