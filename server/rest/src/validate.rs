//! Fields of registration and login, with the messages of the original's validator, in its order.
//!
//! Spec: REST-16, REST-25.

use email_address::{EmailAddress, Error, Options};
use serde_json::Value;
use throng_wire::image_path::{ImageKind, ImagePath};
use url::Url;

use crate::avatars;
use crate::input::Body;

const NAME_CHARS_MAX: usize = 100;
const SRC_CHARS_MAX: usize = 255;
const PASSWORD_CHARS_MIN: usize = 6;
const NOT_AN_EMAIL: &str = "The name must be a valid email address.";

/// The e-mail, which the original calls `name`.
pub(crate) fn registered_name(body: &Body) -> Result<String, &'static str> {
    let too_long = |name: &str| name.chars().count() > NAME_CHARS_MAX;
    const TOO_LONG: &str = "The name may not be greater than 100 characters.";
    match login_name(body) {
        Ok(name) if too_long(&name) => Err(TOO_LONG),
        // The original limits the length of the whole address, not of its parts.
        Err(NOT_AN_EMAIL) => match body.trimmed("name") {
            Some(Value::String(name)) if too_long(&name) && has_long_part(&name) => Err(TOO_LONG),
            _ => Err(NOT_AN_EMAIL),
        },
        outcome => outcome,
    }
}

pub(crate) fn login_name(body: &Body) -> Result<String, &'static str> {
    match body.trimmed("name") {
        None => Err("The name field is required."),
        Some(Value::Array(items)) if items.is_empty() => Err("The name field is required."),
        Some(Value::String(name)) if is_email(&name) => Ok(name),
        Some(_) => Err(NOT_AN_EMAIL),
    }
}

/// The password, untrimmed.
pub(crate) fn login_password(body: &Body) -> Result<String, &'static str> {
    match body.field("password") {
        None => Err("The password field is required."),
        Some(Value::Array(items)) if items.is_empty() => Err("The password field is required."),
        // The original's `required` rejects blanks, though it does not trim them.
        Some(Value::String(text)) if text.trim().is_empty() => {
            Err("The password field is required.")
        }
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err("The password must be a string."),
    }
}

pub(crate) fn registered_password(body: &Body) -> Result<String, &'static str> {
    let password = login_password(body)?;
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err("The password must be at least 6 characters.");
    }
    Ok(password)
}

/// The avatar: an `http(s)` URL, or a path of this server. Whether it exists is not checked.
pub(crate) fn registered_src(body: &Body) -> Result<Option<String>, &'static str> {
    let src = match body.trimmed("src") {
        None => return Ok(None),
        Some(Value::String(src)) if is_avatar_url(&src) => src,
        Some(_) => return Err("The src is not a valid URL."),
    };
    if src.chars().count() > SRC_CHARS_MAX {
        return Err("The src may not be greater than 255 characters.");
    }
    Ok(Some(src))
}

fn parse_email(text: &str) -> Result<EmailAddress, Error> {
    let options = Options::default().without_display_text().without_domain_literal();
    EmailAddress::parse_with_options(text, options)
}

fn is_email(text: &str) -> bool {
    parse_email(text).is_ok()
}

fn has_long_part(text: &str) -> bool {
    let is_too_long = |error: Error| {
        matches!(error, Error::LocalPartTooLong | Error::DomainTooLong | Error::SubDomainTooLong)
    };
    parse_email(text).is_err_and(is_too_long)
}

