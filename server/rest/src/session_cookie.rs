//! The cookie with which our own pages read without a token, as the original page does after a
//! reconnect.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use cookie::{Cookie, SameSite};

const NAME: &str = "throng_session";

/// The cookie's token.
pub(crate) fn read(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == NAME)
        .map(|cookie| cookie.value().to_owned())
}

/// `Set-Cookie` with a new token.
pub(crate) fn set(token: &str, lifetime: Duration, is_secure: bool) -> HeaderValue {
    value(token, lifetime, is_secure)
}

/// `Set-Cookie` that removes the cookie.
pub(crate) fn clear(is_secure: bool) -> HeaderValue {
    value("", Duration::ZERO, is_secure)
}

fn value(token: &str, lifetime: Duration, is_secure: bool) -> HeaderValue {
    let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let mut cookie = Cookie::build((NAME, token))
        .path("/api")
        .http_only(true)
        .same_site(SameSite::Strict)
        .max_age(cookie::time::Duration::seconds(seconds));
    if is_secure {
        cookie = cookie.secure(true);
    }
    HeaderValue::from_str(&cookie.build().to_string())
        .expect("the name and tokens are visible ASCII")
}
