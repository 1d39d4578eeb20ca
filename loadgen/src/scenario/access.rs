//! How clients show who they are, and whose certificates they trust.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// In `headers`, `query` and `auth`, `{token}`, `{user}` and `{client}` stand for the token and the number
/// of the client's user, and for the client's own number; numbers begin with 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// `NAME: VALUE`, sent with each request of the clients.
    pub headers: Vec<String>,
    /// Added to the query of each request of the clients.
    pub query: Option<String>,
    /// What Socket.IO sends along with CONNECT.
    pub auth: Option<Value>,
    /// A file with `KEY:SECRET` of a Pusher application, which signs subscriptions.
    pub pusher_secret_file: Option<PathBuf>,
    /// A PEM file with the authorities that are trusted, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Trust every certificate.
    pub insecure: bool,
}

impl Access {
    /// # Errors
    /// Names the first setting that makes no sense.
    pub fn validate(&self) -> anyhow::Result<()> {
        for header in &self.headers {
            let (name, value) = header
                .split_once(':')
                .with_context(|| format!("header {header:?}: NAME: VALUE is needed"))?;
            let is_token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            ensure!(
                !name.is_empty() && name.bytes().all(is_token),
                "header {header:?}: {name:?} is not a name"
            );
            ensure!(!value.contains(['\r', '\n']), "header {header:?} has more than one line");
        }
        ensure!(
            !self.insecure || self.ca.is_none(),
            "access: `ca` trusts some certificates, `insecure` every one: give one of them"
        );
        Ok(())
    }

    /// Whether clients show something of their own making.
    #[must_use]
    pub fn is_given(&self) -> bool {
        !self.headers.is_empty() || self.query.is_some() || self.auth.is_some()
    }

    /// Whether something of it needs a token.
    #[must_use]
    pub fn names_token(&self) -> bool {
        let auth = self.auth.as_ref().map(Value::to_string);
        let all = self.headers.iter().chain(&self.query).chain(&auth);
        all.into_iter().any(|text| text.contains("{token}"))
    }
}
