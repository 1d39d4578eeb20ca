//! The bounds of a shard under a script: what it may hold, send and do, for what was sent to it.

use throng_chat::Settings;
use throng_engine::Session;
use throng_world::chat::World;

/// What one client has sent and got.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub sent: u64,
    pub received: u64,
    pub requests: u64,
    /// It has named a user, and may be known since.
    pub names_users: bool,
    opened_ms: u64,
}

const TOKEN_ZEROS: usize = 20;

impl Tally {
    pub fn new(names_users: bool, now_ms: u64) -> Tally {
        Tally { names_users, opened_ms: now_ms, ..Tally::default() }
    }

    /// The client says something, which may be a token: those of the world begin with zeros.
    pub fn says(&mut self, payload: &[u8]) {
        self.names_users |= payload.windows(TOKEN_ZEROS).any(|bytes| bytes == [b'0'; TOKEN_ZEROS]);
    }
}

/// Bytes that a stranger gets for a byte: the shortest unknown event (`42[""]`, seven bytes in a POST with
/// what separates it from the next) is answered in a hundred.
const ANSWER_PER_BYTE: u64 = 16;
/// Bytes that a connection gets for nothing: the answers to its handshake and CONNECT, and its close.
const GREETING_BYTES: u64 = 1024;
/// Bytes of heartbeats in a second.
const HEARTBEAT_BYTES_PER_S: u64 = 8;
/// Bytes that all together get for a byte that one of them sends: eight members, each with a frame of
/// the message, or with the roster of all.
const FAN_OUT_PER_BYTE: u64 = 200;
/// Effects for a byte: the shortest packet is six bytes, and causes a command, an answer or a change.
const EFFECTS_PER_BYTE: u64 = 1;
/// Effects, and turns, of a step of the script: a connection that opens or ends.
const EFFECTS_PER_STEP: u64 = 64;
const TURNS_PER_STEP: u64 = 64;
/// A shard does not wake more often without input.
const TURNS_PER_S: u64 = 200;
/// What a session may owe before it is ended: ten seconds of its rate.
const DEBT_S: u64 = 10;
/// Heap besides what is on the accounts: for each session, and for the tables that stay.
const HEAP_PER_SESSION: usize = 16 << 10;
const HEAP_BYTES: usize = 1 << 20;

pub struct Bounds<'h> {
    settings: Settings,
    heap: Option<&'h dyn Fn() -> usize>,
    heap_at_start: usize,
    /// Steps played, and time passed.
    pub steps: u64,
    pub ms: u64,
    /// What clients that are gone have sent and got.
    sent: u64,
    received: u64,
    /// One of them has named a user.
    names_users: bool,
}

impl<'h> Bounds<'h> {
    pub fn new(settings: &Settings, heap: Option<&'h dyn Fn() -> usize>) -> Bounds<'h> {
        Bounds {
            settings: settings.clone(),
            heap,
            heap_at_start: heap.map_or(0, |heap| heap()),
            steps: 0,
            ms: 0,
            sent: 0,
            received: 0,
            names_users: false,
        }
    }

    /// A client is gone.
    pub fn left(&mut self, tally: &Tally) {
        self.judge_one(tally);
        self.sent += tally.sent + GREETING_BYTES * tally.requests;
        self.received += tally.received;
        self.names_users |= tally.names_users;
    }

    /// Asserts all bounds. `model`: bytes of the heap that the world around the shard has.
    pub fn judge<'t>(&self, world: &World, tallies: impl Iterator<Item = &'t Tally>, model: usize) {
        let (mut sent, mut received) = (self.sent, self.received);
        let mut names_users = self.names_users;
        for tally in tallies {
            self.judge_one(tally);
            sent += tally.sent + GREETING_BYTES * tally.requests;
            received += tally.received;
            names_users |= tally.names_users;
        }
        let by_time = self.ms / 1000 * HEARTBEAT_BYTES_PER_S * 8;
        let most = FAN_OUT_PER_BYTE * sent + GREETING_BYTES * self.steps + by_time;
        assert!(received <= most, "{received} bytes for {sent}");
        let effects_max = EFFECTS_PER_BYTE * sent + EFFECTS_PER_STEP * self.steps;
        assert!(world.effects <= effects_max, "{} effects for {sent} bytes", world.effects);
        let turns_max = TURNS_PER_STEP * self.steps + self.ms * TURNS_PER_S / 1000;
        assert!(world.turns <= turns_max, "{} turns in {} ms", world.turns, self.ms);
        let shard = world.shards().next().expect("there is one");
        let engine = shard.engine();
        for session in engine.sessions() {
            self.judge_work(session, names_users, engine.now().since(session.opened()) / 1_000_000);
        }
        if let Some(heap) = self.heap {
            let used = heap().saturating_sub(self.heap_at_start);
            let sessions = engine.sessions().count();
            // A buffer that grows is up to twice as large as what it holds.
            let most = 2 * engine.held() + model + HEAP_PER_SESSION * sessions + HEAP_BYTES;
            assert!(used <= most, "{used} bytes of heap, {} on accounts", engine.held());
        }
    }

    /// A client that cannot be known gets answers only.
    fn judge_one(&self, tally: &Tally) {
        if tally.names_users {
            return;
        }
        let asked = tally.requests * GREETING_BYTES;
        let by_time = (self.ms - tally.opened_ms).div_ceil(1000) * HEARTBEAT_BYTES_PER_S;
        let most = ANSWER_PER_BYTE * tally.sent + GREETING_BYTES + asked + by_time;
        assert!(tally.received <= most, "a stranger got too much: {tally:?}");
    }

    /// `names_users`: some client has, and its session may be known, or may have been.
    fn judge_work(&self, session: &Session, names_users: bool, lifetime_ms: u64) {
        let engine = &self.settings.engine;
        let (per_s, burst) = match names_users {
            true => (engine.work_per_s, engine.work_burst),
            false => (engine.anonymous.work_per_s, engine.anonymous.work_burst),
        };
        let earned = (lifetime_ms.div_ceil(1000) + DEBT_S) * u64::from(per_s);
        let most = earned + u64::from(burst);
        let count = session.messages_in();
        assert!(count <= most, "{count} messages of one session in {lifetime_ms} ms");
    }
}
