//! The robot that answers in the original's chat: an upstream of the operator's, or a canned word.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use form_urlencoded::byte_serialize;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::Desk;
use crate::answer::{Refusal, ok};
use crate::identity::identify;
use crate::input::query_value;

const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const INFO_CHARS_MAX: usize = 1000;
const ASKED_AT_ONCE_MAX: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Codes of the original's upstream: the client shows the text of this one.
const CODE_TEXT: u32 = 100_000;
/// Any other code: the client shows its own excuse.
const CODE_UNAVAILABLE: u32 = 40_002;

pub(crate) struct Robot {
    /// With `{info}` and `{id}` where the question and the asker go.
    url: Option<String>,
    agent: ureq::Agent,
    asked: Arc<Semaphore>,
}

impl Robot {
    pub fn new(url: Option<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            // The operator named one place; an answer must not send us to another.
            .max_redirects(0)
            .build();
        Self { url, agent: config.into(), asked: Arc::new(Semaphore::new(ASKED_AT_ONCE_MAX)) }
    }

    /// The JSON text of an answer, in the upstream's words.
    async fn answer(&self, info: &str, id: &str) -> String {
        let Some(template) = &self.url else {
            return told(
                CODE_TEXT,
                "I am only a placeholder: the operator has not connected a robot yet.",
            );
        };
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let url = template.replace("{info}", &encode(info)).replace("{id}", &encode(id));
        let agent = self.agent.clone();
        let Ok(permit) = self.asked.clone().try_acquire_owned() else {
            return told(CODE_UNAVAILABLE, "The robot is busy.");
        };
        let asked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut response = agent.get(url).call()?;
            response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
        });
        match asked.await {
            // The original page parses the text as it comes, so it must be an object of JSON.
            Ok(Ok(text)) if serde_json::from_str::<Map<String, Value>>(&text).is_ok() => text,
            Ok(outcome) => {
                // The URL may hold the operator's key, so only the kind of failure is told.
                let kind = outcome.err().map_or("answer", |error| kind_of(&error));
                tracing::warn!(kind, "the robot's upstream gave no answer");
                told(CODE_UNAVAILABLE, "The robot is not available.")
            }
            Err(_) => told(CODE_UNAVAILABLE, "The robot is not available."),
        }
    }
}

pub(crate) async fn ask(State(desk): State<Desk>, parts: Parts) -> Result<Response, Refusal> {
    identify(&desk, &parts, None).await?;
    let query = parts.uri.query().unwrap_or("");
    let info = query_value(query, "info").unwrap_or_default();
    let info: String = info.trim().chars().take(INFO_CHARS_MAX).collect();
    let id: String =
        query_value(query, "id").unwrap_or_default().chars().take(INFO_CHARS_MAX).collect();
    Ok(ok(json!({ "data": desk.robot.answer(&info, &id).await })))
}

fn told(code: u32, text: &str) -> String {
    json!({ "code": code, "text": text }).to_string()
}

fn kind_of(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::StatusCode(_) => "status",
        ureq::Error::Timeout(_) => "timeout",
        ureq::Error::HostNotFound => "host not found",
        ureq::Error::ConnectionFailed | ureq::Error::Io(_) => "connection",
        ureq::Error::BodyExceedsLimit(_) => "answer too large",
        _ => "other",
    }
}
