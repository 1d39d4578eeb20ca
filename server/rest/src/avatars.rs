//! Avatars for users without an uploaded one: sixteen small pictures.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::answer;

const AVATARS: u32 = 16;

/// Path of the avatar for an e-mail, always the same one.
pub(crate) fn default_for(email: &str) -> String {
    let digest = Sha256::digest(email.to_lowercase().as_bytes());
    format!("/avatars/{}.svg", u32::from(digest[0]) % AVATARS)
}

/// Whether [`default_for`] may have given out the path.
pub(crate) fn is_default(path: &str) -> bool {
    path.strip_prefix("/avatars/").is_some_and(|file| number_of(file).is_some())
}

fn number_of(file: &str) -> Option<u32> {
    let stem = file.strip_suffix(".svg")?;
    stem.parse().ok().filter(|n: &u32| *n < AVATARS && n.to_string() == stem)
}

pub(crate) async fn serve(Path(file): Path<String>) -> Response {
    let Some(number) = number_of(&file) else {
        return answer::message(StatusCode::NOT_FOUND, "Not Found");
    };
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "public, max-age=604800"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ];
    (headers, draw(number)).into_response()
}

/// A face of one of four shapes on one of sixteen colours.
fn draw(number: u32) -> String {
    let hue = number * 360 / AVATARS;
    let second_hue = (hue + 40) % 360;
    let eyes = match number % 4 {
        0 => r#"<circle cx="23" cy="28" r="4"/><circle cx="41" cy="28" r="4"/>"#,
        1 => {
            r#"<rect x="19" y="24" width="8" height="8" rx="2"/><rect x="37" y="24" width="8" height="8" rx="2"/>"#
        }
        2 => r#"<ellipse cx="23" cy="28" rx="3" ry="6"/><ellipse cx="41" cy="28" rx="3" ry="6"/>"#,
        _ => {
            r##"<path d="M18 30q5-8 10 0M36 30q5-8 10 0" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"/>"##
        }
    };
    let mouth = match number / 4 {
        0 => "M22 42q10 8 20 0",
        1 => "M24 43h16",
        2 => "M22 41q10 12 20 0z",
        _ => "M26 44q6-5 12 0",
    };
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64"><defs><linearGradient id="g" x2="1" y2="1"><stop stop-color="hsl({hue},62%,52%)"/><stop offset="1" stop-color="hsl({second_hue},62%,40%)"/></linearGradient></defs><rect width="64" height="64" fill="url(#g)"/><g fill="#fff">{eyes}<path d="{mouth}" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round"/></g></svg>"##
    )
}
