//! Tokens of users: read from a file, signed, or received for users registered through Throng's API.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use crate::jwt::Signer;
use crate::rest::Rest;
use crate::scenario::{Scenario, Users};

/// Clients that share a user where the scenario does not say how many users there are.
const CLIENTS_PER_USER: usize = 10;
/// Messages per second of one user there, which is half of what a default Throng allows.
const MESSAGES_PER_USER: f64 = 10.0;
/// How often a wait is announced.
const ANNOUNCED: Duration = Duration::from_secs(20);
/// How long a server has to say whether it wants users.
const ASKED: Duration = Duration::from_secs(2);
/// Users registered there at most: what a default Throng allows within a minute is 60.
const REGISTERED_MAX: usize = 50;

/// One token per user; empty when the clients are anonymous.
///
/// # Errors
/// A file is unreadable or empty, or the server refuses a registration and the login after it.
pub fn of_scenario(scenario: &Scenario, rest: &Rest) -> anyhow::Result<Vec<String>> {
    let users = &scenario.users;
    if let Some(secret) = &users.jwt_secret_file {
        let signer = Signer::new(secret, users.jwt_claims.as_ref())?;
        let count = users.register.unwrap_or_else(|| scenario.clients_max());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        return Ok((0..count).map(|user| signer.sign(user, now)).collect());
    }
    if users.tokens.is_some() || users.register.is_some() || !scenario.may_register() {
        return tokens(users, scenario.seed, rest);
    }
    let timeout = Duration::from_millis(scenario.connect.timeout_ms / 2).min(ASKED);
    if !rest.wants_users(timeout) {
        return Ok(Vec::new());
    }
    let register = Some(registered(scenario));
    tokens(&Users { register, ..users.clone() }, scenario.seed, rest)
        .context("the server wants users, and none were given (--users N, --tokens FILE)")
}

/// As many users as the clients need within the limits of a default Throng.
fn registered(scenario: &Scenario) -> usize {
    let clients = scenario.clients_max();
    let by_rate = (scenario.base_rate() / MESSAGES_PER_USER).ceil() as usize;
    clients.div_ceil(CLIENTS_PER_USER).max(by_rate).min(REGISTERED_MAX).min(clients)
}

/// The tokens of a file, or of registered users. Users of one seed are registered once.
///
/// # Errors
/// The file is unreadable or empty, or the server refuses a registration and the login after it.
pub fn tokens(users: &Users, seed: u64, rest: &Rest) -> anyhow::Result<Vec<String>> {
    match &users.tokens {
        Some(path) => from_file(path),
        None => register(users, seed, rest),
    }
}

fn from_file(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let tokens: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if tokens.is_empty() {
        bail!("{} holds no tokens", path.display());
    }
    Ok(tokens)
}

/// Users on their way to their tokens.
struct Registration<'r> {
    rest: &'r Rest,
    seed: u64,
    count: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    /// The last user existed already, as the next will.
    exist: AtomicBool,
    announced: Mutex<Option<Instant>>,
    until: Option<Instant>,
}

fn register(users: &Users, seed: u64, rest: &Rest) -> anyhow::Result<Vec<String>> {
    let count = users.register.unwrap_or(0);
    let received = Mutex::new(vec![String::new(); count]);
    let registration = Registration {
        rest,
        seed,
        count,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        exist: AtomicBool::new(false),
        announced: Mutex::default(),
        // What no clock reaches is no bound.
        until: Instant::now().checked_add(Duration::from_secs(users.timeout_s)),
    };
    let work = || -> anyhow::Result<()> {
        loop {
            let user = registration.next.fetch_add(1, Ordering::Relaxed);
            if user >= count {
                return Ok(());
            }
            let token = registration.token_of(user)?;
            registration.done.fetch_add(1, Ordering::Relaxed);
            received.lock().expect("no holder of this lock panics")[user] = token;
        }
    };
    std::thread::scope(|scope| {
        let workers = users.concurrency.clamp(1, 64).min(count);
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles.into_iter().try_for_each(|handle| {
            handle.join().unwrap_or_else(|_| bail!("a registration thread panicked"))
        })
    })?;
    Ok(received.into_inner().expect("all workers are gone"))
}

impl Registration<'_> {
    /// Registers one user, or logs it in if an earlier run with this seed registered it.
    fn token_of(&self, user: usize) -> anyhow::Result<String> {
        let name = format!("lg{:x}-{user:05}@load.test", self.seed);
        let body = json!({ "name": name, "password": "load-Test-1234" });
        let mut routes = [("/api/register", false), ("/api/login", true)];
        if self.exist.load(Ordering::Relaxed) {
            routes.reverse();
        }
        let mut answers = Vec::new();
        for (route, exist) in routes {
            let answer = loop {
                let answer = self.rest.post(route, &body)?;
                match answer.pause {
                    Some(pause) => self.pause(pause)?,
                    None => break answer,
                }
            };
            if let Some(token) = answer.json["user"]["api_token"].as_str() {
                self.exist.store(exist, Ordering::Relaxed);
                return Ok(token.to_owned());
            }
            answers.push(format!("{route}: status {}, {}", answer.status, answer.json));
        }
        bail!("no token for user {user} ({})", answers.join("; "))
    }

    /// Waits as long as the server asks.
    fn pause(&self, pause: Duration) -> anyhow::Result<()> {
        let done = self.done.load(Ordering::Relaxed);
        let is_in_time = |until| Instant::now().checked_add(pause).is_some_and(|at| at <= until);
        ensure!(
            self.until.is_none_or(is_in_time),
            "the server limits logins, and {done} of {} users have a token after users.timeout_s",
            self.count
        );
        let now = Instant::now();
        let mut announced = self.announced.lock().expect("no holder of this lock panics");
        if announced.is_none_or(|at| now - at >= ANNOUNCED) {
            *announced = Some(now);
            eprintln!(
                "throng-loadgen: {done} of {} users have a token; the server asks to wait {} s for more",
                self.count,
                pause.as_secs()
            );
        }
        drop(announced);
        std::thread::sleep(pause);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_beyond_the_bound_is_an_error_however_long() {
        let target = crate::target::Target::parse("http://127.0.0.1:1").unwrap();
        let rest = Rest::new(&target, None);
        let registration = Registration {
            rest: &rest,
            seed: 1,
            count: 2,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(1),
            exist: AtomicBool::new(false),
            announced: Mutex::default(),
            until: Instant::now().checked_add(Duration::from_secs(1)),
        };
        for pause in [Duration::from_secs(60), Duration::MAX] {
            let why = registration.pause(pause).unwrap_err().to_string();
            assert!(why.contains("1 of 2 users"), "{why}");
        }
        registration.pause(Duration::ZERO).unwrap();
    }

    #[test]
    fn a_default_run_registers_few_users() {
        let of = |clients, rate| {
            let mut scenario = Scenario { clients, ..Scenario::default() };
            scenario.load.rate = rate;
            registered(&scenario)
        };
        assert_eq!(of(100, 10.0), 10);
        assert_eq!(of(1, 10.0), 1);
        assert_eq!(of(100, 250.0), 25);
        assert_eq!(of(10_000, 10.0), REGISTERED_MAX);
    }
}
