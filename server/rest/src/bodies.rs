//! Bodies of requests that are arriving, booked in bytes on the account of whose they are.
//!
//! Users have a budget, and clients whose user is not known have another: nothing a stranger holds is what a
//! user needs. Beyond a budget the largest bodies of those who hold most are given up; so is a body that comes
//! slower than the least rate. What is given up is answered without the rest of it.
//!
//! Spec: LIM-90.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body as RequestBody, Bytes, HttpBody};
use bytes::BytesMut;
use http_body::Frame;
use throng_wire::http::ClientKey;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::answer::Refusal;
use crate::{RestCounters, Settings};

/// What a body costs before its first byte, with the connection that is read and the request that waits for it; and
/// a piece of it at least: many that are small cost more than their bytes.
const BODY_BYTES: u64 = 32 * 1024;
const PIECE_BYTES: u64 = 128;

/// Whose a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    User(u32),
    /// A client, as long as its user is not known.
    Stranger(ClientKey),
}

/// All bodies that are arriving, or that a handler still has.
pub(crate) struct Bodies {
    limits: Limits,
    table: Mutex<Table>,
    counters: Arc<RestCounters>,
}

struct Limits {
    user_max: u64,
    users_max: u64,
    strangers_max: u64,
    timeout: Duration,
    bytes_per_s_min: u64,
}

#[derive(Default)]
struct Table {
    bodies: HashMap<u64, Account>,
    owners: HashMap<Owner, u64>,
    users: u64,
    strangers: u64,
    last_id: u64,
}

struct Account {
    owner: Owner,
    /// What it costs.
    held: u64,
    /// What has come of it.
    arrived: u64,
    most: u64,
    begun: Instant,
    phase: Phase,
    given_up: Arc<Notify>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Arriving,
    /// A handler has it.
    Whole,
    GivenUp(Cause),
}

/// Why a body is not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    TooLarge,
    TooSlow,
    /// Its user has too much under way.
    OfUser,
    /// All users have.
    OfUsers,
    /// All strangers have.
    OfStrangers,
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Refusal {
        match cause {
            Cause::TooLarge => Refusal::TooLarge,
            Cause::TooSlow => Refusal::TooSlow,
            Cause::OfUser => Refusal::TooMuch("http.uploads_mib_per_user_max"),
            Cause::OfUsers => Refusal::Full("http.uploads_mib_max"),
            Cause::OfStrangers => Refusal::Full("http.uploads_mib_anonymous_max"),
        }
    }
}

impl Bodies {
    pub fn new(settings: &Settings, counters: Arc<RestCounters>) -> Arc<Bodies> {
        let bytes = |mib: u32| u64::from(mib) << 20;
        let limits = Limits {
            user_max: bytes(settings.uploads_mib_per_user_max),
            users_max: bytes(settings.uploads_mib_max),
            strangers_max: bytes(settings.uploads_mib_anonymous_max),
            timeout: Duration::from_millis(settings.body_timeout_ms.into()),
            bytes_per_s_min: settings.body_bytes_per_s_min.into(),
        };
        Arc::new(Bodies { limits, table: Mutex::default(), counters })
    }

    /// A body of at most `most` bytes begins to arrive.
    pub fn begin(self: &Arc<Bodies>, owner: Owner, most: usize) -> Arriving {
        let given_up = Arc::new(Notify::new());
        let mut table = self.lock();
        table.last_id += 1;
        let id = table.last_id;
        let account = Account {
            owner,
            held: 0,
            arrived: 0,
            most: most as u64,
            begun: Instant::now(),
            phase: Phase::Arriving,
            given_up: Arc::clone(&given_up),
        };
        table.bodies.insert(id, account);
        self.counters.bodies.fetch_add(1, Relaxed);
        self.book(&mut table, id, BODY_BYTES);
        Arriving { bodies: Arc::clone(self), id, given_up }
    }

