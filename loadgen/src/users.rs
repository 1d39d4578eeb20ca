//! API tokens: read from a file, or received for registered users through the REST API.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::scenario::Users;
use crate::target::Target;

/// One token per user; empty when the clients are anonymous. Users of one seed are registered once.
///
/// # Errors
/// The file is unreadable or empty, or the server refuses a registration and the login after it.
pub fn tokens(users: &Users, seed: u64, target: &Target) -> anyhow::Result<Vec<String>> {
    match &users.tokens {
        Some(path) => from_file(path),
        None => register(users, seed, target),
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

fn register(users: &Users, seed: u64, target: &Target) -> anyhow::Result<Vec<String>> {
    let count = users.register;
    let next = AtomicUsize::new(0);
    let received = Mutex::new(vec![String::new(); count]);
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let work = || -> anyhow::Result<()> {
        loop {
            let user = next.fetch_add(1, Ordering::Relaxed);
            if user >= count {
                return Ok(());
            }
            let token = token_of(&agent, target, seed, user)?;
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

/// Registers one user, or logs it in if an earlier run with this seed registered it.
fn token_of(
    agent: &ureq::Agent,
    target: &Target,
    seed: u64,
    user: usize,
) -> anyhow::Result<String> {
    let name = format!("lg{seed:x}-{user:05}@load.test");
    let body = json!({ "name": name, "password": "load-Test-1234" });
    let mut answer = Value::Null;
    for route in ["register", "login"] {
        let url = format!("{}/api/{route}", target.http());
        let mut response =
            agent.post(&url).send_json(&body).with_context(|| format!("POST {url}"))?;
        answer = response.body_mut().read_json().with_context(|| format!("answer of {url}"))?;
        if let Some(token) = answer["user"]["api_token"].as_str() {
            return Ok(token.to_owned());
        }
    }
    bail!("no token for user {user}: {answer}")
}
