//! What the query and the headers of an Engine.IO request say.

use serde_json::json;
use throng_codec::engine::Protocol;

use crate::defect::Defect;
use crate::http::{Request, Response};
use crate::shared::{Shared, lock};

pub fn engine_error(code: u8) -> Response {
    let (status, message) = match code {
        0 => (400, "Transport unknown"),
        1 => (400, "Session ID unknown"),
        2 => (400, "Bad handshake method"),
        3 => (400, "Bad request"),
        4 => (403, "Forbidden"),
        _ => (400, "Unsupported protocol version"),
    };
    Response::json(status, &json!({ "code": code, "message": message }))
        .with("Cache-Control", "no-store")
}

pub fn protocol_of(request: &Request) -> Protocol {
    if request.param("EIO") == Some("3") { Protocol::Eio3 } else { Protocol::Eio4 }
}

pub fn cookie(request: &Request, name: &str) -> Option<String> {
    let cookies = request.header("cookie")?;
    cookies
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix(&format!("{name}=")).map(str::to_owned))
}

/// Binds the identity of a handshake: token of the query first, then the bearer token.
pub fn handshake_identity(world: &Shared, request: &Request, sid: &str) {
    let mut world = lock(world);
    let bearer = request.header("authorization").and_then(|v| v.strip_prefix("Bearer "));
    let query = request.param("api_token").filter(|t| !matches!(*t, "" | "false" | "null"));
    let from_cookie = cookie(request, "throng_session");
    let cookie = from_cookie.as_deref().filter(|_| world.has(Defect::CookieGivesIdentity));
    let shown = match world.has(Defect::BearerFirst) {
        true => bearer.or(query),
        false => query.or(bearer),
    };
    if let Some(token) = shown.or(cookie) {
        world.take_token(sid, token);
    }
}
