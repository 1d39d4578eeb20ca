//! The HTTP API as a client uses it.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::ClientError;
use super::http::{Request, Response, fetch, percent_encode};
use super::target::Target;
use super::transcript::Log;

pub const PASSWORD: &str = "correct horse";

/// How often a request is repeated that a limit puts off.
const PUT_OFFS_MAX: usize = 60;
static TURN: Mutex<()> = Mutex::new(());
const LOOK: Duration = Duration::from_millis(100);
const PUT_OFF_MAX: Duration = Duration::from_secs(61);

/// How long to wait, as an answer says that has no requests of the client left.
fn put_off(answer: &Response) -> Option<Duration> {
    let is_used_up = answer.header("X-RateLimit-Remaining") == Some("0");
    let after = answer.header("Retry-After").filter(|_| answer.status == 429 && is_used_up)?;
    Some(Duration::from_secs(after.parse().ok()?).min(PUT_OFF_MAX))
}

#[derive(Clone, Debug)]
pub struct User {
    pub id: u64,
    pub name: String,
    pub email: String,
    pub token: String,
    pub avatar: String,
}

impl User {
    pub fn parse(answer: &Value) -> Option<User> {
        let user = &answer["user"];
        let text = |key: &str| user[key].as_str().map(str::to_owned);
        Some(User {
            id: user["id"].as_u64()?,
            name: text("name")?,
            email: text("email")?,
            token: text("api_token")?,
            avatar: text("avatar")?,
        })
    }

    /// From an answer of `GET /api/user` with this token.
    pub fn of_token(token: &str, answer: &Value) -> Option<User> {
        let text = |key: &str| answer[key].as_str().map(str::to_owned);
        Some(User {
            id: answer["id"].as_u64()?,
            name: text("name")?,
            email: text("email")?,
            token: token.to_owned(),
            avatar: text("avatar")?,
        })
    }

    /// The `userid` of this user's messages, as other users see it.
    pub fn public_id(&self) -> String {
        format!("u{}", self.id)
    }
}

/// A thin wrapper that knows the target and the transcript.
#[derive(Clone)]
pub struct Rest {
    pub target: Target,
    pub log: Log,
}

impl Rest {
    /// The answer. One that puts this client off (LIM-24) is waited for, as it says.
    pub fn call(&self, request: &Request<'_>) -> Result<Response, ClientError> {
        self.until_admitted(|| self.call_at_once(request))
    }

    /// The first answer that does not put this client off (LIM-24), or the last of many.
    pub fn until_admitted<E>(
        &self,
        attempt: impl Fn() -> Result<Response, E>,
    ) -> Result<Response, E> {
        let mut answer = attempt()?;
        let mut turn = None;
        for _ in 0..PUT_OFFS_MAX {
            let Some(wait) = put_off(&answer) else { break };
            // One request at a time waits for what becomes free.
            while turn.is_none() {
                turn = TURN.try_lock().ok();
                if turn.is_none() {
                    self.log.pause(LOOK, "other requests wait for the target's limit");
                }
            }
            self.log.pause(wait, "the target has too many requests of this client");
            answer = attempt()?;
        }
        Ok(answer)
    }

    /// The answer, whatever it is.
    pub fn call_at_once(&self, request: &Request<'_>) -> Result<Response, ClientError> {
        fetch(&self.target, &self.log, request, self.target.answer_wait)
    }

    pub fn get(&self, path: &str) -> Result<Response, ClientError> {
        self.call(&Request::get(path))
    }

    /// GET of a poll, which may be held until the next heartbeat.
    pub fn poll(&self, path: &str, ping_interval: Duration) -> Result<Response, ClientError> {
        let wait = self.target.answer_wait + ping_interval;
        fetch(&self.target, &self.log, &Request::get(path), wait)
    }

    /// GET with the token in the query, as the original page does.
    pub fn get_as(&self, path: &str, token: &str) -> Result<Response, ClientError> {
        let mark = if path.contains('?') { '&' } else { '?' };
        self.get(&format!("{path}{mark}api_token={}", percent_encode(token)))
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Response, ClientError> {
        let headers = &[("Content-Type", "application/json"), ("Accept", "application/json")];
        let body = body.to_string();
        self.call(&Request { method: "POST", path, headers, body: body.as_bytes() })
    }

    pub fn register(&self, email: &str) -> Result<User, ClientError> {
        let answer = self.post_registration(email)?;
        User::parse(&answer.json())
            .ok_or_else(|| ClientError::Protocol(format!("register answered {}", answer.text())))
    }

    /// The user of a token that was given.
    pub fn user_of(&self, token: &str) -> Result<User, ClientError> {
        let answer = self.get_as("/api/user", token)?;
        User::of_token(token, &answer.json()).ok_or_else(|| {
            let status = answer.status;
            ClientError::Protocol(format!(
                "GET /api/user with a given token: HTTP {status} {}",
                answer.text()
            ))
        })
    }

    pub fn post_registration(&self, email: &str) -> Result<Response, ClientError> {
        self.post("/api/register", &json!({ "name": email, "password": PASSWORD }))
    }

    pub fn login(&self, email: &str) -> Result<User, ClientError> {
        let answer = self.post("/api/login", &json!({ "name": email, "password": PASSWORD }))?;
        User::parse(&answer.json())
            .ok_or_else(|| ClientError::Protocol(format!("login answered {}", answer.text())))
    }

    pub fn upload(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        file: Option<(&str, &str, &[u8])>,
    ) -> Result<Response, ClientError> {
        const BOUNDARY: &str = "----throng-harness-boundary";
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                    .as_bytes(),
            );
        }
        if let Some((file_name, content_type, bytes)) = file {
            body.extend_from_slice(
                format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; \
                     filename=\"{file_name}\"\r\nContent-Type: {content_type}\r\n\r\n"
                )
                .as_bytes(),
            );
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let headers = &[("Content-Type", content_type.as_str())];
        self.call(&Request { method: "POST", path, headers, body: &body })
    }

    /// The rooms as the user sees them.
    pub fn rooms(&self, token: &str) -> Result<Vec<Value>, ClientError> {
        let answer = self.get_as("/api/rooms", token)?.json();
        Ok(answer["rooms"].as_array().cloned().unwrap_or_default())
    }

    pub fn history(
        &self,
        token: &str,
        room: u64,
        page: u64,
        total: u64,
    ) -> Result<Value, ClientError> {
        let path = format!("/api/history/message?roomid={room}&current={page}&total={total}");
        Ok(self.get_as(&path, token)?.json()["data"].clone())
    }
}