    /// A piece has come. False if the body is given up.
    fn add(&self, id: u64, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let mut table = self.lock();
        let body = table.bodies.get_mut(&id).expect("a body that is read has an account");
        if let Phase::GivenUp(_) = body.phase {
            return false;
        }
        body.arrived += bytes;
        if body.arrived > body.most {
            self.give_up(&mut table, id, Cause::TooLarge);
            return false;
        }
        self.book(&mut table, id, bytes.max(PIECE_BYTES));
        table.bodies[&id].phase == Phase::Arriving
    }

    /// Books bytes, and gives up what is too much then.
    fn book(&self, table: &mut Table, id: u64, bytes: u64) {
        let held = table.bodies[&id].held + bytes;
        self.set_held(table, id, held);
        self.enforce(table, id);
    }

    fn enforce(&self, table: &mut Table, id: u64) {
        let owner = table.bodies[&id].owner;
        if let Owner::User(_) = owner
            && table.owners[&owner] > self.limits.user_max
        {
            return self.give_up(table, id, Cause::OfUser);
        }
        let (held, most, cause) = match owner {
            Owner::User(_) => (table.users, self.limits.users_max, Cause::OfUsers),
            Owner::Stranger(_) => (table.strangers, self.limits.strangers_max, Cause::OfStrangers),
        };
        if held > most {
            self.shed(table, cause, held - most + most / 8);
        }
    }

    /// Gives up the largest bodies of those who hold most until so much is free: the next byte must not make
    /// it look at all of them again.
    fn shed(&self, table: &mut Table, cause: Cause, mut excess: u64) {
        let is_concerned = |owner| match owner {
            Owner::User(_) => cause == Cause::OfUsers,
            Owner::Stranger(_) => cause == Cause::OfStrangers,
        };
        let arriving = table.bodies.iter().filter(|(_, body)| body.phase == Phase::Arriving);
        let concerned = arriving.filter(|(_, body)| is_concerned(body.owner));
        let mut worst: Vec<(u64, u64, u64)> =
            concerned.map(|(id, body)| (table.owners[&body.owner], body.held, *id)).collect();
        // Of two that are alike the older: its client has had more time.
        worst.sort_unstable_by_key(|(of_owner, held, id)| (Reverse((*of_owner, *held)), *id));
        for (_, held, id) in worst {
            self.give_up(table, id, cause);
            if held >= excess {
                break;
            }
            excess -= held;
        }
    }

    fn give_up(&self, table: &mut Table, id: u64, cause: Cause) {
        self.set_held(table, id, 0);
        let body = table.bodies.get_mut(&id).expect("only a body with an account is given up");
        body.phase = Phase::GivenUp(cause);
        body.given_up.notify_one();
        if let Some(counter) = self.counter(cause) {
            counter.fetch_add(1, Relaxed);
        }
    }

    fn counter(&self, cause: Cause) -> Option<&AtomicU64> {
        match cause {
            Cause::TooLarge => None,
            Cause::TooSlow => Some(&self.counters.bodies_too_slow),
            Cause::OfUser => Some(&self.counters.bodies_of_user),
            Cause::OfUsers => Some(&self.counters.bodies_of_users),
            Cause::OfStrangers => Some(&self.counters.bodies_of_strangers),
        }
    }

    fn set_held(&self, table: &mut Table, id: u64, held: u64) {
        let body = table.bodies.get_mut(&id).expect("the caller has found the account");
        let (owner, before) = (body.owner, body.held);
        body.held = held;
        let of_owner = table.owners.entry(owner).or_default();
        *of_owner = *of_owner + held - before;
        if *of_owner == 0 {
            table.owners.remove(&owner);
        }
        let of_all = match owner {
            Owner::User(_) => &mut table.users,
            Owner::Stranger(_) => &mut table.strangers,
        };
        *of_all = *of_all + held - before;
        self.counters.bodies_bytes.store(table.users + table.strangers, Relaxed);
    }

