//! The robot of the original's chat: answers of an upstream of the operator, or a fixed text.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use form_urlencoded::byte_serialize;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::Api;
use crate::answer::{Refusal, ok};
use crate::identity::identify;
use crate::input::query_value;
use crate::settings::RobotUrl;

const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const INFO_CHARS_MAX: usize = 1000;
const REQUESTS_AT_ONCE_MAX: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Code of the original's upstream for an answer whose text the client shows.
const CODE_TEXT: u32 = 100_000;
/// Any other code makes the client show an apology of its own.
const CODE_UNAVAILABLE: u32 = 40_002;

pub(crate) struct Robot {
    /// With `{info}` for the question and `{id}` for the user.
    url: Option<RobotUrl>,
    agent: ureq::Agent,
    slots: Arc<Semaphore>,
}

impl Robot {
    pub fn new(url: Option<RobotUrl>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            // The operator configured one place; a response must not redirect us to another.
            .max_redirects(0)
            .build();
        Self { url, agent: config.into(), slots: Arc::new(Semaphore::new(REQUESTS_AT_ONCE_MAX)) }
    }

    /// The answer as JSON text in the upstream's format.
    async fn answer(&self, info: &str, id: &str) -> String {
        let Some(template) = &self.url else {
            return answer_text(
                CODE_TEXT,
                "I am only a placeholder: the operator has not connected a robot yet.",
            );
        };
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let url = template.with(&encode(info), &encode(id));
        let agent = self.agent.clone();
        let Ok(permit) = self.slots.clone().try_acquire_owned() else {
            return answer_text(CODE_UNAVAILABLE, "The robot is busy.");
        };
        let asked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut response = agent.get(url).call()?;
            response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
        });
        match asked.await {
            // The original page parses the text unchecked, so it must be a JSON object.
            Ok(Ok(text)) if serde_json::from_str::<Map<String, Value>>(&text).is_ok() => text,
            Ok(outcome) => {
                // The URL may hold the operator's key, so only the kind of failure is logged.
                let kind = outcome.err().map_or("invalid response", |error| kind_of(&error));
                tracing::warn!(kind, "the robot's upstream did not answer");
                answer_text(CODE_UNAVAILABLE, "The robot is not available.")
            }
            Err(_) => answer_text(CODE_UNAVAILABLE, "The robot is not available."),
        }
    }
}

pub(crate) async fn ask(State(api): State<Api>, parts: Parts) -> Result<Response, Refusal> {
    identify(&api, &parts, None).await?;
    let query = parts.uri.query().unwrap_or("");
    let info = query_value(query, "info").unwrap_or_default();
    let info: String = info.trim().chars().take(INFO_CHARS_MAX).collect();
    let id: String =
        query_value(query, "id").unwrap_or_default().chars().take(INFO_CHARS_MAX).collect();
    Ok(ok(json!({ "data": api.robot.answer(&info, &id).await })))
}

fn answer_text(code: u32, text: &str) -> String {
    json!({ "code": code, "text": text }).to_string()
}

fn kind_of(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::StatusCode(_) => "status",
        ureq::Error::Timeout(_) => "timeout",
        ureq::Error::HostNotFound => "host not found",
        ureq::Error::ConnectionFailed | ureq::Error::Io(_) => "connection",
        ureq::Error::BodyExceedsLimit(_) => "response too large",
        _ => "other",
    }
}
