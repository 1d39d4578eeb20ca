//! Rate limits of the API: per client without a valid token, and per user.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use throng_wire::http::{Caller, ClientKey};

use crate::account_failure::{Failure, TokenRequest};
use crate::answer::too_many;
use crate::identity::{LookedUp, Presented, presented};
use crate::{Api, ApiState, OverLimit, Settings};

type Limiter<K> =
    RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// Checks between two removals of idle keys.
const SWEEP_EVERY: u32 = 1024;
/// Accepted tokens that are remembered, and for how long after their last request.
const TOKENS_MAX: usize = 100_000;
const TOKEN_REMEMBERED: Duration = Duration::from_secs(600);

/// A request counts for the user of its token, and for its client without a valid one.
pub(crate) struct Throttle {
    clients: Option<Bucket<ClientKey>>,
    users: Option<Bucket<u32>>,
    /// Tokens that were accepted.
    accepted: Mutex<HashMap<Presented, Accepted>>,
    checks: AtomicU32,
}

struct Accepted {
    user: u32,
    seen: Instant,
}

struct Bucket<K: std::hash::Hash + Eq + Clone> {
    limiter: Limiter<K>,
    clock: DefaultClock,
    setting: &'static str,
    per_minute: NonZeroU32,
}

/// What is known of a request: its limit, and a token that was looked up for it.
#[derive(Default)]
struct Judged {
    /// `None` without a limit.
    taken: Option<Taken>,
    looked_up: Option<LookedUp>,
}

/// The limit that a request counts for, and how many more it allows now or how long it has to wait.
struct Taken {
    per_minute: NonZeroU32,
    remaining: Result<u32, OverLimit>,
}

impl<K: std::hash::Hash + Eq + Clone> Bucket<K> {
    /// `None` without a limit.
    fn new(setting: &'static str, per_minute: u32) -> Option<Self> {
        let per_minute = NonZeroU32::new(per_minute)?;
        let limiter = RateLimiter::keyed(Quota::per_minute(per_minute))
            .with_middleware::<StateInformationMiddleware>();
        Some(Self { limiter, clock: DefaultClock::default(), setting, per_minute })
    }

    fn take(&self, key: &K) -> Taken {
        let remaining = match self.limiter.check_key(key) {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(refused) => {
                let wait = refused.wait_time_from(self.clock.now());
                Err(OverLimit { setting: self.setting, wait })
            }
        };
        Taken { per_minute: self.per_minute, remaining }
    }
}

impl Throttle {
    pub fn new(settings: &Settings) -> Self {
        Self {
            clients: Bucket::new("http.api_per_minute", settings.api_per_minute),
            users: Bucket::new("http.api_per_user_per_minute", settings.api_per_user_per_minute),
            accepted: Mutex::default(),
            checks: AtomicU32::new(0),
        }
    }

    async fn take(&self, api: &ApiState, client: ClientKey, token: Option<Presented>) -> Judged {
        if self.checks.fetch_add(1, Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep();
        }
        let Some(clients) = &self.clients else { return Judged::default() };
        let mut looked_up = None;
        let mut user = token.as_ref().and_then(|token| self.user_of(token));
        if let Some(presented) = token
            && user.is_none()
            // What a look-up fails for is answered by the handler, which asks again.
            && let Ok(found) = presented.user(api, client).await
        {
            if let Some(found) = &found {
                self.accept(presented, found.id);
                api.attempts.know(&found.email, client);
                user = Some(found.id);
            }
            looked_up = Some(LookedUp { presented, user: found });
        }
        let taken = match user {
            Some(user) => self.users.as_ref().map(|users| users.take(&user)),
            None => Some(clients.take(&client)),
        };
        Judged { taken, looked_up }
    }

    /// The user of a token that was accepted before.
    fn user_of(&self, token: &Presented) -> Option<u32> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = accepted.get_mut(token)?;
        accepted.seen = Instant::now();
        Some(accepted.user)
    }

    fn accept(&self, token: Presented, user: u32) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        if accepted.len() < TOKENS_MAX {
            accepted.insert(token, Accepted { user, seen: Instant::now() });
        }
    }

    fn sweep(&self) {
        if let Some(clients) = &self.clients {
            clients.limiter.retain_recent();
        }
        if let Some(users) = &self.users {
            users.limiter.retain_recent();
        }
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.retain(|_, accepted| accepted.seen.elapsed() < TOKEN_REMEMBERED);
    }
}

pub(crate) async fn check(
    State((api, throttle)): State<(Api, Arc<Throttle>)>,
    mut request: Request,
    next: Next,
) -> Response {
    // A preflight is answered by the layer around this one.
    if request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let caller = request.extensions().get::<Caller>();
    let ip = caller.expect("every request has its caller").client.ip;
    let client = ip.into();
    // Who guesses passwords may have an account of their own.
    let asked = TokenRequest::at(request.uri().path());
    let token = presented(request.method(), request.uri(), request.headers());
    let token = token.filter(|_| asked.is_none());
    let Judged { taken, looked_up } = throttle.take(&api, client, token).await;
    if let Some(looked_up) = looked_up {
        request.extensions_mut().insert(looked_up);
    }
    let Some(taken) = taken else { return next.run(request).await };
    let mut response = match taken.remaining {
        Ok(_) => next.run(request).await,
        Err(over) => {
            if let Some(asked) = asked {
                asked.failed(Failure::Throttled, &api.deps.counters, ip);
            }
            too_many(over)
        }
    };
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit", HeaderValue::from(taken.per_minute.get()));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(taken.remaining.unwrap_or(0)));
    response
}
