//! Throng's HTTP API, as far as a generator needs it: rooms and accounts.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::scenario::Scenario;
use crate::target::Target;
use crate::tls::Trust;

/// How long to wait where a server does not say so.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a request may take: the hash of a password may wait for others.
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Rest {
    agent: ureq::Agent,
    base: String,
}

pub struct Answer {
    pub status: u16,
    pub json: Value,
    /// The server asks for a pause: too many requests.
    pub pause: Option<Duration>,
}

impl Rest {
    /// Requests to `target`.
    #[must_use]
    pub fn new(target: &Target, trust: Option<&Trust>) -> Self {
        Self { agent: agent(trust), base: target.http() }
    }

    /// Whether the server is a Throng and wants to know its users, if it says so within `timeout`.
    #[must_use]
    pub fn wants_users(&self, timeout: Duration) -> bool {
        let request = self.agent.get(format!("{}/api/rooms", self.base));
        let request = request.config().timeout_global(Some(timeout)).build();
        answer(request.call()).is_ok_and(|answer| {
            answer.json["message"] == "Unauthenticated." || answer.json["rooms"].is_array()
        })
    }

    /// # Errors
    /// There is no answer.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.base);
        answer(self.agent.post(&url).send_json(body)).with_context(|| format!("POST {url}"))
    }

    /// The rooms that the server names, instead of those that the scenario numbers, if it wants the
    /// first ones and the server has other numbers.
    #[must_use]
    pub fn rooms_for(&self, scenario: &Scenario, tokens: &[String]) -> Option<Vec<u32>> {
        let users = &scenario.users;
        let are_its_users = users.tokens.is_none() && users.jwt_secret_file.is_none();
        let listed = self.rooms(tokens.first().filter(|_| are_its_users)?)?;
        let wanted: Vec<u32> = (scenario.first_room..).take(scenario.rooms).collect();
        let absent: Vec<u32> = wanted.iter().copied().filter(|n| !listed.contains(n)).collect();
        if absent.is_empty() {
            return None;
        }
        if scenario.first_room == 1 && scenario.rooms <= listed.len() {
            return Some(listed[..scenario.rooms].to_vec());
        }
        eprintln!(
            "throng-loadgen: the server names {} rooms ({}) and not {}: unless it makes rooms on demand, give \
             --rooms {} --first-room {}",
            listed.len(),
            list(&listed),
            list(&absent),
            listed.len(),
            listed.first().unwrap_or(&1)
        );
        None
    }

    fn rooms(&self, token: &str) -> Option<Vec<u32>> {
        let request = self.agent.get(format!("{}/api/rooms", self.base));
        let request = request.header("Authorization", format!("Bearer {token}"));
        let answer = answer(request.call()).ok()?;
        let number = |room: &Value| u32::try_from(room["id"].as_u64()?).ok();
        let mut rooms: Vec<u32> =
            answer.json["rooms"].as_array()?.iter().filter_map(number).collect();
        rooms.sort_unstable();
        Some(rooms)
    }
}

/// A client of HTTP requests.
#[must_use]
pub fn agent(trust: Option<&Trust>) -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
    match trust {
        Some(trust) => config.tls_config(trust.of_requests()).build().new_agent(),
        None => config.build().new_agent(),
    }
}

/// The first few, for a sentence.
fn list(numbers: &[u32]) -> String {
    let shown: Vec<_> = numbers.iter().take(5).map(u32::to_string).collect();
    let more = if numbers.len() > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Answer> {
    let mut response = result?;
    let status = response.status().as_u16();
    let asked = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let pause = matches!(status, 429 | 503).then(|| asked.unwrap_or(PAUSE).max(PAUSE));
    // Whatever else stands there is no answer of this API.
    let json = response.body_mut().read_json().unwrap_or(Value::Null);
    Ok(Answer { status, json, pause })
}