fn is_avatar_url(src: &str) -> bool {
    let is_uploaded = || ImagePath::parse(src).is_some_and(|path| path.kind == ImageKind::Avatars);
    let is_plain =
        !src.chars().any(|c| c.is_control() || c.is_whitespace() || "\"'<>`\\".contains(c));
    let is_web = || {
        // The original page sends URLs without a scheme.
        let whole = if src.starts_with("//") { format!("https:{src}") } else { src.to_owned() };
        Url::parse(&whole)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    };
    avatars::is_default(src) || is_uploaded() || (is_plain && is_web())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(value: Value) -> Body {
        let Value::Object(fields) = value else { panic!("{value}") };
        Body::new(fields)
    }

    #[track_caller]
    fn check_name(name: Value, want: Result<&str, &'static str>) {
        let got = registered_name(&body(json!({ "name": name })));
        assert_eq!(got.as_deref().map_err(|text| *text), want);
    }

    #[test]
    fn a_name_is_an_email_of_at_most_100_characters() {
        let required = Err("The name field is required.");
        let invalid = Err("The name must be a valid email address.");
        check_name(json!("a@b.c"), Ok("a@b.c"));
        check_name(json!("  a@b.c\t"), Ok("a@b.c"));
        check_name(json!("Jörg@exämple.org"), Ok("Jörg@exämple.org"));
        for missing in [json!(null), json!(""), json!("   "), json!([])] {
            check_name(missing, required);
        }
        for wrong in [
            json!("abc"),
            json!("a@"),
            json!("@b.c"),
            json!("a b@c.d"),
            json!("Ann <a@b.c>"),
            json!("a@b.c\u{0}"),
            json!(7),
            json!(true),
            json!(false),
            json!(["a@b.c"]),
            json!({ "x": 1 }),
        ] {
            check_name(wrong, invalid);
        }
        let domain = ["b".repeat(45), "c".repeat(46)].join(".");
        let at_bound = format!("{}@{domain}", "a".repeat(7));
        assert_eq!(at_bound.chars().count(), 100);
        check_name(json!(at_bound), Ok(&at_bound));
        check_name(
            json!(format!("a{at_bound}")),
            Err("The name may not be greater than 100 characters."),
        );
        check_name(
            json!(format!("{}@b.c", "a".repeat(97))),
            Err("The name may not be greater than 100 characters."),
        );
        check_name(json!("a".repeat(101)), invalid);
        check_name(json!(format!("{}@b.c", "a".repeat(96))), invalid);
    }

    #[track_caller]
    fn check_password(password: Value, want: Result<&str, &'static str>) {
        let got = registered_password(&body(json!({ "password": password })));
        assert_eq!(got.as_deref().map_err(|text| *text), want);
    }

    #[test]
    fn a_password_is_an_untrimmed_string_of_six_characters() {
        check_password(json!(" 1234 "), Ok(" 1234 "));
        check_password(json!("ééé"), Err("The password must be at least 6 characters."));
        check_password(json!("éééééé"), Ok("éééééé"));
        check_password(json!("12345"), Err("The password must be at least 6 characters."));
        for missing in [json!(null), json!(""), json!("       "), json!([])] {
            check_password(missing, Err("The password field is required."));
        }
        for wrong in [json!(123_456), json!(true), json!(["123456"]), json!({ "a": 1 })] {
            check_password(wrong, Err("The password must be a string."));
        }
    }

    #[track_caller]
    fn check_src(src: Value, want: Result<Option<&str>, &'static str>) {
        let got = registered_src(&body(json!({ "src": src })));
        assert_eq!(got.as_ref().map(Option::as_deref).map_err(|text| *text), want);
    }

    #[test]
    fn an_avatar_is_a_web_url_or_a_path_of_ours() {
        let hash = "ab".repeat(32);
        for own in [
            "/avatars/3.svg",
            &format!("/storage/images/avatars/ab/{hash}.png"),
            "https://no.such.host/a",
            "//s3.example/a.png",
        ] {
            check_src(json!(own), Ok(Some(own)));
        }
        for missing in [json!(null), json!(""), json!("  ")] {
            check_src(missing, Ok(None));
        }
        for wrong in [
            json!("javascript:alert(1)"),
            json!("data:image/png;base64,AA=="),
            json!("ftp://host/a"),
            json!("/etc/passwd"),
            json!("/avatars/16.svg"),
            json!("/avatars/../x.svg"),
            json!("/avatars/%2e%2e/x.svg"),
            json!("/storage/images/avatars/ab/x.png"),
            json!("/storage/images/avatars/%2e%2e/x.png"),
            json!(format!("/storage/images/messages/ab/{hash}.png")),
            json!(format!("/storage/images/avatars/ab/{hash}.png%00")),
            json!("//"),
            json!("a.png"),
            json!("https://"),
            json!("https://host/\"onerror=alert(1)"),
            json!(1),
            json!(["https://host/a"]),
        ] {
            check_src(wrong, Err("The src is not a valid URL."));
        }
        let at_bound = format!("https://host/{}", "a".repeat(242));
        check_src(json!(at_bound), Ok(Some(&at_bound)));
        check_src(
            json!(format!("{at_bound}a")),
            Err("The src may not be greater than 255 characters."),
        );
    }
}
