//! Registration, login, logout, and the user's own data.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Value, json};
use throng_store::{
    NewUser, RegisterError, Registered, StoreError, TokenScope, UserRow, hash_token,
};
use throng_wire::http::Caller;

use crate::account_failure::{FAILURES_MAX, Failure, TokenRequest};
use crate::answer::{Refusal, errno, ok};
use crate::completion::to_its_end;
use crate::identity::{Identity, identify};
use crate::input::{Body, OwnJson};
use crate::{Api, ApiState, OverLimit, Revoked, avatars, session_cookie, validate};

const NAME_TAKEN: &str = "The name has already been taken.";
const WRONG_LOGIN: &str = "The e-mail or password is wrong.";

pub(crate) async fn register(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Result<OwnJson, Refusal>,
) -> Result<Response, Refusal> {
    let answered = match body {
        Ok(OwnJson(body)) => registered(&api, &caller, &body).await,
        Err(refusal) => Err(refusal),
    };
    answered.inspect_err(|refusal| failed(TokenRequest::Registration, refusal, &api, &caller))
}

async fn registered(api: &ApiState, caller: &Caller, body: &Body) -> Result<Response, Refusal> {
    let failed = |why: Failure, text: &'static str| {
        failed(TokenRequest::Registration, why, api, caller);
        errno(1, text)
    };
    let new = match new_user(api, body).await? {
        Ok(new) => new,
        Err((why, text)) => return Ok(failed(why, text)),
    };
    let Registered { user, api_token, cookie } =
        match api.deps.store.register(new, caller.client.ip.into()).await {
            Ok(registered) => registered,
            Err(RegisterError::EmailTaken) => return Ok(failed(Failure::NameTaken, NAME_TAKEN)),
            Err(RegisterError::Store(error)) => return Err(error.into()),
        };
    api.attempts.know(&user.email, caller.client.ip.into());
    let body = json!({
        "errno": 0,
        "user": {
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "avatar": user.avatar,
            "api_token": api_token,
            "created_at": user.created_at,
            "updated_at": user.updated_at,
        },
        "message": "Registered",
    });
    Ok(with_session_cookie(api, caller, &cookie, ok(body)))
}

pub(crate) async fn login(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Result<OwnJson, Refusal>,
) -> Result<Response, Refusal> {
    let answered = match body {
        Ok(OwnJson(body)) => logged_in(&api, &caller, &body).await,
        Err(refusal) => Err(refusal),
    };
    answered.inspect_err(|refusal| failed(TokenRequest::Login, refusal, &api, &caller))
}

async fn logged_in(api: &Api, caller: &Caller, body: &Body) -> Result<Response, Refusal> {
    let failed = |why: Failure, text: &'static str| {
        failed(TokenRequest::Login, why, api, caller);
        errno(1, text)
    };
    let fields = validate::login_name(body)
        .and_then(|name| validate::login_password(body).map(|password| (name, password)));
    let (name, password) = match fields {
        Ok(fields) => fields,
        Err(text) => return Ok(failed(Failure::BadRequest, text)),
    };
    let client = caller.client.ip.into();
    let attempt = api.attempts.begin(&name, client);
    let put_off = |wait| Refusal::TooMany(OverLimit { setting: FAILURES_MAX, wait });
    let attempt = attempt.map_err(put_off)?;
    let verified = api.deps.store.verify_login(&name, password, attempt.urgency(), client);
    let Some(user) = verified.await? else {
        attempt.wrong();
        return Ok(failed(Failure::WrongPassword, WRONG_LOGIN));
    };
    attempt.right();
    let token = api.deps.store.issue_token(user.id, TokenScope::Api).await?;
    let body = json!({
        "errno": 0,
        "user": user_value(&user, Some(&token)),
        "message": "Logged in",
    });
    let cookie = api.deps.store.issue_token(user.id, TokenScope::Cookie).await?;
    Ok(with_session_cookie(api, caller, &cookie, ok(body)))
}

pub(crate) async fn logout(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parts: Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let Identity { user, token, .. } = identify(&api, &parts, Some(&body)).await?;
    let hash = token.as_deref().and_then(hash_token).ok_or(Refusal::Unauthenticated)?;
    let revoked = Revoked { token_hash: hash, user: user.id };
    let cookie = session_cookie::read(&parts.headers).and_then(|token| hash_token(&token));
    to_its_end(revoke(Arc::clone(&api), revoked, cookie)).await?;
    let mut response = ok(json!({ "errno": 0, "message": "Logged out" }));
    let clear = session_cookie::clear(is_secure(&api, &caller));
    response.headers_mut().insert(header::SET_COOKIE, clear);
    Ok(response)
}

pub(crate) async fn user(State(api): State<Api>, parts: Parts) -> Result<Response, Refusal> {
    let identity = identify(&api, &parts, None).await?;
    Ok(ok(user_value(&identity.user, identity.token.as_deref())))
}

/// Checks the fields in the order of the original's validator; answers the first fault.
async fn new_user(
    api: &ApiState,
    body: &Body,
) -> Result<Result<NewUser, (Failure, &'static str)>, Refusal> {
    let malformed = |text| (Failure::BadRequest, text);
    let email = match validate::registered_name(body) {
        Ok(email) => email,
        Err(text) => return Ok(Err(malformed(text))),
    };
    if api.deps.store.is_email_taken(&email).await? {
        return Ok(Err((Failure::NameTaken, NAME_TAKEN)));
    }
    let rest = validate::registered_password(body)
        .and_then(|password| validate::registered_src(body).map(|src| (password, src)));
    let new = rest.map(|(password, src)| {
        let avatar = src.unwrap_or_else(|| avatars::default_for(&email));
        NewUser { email, password, avatar }
    });
    Ok(new.map_err(malformed))
}

/// Notes why a client gets no token.
fn failed(asked: TokenRequest, why: impl Into<Failure>, api: &ApiState, caller: &Caller) {
    asked.failed(why.into(), &api.deps.counters, caller.client.ip);
}

/// A cookie of HTTPS is never sent in the clear.
fn is_secure(api: &ApiState, caller: &Caller) -> bool {
    api.deps.settings.cookie_secure || caller.client.is_https
}

fn with_session_cookie(
    api: &ApiState,
    caller: &Caller,
    token: &str,
    mut response: Response,
) -> Response {
    let lifetime = api.deps.store.options().token_lifetime;
    let set = session_cookie::set(token, lifetime, is_secure(api, caller));
    response.headers_mut().insert(header::SET_COOKIE, set);
    response
}

/// Ends the token of a logout, and then that of its cookie. Once the first has ended the shards are notified,
/// whatever comes next: the client cannot repeat its request.
async fn revoke(api: Api, revoked: Revoked, cookie: Option<[u8; 32]>) -> Result<(), StoreError> {
    let store = &api.deps.store;
    store.revoke(revoked.token_hash).await?;
    (api.deps.on_revoked)(revoked);
    // No session acts for the token of a cookie, so that no shard is notified of its end. Sessions may act for
    // an API token, which is not the cookie's, whichever client puts it there.
    if let Some(hash) = cookie
        && store.authenticate_cookie(hash).await?.is_some()
    {
        store.revoke(hash).await?;
    }
    Ok(())
}

fn user_value(user: &UserRow, token: Option<&str>) -> Value {
    let mut value = json!({
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "email_verified_at": user.email_verified_at,
        "avatar": user.avatar,
    });
    if let Some(token) = token {
        value["api_token"] = token.into();
    }
    value["created_at"] = user.created_at.as_str().into();
    value["updated_at"] = user.updated_at.as_str().into();
    value
}