    /// When the body has to be whole, unless more of it comes; or why it is given up.
    fn due(&self, id: u64) -> Result<Instant, Cause> {
        let mut table = self.lock();
        let body = &table.bodies[&id];
        if let Phase::GivenUp(cause) = body.phase {
            return Err(cause);
        }
        let earned_ms = body.arrived * 1000 / self.limits.bytes_per_s_min;
        let due = body.begun + self.limits.timeout + Duration::from_millis(earned_ms);
        if due <= Instant::now() {
            self.give_up(&mut table, id, Cause::TooSlow);
            return Err(Cause::TooSlow);
        }
        Ok(due)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body on an account, which is closed when this is dropped.
pub(crate) struct Arriving {
    bodies: Arc<Bodies>,
    id: u64,
    given_up: Arc<Notify>,
}

impl Arriving {
    /// The body, each piece of which is booked when it comes.
    ///
    /// # Errors
    /// The client has announced too much.
    pub fn meter(&self, body: RequestBody) -> Result<RequestBody, Refusal> {
        let most = self.bodies.lock().bodies[&self.id].most;
        if body.size_hint().lower() > most {
            return Err(Refusal::TooLarge);
        }
        let bodies = Arc::clone(&self.bodies);
        let (gathered, passed_on, is_whole) = (BytesMut::new(), 0, false);
        Ok(RequestBody::new(Metered { body, bodies, id: self.id, gathered, passed_on, is_whole }))
    }

    /// What `receiving` makes of the metered body, unless that is given up before. From then on the body
    /// is its handler's, and not given up any more.
    pub async fn read<T>(
        &self,
        receiving: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let read = tokio::select! {
            biased;
            read = receiving => read,
            cause = self.given_up() => return Err(cause.into()),
        };
        let mut table = self.bodies.lock();
        let body = table.bodies.get_mut(&self.id).expect("this has an account");
        if let Phase::GivenUp(cause) = body.phase {
            return Err(cause.into());
        }
        body.phase = Phase::Whole;
        read
    }

    async fn given_up(&self) -> Cause {
        loop {
            match self.bodies.due(self.id) {
                Err(cause) => return cause,
                Ok(due) => tokio::select! {
                    () = self.given_up.notified() => {}
                    () = sleep_until(due) => {}
                },
            }
        }
    }

    /// Its user is known now.
    pub fn is_of(&self, user: u32) {
        let mut table = self.bodies.lock();
        let body = &table.bodies[&self.id];
        let (held, is_arriving) = (body.held, body.phase == Phase::Arriving);
        if !is_arriving || body.owner == Owner::User(user) {
            return;
        }
        self.bodies.set_held(&mut table, self.id, 0);
        let body = table.bodies.get_mut(&self.id).expect("this has an account");
        body.owner = Owner::User(user);
        self.bodies.set_held(&mut table, self.id, held);
        self.bodies.enforce(&mut table, self.id);
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut table = self.bodies.lock();
        self.bodies.set_held(&mut table, self.id, 0);
        table.bodies.remove(&self.id);
        self.bodies.counters.bodies.fetch_sub(1, Relaxed);
    }
}

struct Metered {
    body: RequestBody,
    bodies: Arc<Bodies>,
    id: u64,
    /// What has come and was not passed on.
    gathered: BytesMut,
    passed_on: usize,
    is_whole: bool,
}

/// The part of what was passed on that the next piece has at least.
const NEXT_PART: usize = 4;

impl Metered {
    /// What reads the body may look at all of it with each piece. Pieces that grow with the body make this
    /// a small multiple of its bytes, however small they come.
    fn is_due(&self) -> bool {
        !self.gathered.is_empty()
            && (self.is_whole || self.gathered.len() >= self.passed_on / NEXT_PART)
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        while !this.is_due() && !this.is_whole {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers mean nothing.
                    let Ok(piece) = frame.into_data() else { continue };
                    if !this.bodies.add(this.id, piece.len()) {
                        // `Arriving::read` has been notified.
                        return Poll::Pending;
                    }
                    this.gathered.extend_from_slice(&piece);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.is_whole = true,
            }
        }
        if !this.is_due() {
            return Poll::Ready(None);
        }
        this.passed_on += this.gathered.len();
        Poll::Ready(Some(Ok(Frame::data(this.gathered.split().freeze()))))
    }
}

#[cfg(test)]
mod tests;
