//! The user of a request, by its token.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use serde_json::Value;
use throng_store::{UserRow, hash_token};
use throng_wire::http::ClientKey;

use crate::answer::Refusal;
use crate::completion::to_its_end;
use crate::input::{Body, client, is_origin_allowed, query_value};
use crate::session_cookie;
use crate::{ApiState, Deps, OverLimit};

/// An authenticated user, and by what.
#[derive(Debug)]
pub(crate) struct Identity {
    pub user: UserRow,
    pub presented: Presented,
    /// The API token as it was sent; `None` for a cookie.
    pub token: Option<String>,
}

impl Identity {
    /// The `userid` of a user in the original's format: the own e-mail, or an opaque id of others.
    pub fn userid(&self, user: u32, email: &str) -> String {
        if user == self.user.id { email.to_owned() } else { format!("u{user}") }
    }
}

/// What is known of a token that was looked up for this request already, as an extension of the request.
#[derive(Clone)]
pub(crate) struct LookedUp {
    pub presented: Presented,
    /// `None`: it is not valid.
    pub user: Option<UserRow>,
}

/// Authenticates by the first token of the query, the body and `Authorization: Bearer`. GET and HEAD
/// accept the session cookie too, but not with an `api_token` parameter, even an empty one: that is
/// what a page sends after its user logged out, and not from a page of another site.
///
/// Spec: REST-3, REST-4, REST-5, REST-11, REST-13.
pub(crate) async fn identify(
    api: &ApiState,
    parts: &Parts,
    body: Option<&Body>,
) -> Result<Identity, Refusal> {
    let found = find(&parts.method, &parts.uri, &parts.headers, body)?;
    let (presented, token) = found.ok_or(Refusal::Unauthenticated)?;
    if matches!(presented, Presented::Cookie(_)) && !is_origin_allowed(parts) {
        return Err(Refusal::Unauthenticated);
    }
    let looked_up = parts.extensions.get::<LookedUp>().filter(|it| it.presented == presented);
    let user = match looked_up {
        Some(looked_up) => looked_up.user.clone(),
        None => presented.user(api, client(parts)).await?,
    };
    let user = user.ok_or(Refusal::Unauthenticated)?;
    Ok(Identity { user, presented, token })
}

/// Whether the query names a token, so that nothing in the body can change whose the request is.
pub(crate) fn is_in_query(uri: &Uri) -> bool {
    query_value(uri.query().unwrap_or(""), "api_token").is_some_and(|token| is_present(&token))
}

/// A token in the head of a request, by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Presented {
    Api([u8; 32]),
    Cookie([u8; 32]),
}

impl Presented {
    /// Its user, if it is valid. Those that are not are counted for the client, which cannot avoid that by going
    /// away: the store is asked all the same.
    ///
    /// Spec: LIM-91.
    pub async fn user(self, api: &ApiState, client: ClientKey) -> Result<Option<UserRow>, Refusal> {
        let lookup = Lookup::take(&api.deps, client)?;
        let store = api.deps.store.clone();
        let user = to_its_end(async move {
            let user = match self {
                Self::Api(hash) => store.authenticate(hash).await,
                Self::Cookie(hash) => store.authenticate_cookie(hash).await,
            };
            if matches!(user, Ok(None)) {
                lookup.use_up();
            }
            user
        });
        Ok(user.await?)
    }
}

/// A look-up that is booked for a client, and given back when dropped.
struct Lookup {
    give_back: Arc<dyn Fn(ClientKey) + Send + Sync>,
    client: ClientKey,
    is_used_up: bool,
}

impl Lookup {
    fn take(deps: &Deps, client: ClientKey) -> Result<Lookup, Refusal> {
        (deps.take_lookup)(client).map_err(|wait| {
            deps.counters.token_lookups_refused.fetch_add(1, Relaxed);
            Refusal::TooMany(OverLimit { setting: "limits.invalid_tokens_per_s", wait })
        })?;
        let give_back = Arc::clone(&deps.give_back_lookup);
        Ok(Lookup { give_back, client, is_used_up: false })
    }

    /// The token was not valid: nothing is given back.
    fn use_up(mut self) {
        self.is_used_up = true;
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if !self.is_used_up {
            (self.give_back)(self.client);
        }
    }
}

/// The token that [`identify`] finds in a request without a body, valid or not.
pub(crate) fn presented(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Presented> {
    let found = find(method, uri, headers, None).ok()?;
    found.map(|(presented, _)| presented)
}

/// The token of a request, and its text if it is no cookie; `None` without one that could be valid.
fn find(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Option<&Body>,
) -> Result<Option<(Presented, Option<String>)>, Refusal> {
    let in_query = query_value(uri.query().unwrap_or(""), "api_token");
    let is_safe = method == Method::GET || method == Method::HEAD;
    let may_use_cookie = is_safe && in_query.is_none();
    let token = match in_query.filter(|token| is_present(token)) {
        Some(token) => Some(token),
        None => match body.and_then(|body| body.field("api_token")) {
            Some(Value::String(token)) if is_present(token) => Some(token.clone()),
            None | Some(Value::Null | Value::Bool(false) | Value::String(_)) => bearer(headers),
            // A database that compares loosely accepts a number for some tokens; we accept none.
            Some(Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(Refusal::Unauthenticated);
            }
        },
    };
    Ok(match token {
        Some(token) => hash_token(&token).map(|hash| (Presented::Api(hash), Some(token))),
        None if may_use_cookie => session_cookie::read(headers)
            .and_then(|token| hash_token(&token))
            .map(|hash| (Presented::Cookie(hash), None)),
        None => None,
    })
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
