//! The user of a request, by its token.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use serde_json::Value;
use throng_store::{StoreError, UserRow, hash_token};

use crate::ApiState;
use crate::answer::Refusal;
use crate::input::{Body, query_value};
use crate::session_cookie;

/// An authenticated user, and by what.
#[derive(Debug)]
pub(crate) struct Identity {
    pub user: UserRow,
    /// The API token as it was sent; `None` for a cookie.
    pub token: Option<String>,
}

impl Identity {
    /// The `userid` of a user in the original's format: the own e-mail, or an opaque id of others.
    pub fn userid(&self, user: u32, email: &str) -> String {
        if user == self.user.id { email.to_owned() } else { format!("u{user}") }
    }
}

/// Authenticates by the first token of the query, the body and `Authorization: Bearer`. GET and HEAD
/// accept the session cookie too, but not with an `api_token` parameter, even an empty one: that is
/// what a page sends after its user logged out.
///
/// Spec: REST-3, REST-4, REST-5, REST-11.
pub(crate) async fn identify(
    api: &ApiState,
    parts: &Parts,
    body: Option<&Body>,
) -> Result<Identity, Refusal> {
    let store = &api.deps.store;
    let in_query = query_value(parts.uri.query().unwrap_or(""), "api_token");
    let may_use_cookie = is_reading(&parts.method) && in_query.is_none();
    let presented = match in_query.filter(|token| is_present(token)) {
        Some(token) => Some(token),
        None => match body.and_then(|body| body.field("api_token")) {
            Some(Value::String(token)) if is_present(token) => Some(token.clone()),
            None | Some(Value::Null | Value::Bool(false) | Value::String(_)) => {
                bearer(&parts.headers)
            }
            // A database that compares loosely accepts a number for some tokens; we accept none.
            Some(Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(Refusal::Unauthenticated);
            }
        },
    };
    if let Some(token) = presented {
        let hash = hash_token(&token).ok_or(Refusal::Unauthenticated)?;
        let user = store.authenticate(hash).await?.ok_or(Refusal::Unauthenticated)?;
        return Ok(Identity { user, token: Some(token) });
    }
    let from_cookie = may_use_cookie.then(|| session_cookie::read(&parts.headers)).flatten();
    let hash = from_cookie.and_then(|token| hash_token(&token)).ok_or(Refusal::Unauthenticated)?;
    let user = store.authenticate_cookie(hash).await?.ok_or(Refusal::Unauthenticated)?;
    Ok(Identity { user, token: None })
}

/// A token in the head of a request, by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Presented {
    Api([u8; 32]),
    Cookie([u8; 32]),
}

impl Presented {
    /// Its user, if it is valid.
    pub async fn user(self, api: &ApiState) -> Result<Option<UserRow>, StoreError> {
        match self {
            Self::Api(hash) => api.deps.store.authenticate(hash).await,
            Self::Cookie(hash) => api.deps.store.authenticate_cookie(hash).await,
        }
    }
}

/// The token that [`identify`] would find without the body, valid or not.
pub(crate) fn presented(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Presented> {
    let in_query = query_value(uri.query().unwrap_or(""), "api_token");
    let may_use_cookie = is_reading(method) && in_query.is_none();
    match in_query.filter(|token| is_present(token)).or_else(|| bearer(headers)) {
        Some(token) => hash_token(&token).map(Presented::Api),
        None if may_use_cookie => session_cookie::read(headers)
            .and_then(|token| hash_token(&token))
            .map(Presented::Cookie),
        None => None,
    }
}

fn is_reading(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The original client sends JSON's `false` or `null` where it has no token.
fn is_present(token: &str) -> bool {
    !matches!(token, "" | "false" | "null")
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}
