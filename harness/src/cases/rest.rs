//! Chapter 9: the HTTP API.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::messages::{GIF, JPEG, PNG, WEBP};
use super::support::*;
use crate::capabilities::Need;
use crate::case::{Case, case};
use crate::client::http::{Request, Response};
use crate::client::rest::{PASSWORD, User};
use crate::combo::NONE;
use crate::context::Context;
use crate::outcome::{Outcome, Stop, equal, fail, require};

const CHAT: &[Need] = &[Need::Chat];

pub const CASES: &[Case] = &[
    case(
        "rest.json",
        &["REST-1", "REST-2"],
        NONE,
        CHAT,
        (
            "calls routes, well and badly",
            "JSON objects with application/json; application errors with 200",
        ),
        json_everywhere,
    ),
    case(
        "rest.token-order",
        &["REST-3", "REST-11"],
        NONE,
        CHAT,
        (
            "shows tokens in query, body, Authorization and cookie together",
            "the first present decides, even if it is not valid; empty, false and null are not present",
        ),
        token_order,
    ),
    case(
        "rest.cookie",
        &["REST-4", "CHAT-14"],
        NONE,
        CHAT,
        (
            "logs in and uses the cookie for GET, for POST, beside an empty api_token",
            "HttpOnly, SameSite=Strict, Path=/api; it serves GET without api_token and nothing else",
        ),
        cookie,
    ),
    case(
        "rest.unauthenticated",
        &["REST-5", "REST-11"],
        NONE,
        CHAT,
        ("calls every private route without and with bad tokens", "401 and Unauthenticated."),
        unauthenticated,
    ),
    case(
        "rest.unknown-route",
        &["REST-6", "REST-7"],
        NONE,
        CHAT,
        ("calls unknown paths and wrong methods", "404 and Not Found, 405"),
        unknown_route,
    ),
    case(
        "rest.throttle",
        &["REST-8", "REST-9", "LIM-24"],
        NONE,
        CHAT,
        (
            "looks for the throttle's headers and follows them",
            "429 beyond the limit, with Retry-After",
        ),
        throttle,
    ),
    case(
        "rest.bad-body",
        &["REST-10"],
        NONE,
        CHAT,
        ("posts bodies that are no JSON object", "400, or an answer as to an empty object"),
        bad_body,
    ),
    case(
        "rest.register",
        &["REST-15", "REST-18", "REST-24", "REST-12", "CHAT-8"],
        NONE,
        CHAT,
        (
            "registers a user",
            "errno 0 with exactly the members of a user, and a token of 60 characters",
        ),
        register,
    ),
    case(
        "rest.register-faults",
        &["REST-16", "REST-2"],
        NONE,
        CHAT,
        ("registers with one fault each", "errno 1 and the text of the fault"),
        register_faults,
    ),
    case(
        "rest.register-taken",
        &["REST-17", "REST-23"],
        NONE,
        CHAT,
        (
            "registers an e-mail twice, in other letter case, and eight times at once",
            "exactly one succeeds, the others learn that the name is taken",
        ),
        register_taken,
    ),
    case(
        "rest.register-src",
        &["REST-25", "REST-16"],
        NONE,
        CHAT,
        (
            "registers with a src of several kinds",
            "URLs and own avatars are accepted, others refused",
        ),
        register_src,
    ),
    case(
        "rest.login",
        &["REST-19", "REST-21", "REST-24"],
        NONE,
        CHAT,
        (
            "logs in twice, in other letter case, with wrong and missing values",
            "a new token each time, earlier ones stay valid; one text for wrong e-mail and password",
        ),
        login,
    ),
    case(
        "rest.logout",
        &["REST-20"],
        NONE,
        CHAT,
        ("logs out", "the token is invalid at once, the cookie is cleared"),
        logout,
    ),
    case(
        "rest.user",
        &["REST-22", "REST-23", "REST-24"],
        NONE,
        CHAT,
        (
            "asks for the own user by token and by cookie",
            "the bare object, api_token only by token",
        ),
        user,
    ),
    case(
        "rest.rooms",
        &["REST-30"],
        NONE,
        CHAT,
        ("asks for the rooms", "each with exactly id, name, online, seq, unread"),
        rooms,
    ),
    case(
        "rest.history-shape",
        &["REST-40", "REST-46", "REST-43"],
        NONE,
        CHAT,
        ("asks for a page of history", "errno 0, rows of exactly nine members, total, current"),
        history_shape,
    ),
    case(
        "rest.history-faults",
        &["REST-41", "REST-45"],
        NONE,
        CHAT,
        ("asks with bad roomid and current, and beyond the end", "errno 1, or an empty page"),
        history_faults,
    ),
    case(
        "rest.history-pages",
        &["REST-42", "REST-43", "REST-44", "REST-45", "LIM-25"],
        NONE,
        CHAT,
        (
            "pages through 45 messages while more are sent",
            "newest page first, each page ascending, 20 per page, every message once",
        ),
        history_pages,
    ),
    case(
        "rest.upload-image",
        &["REST-50", "REST-53", "REST-54", "REST-55", "REST-56"],
        NONE,
        CHAT,
        (
            "uploads images of four types under wrong names and types, twice",
            "Saved, a URL with the extension of the bytes, served with safe headers, the same bytes once",
        ),
        upload_image,
    ),
    case(
        "rest.upload-faults",
        &["REST-52", "REST-53"],
        NONE,
        CHAT,
        (
            "uploads nothing, an empty file, HTML and SVG under image names, to unknown rooms",
            "errno 500 and the text",
        ),
        upload_faults,
    ),
    case(
        "rest.upload-too-large",
        &["REST-52", "LIM-10"],
        NONE,
        CHAT,
        ("uploads more than 3 MiB", "errno 500, or status 413"),
        upload_too_large,
    ),
    case(
        "rest.avatar",
        &["REST-51", "REST-58"],
        NONE,
        CHAT,
        ("uploads an avatar", "Saved, a URL that serves it, and the user has it"),
        avatar,
    ),
    case(
        "rest.storage-paths",
        &["REST-57", "REST-73"],
        NONE,
        CHAT,
        ("asks for paths below /storage/ and with ..", "404, never a file from elsewhere"),
        storage_paths,
    ),
    case(
        "rest.robot",
        &["REST-60", "REST-61"],
        NONE,
        CHAT,
        ("asks the robot", "data with JSON text of code and text"),
        robot,
    ),
    case(
        "rest.operation",
        &["REST-70", "REST-71", "REST-72", "REST-74"],
        NONE,
        CHAT,
        (
            "asks for /health, /ready, /metrics and /",
            "the answers that operators and browsers need",
        ),
        operation,
    ),
    case(
        "rest.no-static-below-api",
        &["REST-73", "REST-6"],
        NONE,
        CHAT,
        ("asks for files below /api and the engine paths", "no HTML page"),
        no_static,
    ),
];

fn private_routes() -> [(&'static str, &'static str); 7] {
    [
        ("GET", "/api/user"),
        ("GET", "/api/rooms"),
        ("GET", "/api/history/message?roomid=1&current=1&total=0"),
        ("GET", "/api/robot?info=hi&id=1"),
        ("POST", "/api/logout"),
        ("POST", "/api/file/uploadimg"),
        ("POST", "/api/file/avatar"),
    ]
}

fn is_json_object(response: &Response) -> Outcome {
    require(
        response.has_type("application/json") && response.json().is_object(),
        "a JSON object with application/json",
        || format!("{:?}: {}", response.header("content-type"), response.text()),
    )
}

fn json_everywhere(context: &Context) -> Outcome {
    let (rest, user) = (context.rest(), context.user()?);
    for path in ["/api/user", "/api/rooms", "/api/history/message?roomid=1&current=1&total=0"] {
        let response = rest.get_as(path, &user.token)?;
        status(&response, 200)?;
        is_json_object(&response)?;
    }
    for (path, body) in [
        ("/api/register", json!({})),
        ("/api/login", json!({ "name": user.email, "password": "wrong one" })),
    ] {
        let response = rest.post(path, &body)?;
        status(&response, 200)?;
        is_json_object(&response)?;
        equal("errno", &response.json()["errno"], &json!(1))?;
    }
    is_json_object(&rest.get("/api/user")?)?;
    is_json_object(&rest.get("/api/nothing")?)
}

fn who(response: &Response) -> Value {
    if response.status == 401 { json!(401) } else { response.json()["id"].clone() }
}

fn token_order(context: &Context) -> Outcome {
    let rest = context.rest();
    let (one, two, three) = (context.user()?, context.user()?, context.user()?);
    let bearer = |user: &User| format!("Bearer {}", user.token);
    let body = json!({ "name": three.email, "password": PASSWORD });
    let third = format!("throng_session={}", set_cookie(&rest.post("/api/login", &body)?)?.0);
    let by_cookie = |_: &User| third.clone();
    let ask = |path: &str, authorization: &str, cookie: &str| {
        let headers = &[("Authorization", authorization), ("Cookie", cookie)];
        rest.call(&Request { headers, ..Request::get(path) })
    };
    let path = format!("/api/user?api_token={}", one.token);
    equal("query first", &who(&ask(&path, &bearer(&two), &by_cookie(&three))?), &json!(one.id))?;
    let bad = "/api/user?api_token=nobody";
    equal(
        "an invalid query decides",
        &who(&ask(bad, &bearer(&two), &by_cookie(&three))?),
        &json!(401),
    )?;
    for absent in ["", "false", "null"] {
        let path = format!("/api/user?api_token={absent}");
        equal(
            "then the bearer",
            &who(&ask(&path, &bearer(&two), &by_cookie(&three))?),
            &json!(two.id),
        )?;
    }
    equal(
        "then the bearer",
        &who(&ask("/api/user", &bearer(&two), &by_cookie(&three))?),
        &json!(two.id),
    )?;
    let observed = ask("/api/user", "Bearer nobody", &by_cookie(&three))?;
    equal("an invalid bearer decides", &who(&observed), &json!(401))?;
    context.step("in the body of POST /api/logout");
    let headers_of = |authorization: &str| {
        vec![
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Authorization".to_owned(), authorization.to_owned()),
        ]
    };
    let headers = headers_of(&bearer(&two));
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    for bad in [json!("nobody"), json!(1), json!(true), json!([one.token])] {
        let body = json!({ "api_token": bad }).to_string();
        let request = Request {
            method: "POST",
            path: "/api/logout",
            headers: &headers,
            body: body.as_bytes(),
        };
        status(&rest.call(&request)?, 401)?;
    }
    let body = json!({ "api_token": one.token }).to_string();
    let request =
        Request { method: "POST", path: "/api/logout", headers: &headers, body: body.as_bytes() };
    status(&rest.call(&request)?, 200)?;
    equal("the body's token is logged out", &rest.get_as("/api/user", &one.token)?.status, &401)?;
    equal("the bearer's is not", &rest.get_as("/api/user", &two.token)?.status, &200)
}

/// Value and attributes of the session cookie.
pub fn set_cookie(response: &Response) -> Result<(String, String), Stop> {
    let cookies =
        response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    for (_, cookie) in cookies {
        if let Some(rest) = cookie.strip_prefix("throng_session=") {
            let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
            return Ok((value.to_owned(), attributes.to_ascii_lowercase()));
        }
    }
    fail("a cookie throng_session", format!("{:?}", response.headers))
}

fn cookie(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let body = json!({ "name": user.email, "password": PASSWORD });
    let (value, attributes) = set_cookie(&rest.post("/api/login", &body)?)?;
    for wanted in ["httponly", "samesite=strict", "path=/api"] {
        require(attributes.contains(wanted), &format!("the attribute {wanted}"), || {
            attributes.clone()
        })?;
    }
    let email = context.run.fresh_email();
    set_cookie(&rest.post("/api/register", &json!({ "name": email, "password": PASSWORD }))?)?;
    let cookie = format!("other=1; throng_session={value}; x=y");
    let headers = &[("Cookie", cookie.as_str())];
    let get = |path: &str| rest.call(&Request { headers, ..Request::get(path) });
    equal("GET with the cookie", &who(&get("/api/user")?), &json!(user.id))?;
    status(&get("/api/history/message?roomid=1&current=1&total=0")?, 200)?;
    for path in ["/api/user?api_token=", "/api/user?api_token=false"] {
        equal("GET with the cookie and an empty api_token", &get(path)?.status, &401)?;
    }
    let post = Request { method: "POST", path: "/api/logout", headers, body: b"" };
    equal("POST with the cookie", &rest.call(&post)?.status, &401)?;
    equal("the session goes on", &get("/api/user")?.status, &200)
}

fn unauthenticated(context: &Context) -> Outcome {
    let rest = context.rest();
    let unknown = "z".repeat(60);
    for (method, path) in private_routes() {
        for token in [None, Some("short"), Some(unknown.as_str())] {
            let mark = if path.contains('?') { '&' } else { '?' };
            let path = match token {
                Some(token) => format!("{path}{mark}api_token={token}"),
                None => path.to_owned(),
            };
            let headers = &[("Content-Type", "application/json")];
            let body: &[u8] = if method == "POST" { b"{}" } else { b"" };
            let response = rest.call(&Request { method, path: &path, headers, body })?;
            status(&response, 401)?;
            equal("the body", &response.json(), &json!({ "message": "Unauthenticated." }))?;
        }
    }
    Ok(())
}

fn unknown_route(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    for path in ["/api/nothing", "/api/user/1", "/api/history", "/api/file"] {
        let response = rest.get_as(path, &user.token)?;
        status(&response, 404)?;
        equal("the body", &response.json(), &json!({ "message": "Not Found" }))?;
    }
    status(&rest.get("/api/register")?, 405)?;
    status(&rest.get("/api/login")?, 405)?;
    status(&rest.post("/api/user", &json!({ "api_token": user.token }))?, 405)?;
    let request = Request { method: "DELETE", ..Request::get("/api/rooms") };
    status(&rest.call(&request)?, 405)
}

fn throttle(context: &Context) -> Outcome {
    let rest = context.rest();
    let first = rest.get("/api/user")?;
    let Some(limit) = first.header("x-ratelimit-limit").and_then(|v| v.parse::<u32>().ok()) else {
        return crate::outcome::skip(
            "the target's answers have no X-RateLimit-Limit: the throttle is off",
        );
    };
    require(first.header("x-ratelimit-remaining").is_some(), "X-RateLimit-Remaining", || {
        format!("{:?}", first.headers)
    })?;
    for _ in 0..limit + 5 {
        let response = rest.get("/api/user")?;
        if response.status == 429 {
            equal("the body", &response.json(), &json!({ "message": "Too Many Attempts." }))?;
            for name in ["X-RateLimit-Limit", "X-RateLimit-Remaining", "Retry-After"] {
                let value = response.header(name).unwrap_or("");
                require(value.parse::<u32>().is_ok(), &format!("{name} as a number"), || {
                    value.to_owned()
                })?;
            }
            return Ok(());
        }
    }
    fail(format!("429 beyond {limit} requests"), "all were served")
}

fn bad_body(context: &Context) -> Outcome {
    let rest = context.rest();
    for body in [b"{".as_slice(), b"[]", b"\"x\"", b"null", b"", b"\xff\xfe", b"name=x"] {
        let headers = &[("Content-Type", "application/json")];
        let request = Request { method: "POST", path: "/api/login", headers, body };
        let response = rest.call(&request)?;
        let answer = response.json();
        let as_empty = response.status == 200
            && answer["errno"] == json!(1)
            && answer["message"] == json!("The name field is required.");
        require(response.status == 400 || as_empty, "400, or the answer to {}", || {
            format!("{} {}", response.status, response.text())
        })?;
    }
    Ok(())
}

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or("");
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
    shape.starts_with("dddd-dd-dd dd:dd:dd") || shape.starts_with("dddd-dd-ddTdd:dd:dd")
}

fn register(context: &Context) -> Outcome {
    let rest = context.rest();
    let email = context.run.fresh_email();
    let body = json!({ "name": format!("  {email} "), "password": PASSWORD });
    let response = rest.post("/api/register", &body)?;
    status(&response, 200)?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["errno", "user", "message"])?;
    equal("errno", &answer["errno"], &json!(0))?;
    equal("message", &answer["message"], &json!("Registered"))?;
    let user = &answer["user"];
    let members = ["id", "name", "email", "avatar", "api_token", "created_at", "updated_at"];
    has_exactly("user", user, &members)?;
    equal("email", &user["email"], &json!(email))?;
    equal("name", &user["name"], &json!(email.split('@').next()))?;
    require(user["id"].is_u64(), "an integer id", || user.to_string())?;
    require(is_time(&user["created_at"]) && is_time(&user["updated_at"]), "times", || {
        user.to_string()
    })?;
    let token = user["api_token"].as_str().unwrap_or("");
    let plain = token.chars().all(|c| c.is_ascii_alphanumeric());
    require(token.len() == 60 && plain, "a token of 60 letters and digits", || token.to_owned())?;
    let avatar = user["avatar"].as_str().unwrap_or("");
    require(avatar.starts_with("/avatars/") && avatar.ends_with(".svg"), "/avatars/N.svg", || {
        avatar.to_owned()
    })?;
    let file = rest.get(avatar)?;
    status(&file, 200)?;
    require(file.has_type("image/svg+xml"), "an SVG", || {
        format!("{:?}", file.header("content-type"))
    })
}

fn register_faults(context: &Context) -> Outcome {
    let email = || context.run.fresh_email();
    let long = format!("{}@example.com", "x".repeat(100));
    let cases = [
        (json!({ "password": PASSWORD }), "The name field is required."),
        (json!({ "name": "", "password": PASSWORD }), "The name field is required."),
        (json!({ "name": "   ", "password": PASSWORD }), "The name field is required."),
        (json!({ "name": null, "password": "x" }), "The name field is required."),
        (
            json!({ "name": "nobody", "password": PASSWORD }),
            "The name must be a valid email address.",
        ),
        (
            json!({ "name": "a b@c.d", "password": PASSWORD }),
            "The name must be a valid email address.",
        ),
        (
            json!({ "name": "@example.com", "password": PASSWORD }),
            "The name must be a valid email address.",
        ),
        (
            json!({ "name": long, "password": "x" }),
            "The name may not be greater than 100 characters.",
        ),
        (json!({ "name": email() }), "The password field is required."),
        (json!({ "name": email(), "password": "" }), "The password field is required."),
        (json!({ "name": email(), "password": 1_234_567 }), "The password must be a string."),
        (
            json!({ "name": email(), "password": "five5" }),
            "The password must be at least 6 characters.",
        ),
        (
            json!({ "name": email(), "password": PASSWORD, "src": "no url" }),
            "The src is not a valid URL.",
        ),
        (
            json!({ "name": email(), "password": PASSWORD, "src": format!("http://example.com/{}", "x".repeat(300)) }),
            "The src may not be greater than 255 characters.",
        ),
    ];
    for (body, message) in cases {
        let response = context.rest().post("/api/register", &body)?;
        status(&response, 200)?;
        let wanted = json!({ "errno": 1, "message": message });
        require(response.json() == wanted, &wanted.to_string(), || {
            format!("{} for {body}", response.text())
        })?;
    }
    Ok(())
}

fn register_taken(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let taken = json!({ "errno": 1, "message": "The name has already been taken." });
    for name in [user.email.clone(), user.email.to_uppercase()] {
        let body = json!({ "name": name, "password": PASSWORD });
        let response = rest.post("/api/register", &body)?;
        equal("the answer", &response.json(), &taken)?;
    }
    context.step("eight at once");
    let body = json!({ "name": context.run.fresh_email(), "password": PASSWORD });
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..8).map(|_| scope.spawn(|| rest.post("/api/register", &body))).collect();
        asking
            .into_iter()
            .filter_map(|thread| thread.join().ok()?.ok())
            .map(|response| response.json())
            .collect()
    });
    let succeeded = answers.iter().filter(|answer| answer["errno"] == json!(0)).count();
    let refused = answers.iter().filter(|answer| **answer == taken).count();
    require(succeeded == 1 && refused == answers.len() - 1, "one success, the others taken", || {
        format!("{answers:?}")
    })
}

fn register_src(context: &Context) -> Outcome {
    let rest = context.rest();
    let register = |src: &str| {
        let body = json!({ "name": context.run.fresh_email(), "password": PASSWORD, "src": src });
        rest.post("/api/register", &body).map(|response| response.json())
    };
    let hosts = "http://no-such-host.invalid/a.png";
    for src in [hosts, "https://example.com/x.png", "//example.com/me.png", "/avatars/3.svg"] {
        let answer = register(src)?;
        require(answer["errno"] == json!(0), &format!("{src} is accepted"), || answer.to_string())?;
    }
    let answer = register(hosts)?;
    equal("avatar", &answer["user"]["avatar"], &json!(hosts))?;
    for src in ["javascript:alert(1)", "data:image/png;base64,AA", "ftp://example.com/x", "x y"] {
        let answer = register(src)?;
        equal("message", &answer["message"], &json!("The src is not a valid URL."))?;
    }
    Ok(())
}

fn login(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let body = json!({ "name": user.email, "password": PASSWORD });
    let response = rest.post("/api/login", &body)?;
    status(&response, 200)?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["errno", "user", "message"])?;
    equal("message", &answer["message"], &json!("Logged in"))?;
    let members = [
        "id",
        "name",
        "email",
        "email_verified_at",
        "avatar",
        "api_token",
        "created_at",
        "updated_at",
    ];
    has_exactly("user", &answer["user"], &members)?;
    equal("id", &answer["user"]["id"], &json!(user.id))?;
    let verified = &answer["user"]["email_verified_at"];
    require(verified.is_null() || is_time(verified), "a time or null", || verified.to_string())?;
    let second = answer["user"]["api_token"].as_str().unwrap_or("").to_owned();
    require(second != user.token, "a new token", || second.clone())?;
    equal("the first token", &rest.get_as("/api/user", &user.token)?.status, &200)?;
    equal("the second token", &rest.get_as("/api/user", &second)?.status, &200)?;
    let upper = json!({ "name": user.email.to_uppercase(), "password": PASSWORD });
    equal("errno in capitals", &rest.post("/api/login", &upper)?.json()["errno"], &json!(0))?;
    let wrong = json!({ "errno": 1, "message": "The e-mail or password is wrong." });
    for body in [
        json!({ "name": user.email, "password": "something else" }),
        json!({ "name": "nobody-at-all@example.com", "password": PASSWORD }),
        json!({ "name": user.email, "password": format!("{PASSWORD} ") }),
    ] {
        equal("the answer", &rest.post("/api/login", &body)?.json(), &wrong)?;
    }
    let missing = rest.post("/api/login", &json!({ "password": PASSWORD }))?.json();
    equal("message", &missing["message"], &json!("The name field is required."))?;
    let missing = rest.post("/api/login", &json!({ "name": user.email }))?.json();
    equal("message", &missing["message"], &json!("The password field is required."))
}

fn logout(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let response = rest.post("/api/logout", &json!({ "api_token": user.token }))?;
    status(&response, 200)?;
    equal("the answer", &response.json(), &json!({ "errno": 0, "message": "Logged out" }))?;
    let (value, attributes) = set_cookie(&response)?;
    let cleared =
        value.is_empty() || attributes.contains("max-age=0") || attributes.contains("expires=");
    require(cleared, "a cleared cookie", || format!("{value}; {attributes}"))?;
    equal("the token afterwards", &rest.get_as("/api/user", &user.token)?.status, &401)?;
    let again = rest.post("/api/logout", &json!({ "api_token": user.token }))?;
    equal("a second logout", &again.status, &401)
}

fn user(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let answer = rest.get_as("/api/user", &user.token)?.json();
    let bare = ["id", "name", "email", "email_verified_at", "avatar", "created_at", "updated_at"];
    has_exactly("the user by token", &answer, &[bare.as_slice(), &["api_token"]].concat())?;
    equal("api_token", &answer["api_token"], &json!(user.token))?;
    let login = rest.post("/api/login", &json!({ "name": user.email, "password": PASSWORD }))?;
    let cookie = format!("throng_session={}", set_cookie(&login)?.0);
    let headers = &[("Cookie", cookie.as_str())];
    let response = rest.call(&Request { headers, ..Request::get("/api/user") })?;
    has_exactly("the user by cookie", &response.json(), &bare)
}

fn rooms(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    guest.say(room, "one")?;
    let other = context.user()?;
    let response = context.rest().get_as("/api/rooms", &other.token)?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["errno", "rooms"])?;
    let rooms = answer["rooms"].as_array().cloned().unwrap_or_default();
    for entry in &rooms {
        has_exactly("a room", entry, &["id", "name", "online", "seq", "unread"])?;
    }
    let Some(entry) = rooms.iter().find(|entry| entry["id"] == json!(room)) else {
        return fail(format!("the room {room}"), format!("{} other rooms", rooms.len()));
    };
    equal("online", &entry["online"], &json!(1))?;
    equal("seq", &entry["seq"], &json!(1))?;
    equal("unread", &entry["unread"], &json!(1))
}

fn history_shape(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    let said = guest.say(room, "for the records")?;
    let data = context.rest().history(&guest.user.token, room, 1, 0)?;
    has_exactly("data", &data, &["errno", "data", "total", "current"])?;
    equal("errno", &data["errno"], &json!(0))?;
    equal("total", &data["total"], &json!(1))?;
    equal("current", &data["current"], &json!(1))?;
    let row = &data["data"][0];
    let members = ["id", "userid", "username", "src", "msg", "img", "roomid", "time", "seq"];
    has_exactly("a row", row, &members)?;
    equal("id", &row["id"], &said["id"])?;
    equal("roomid", &row["roomid"], &json!(room))?;
    equal("time", &row["time"], &json!("2026-11-23T00:31:11.784Z"))
}

fn history_faults(context: &Context) -> Outcome {
    let rest = context.rest();
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    guest.say(room, "only one")?;
    let token = &guest.user.token;
    for query in [
        "current=1&total=0".to_owned(),
        format!("roomid={room}&total=0"),
        format!("roomid={room}&current=0&total=0"),
        format!("roomid={room}&current=-1&total=0"),
        format!("roomid={room}&current=x&total=0"),
        "roomid=0&current=1&total=0".to_owned(),
        "roomid=x&current=1&total=0".to_owned(),
        "roomid=-1&current=1&total=0".to_owned(),
    ] {
        let answer = rest.get_as(&format!("/api/history/message?{query}"), token)?.json();
        require(answer == json!({ "data": { "errno": 1 } }), "errno 1", || {
            format!("{answer} for {query}")
        })?;
    }
    let nowhere = 1 + (room + 300_000_000) % 999_000_000;
    let answer = rest.history(token, nowhere, 1, 0)?;
    let none = answer["errno"] == json!(1) || answer["data"] == json!([]);
    require(none, "errno 1 or no messages", || answer.to_string())?;
    let beyond = rest.history(token, room, 7, 0)?;
    equal("a page beyond the first message", &beyond["data"], &json!([]))?;
    let odd =
        rest.get_as(&format!("/api/history/message?roomid={room}&current=1&total=abc"), token)?;
    equal("total that is no number", &odd.json()["data"]["total"], &json!(1))?;
    let odd = rest.history(token, room, 1, 999_999)?;
    equal("total above the number of messages", &odd["total"], &json!(1))
}

fn history_pages(context: &Context) -> Outcome {
    let rest = context.rest();
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    for index in 1..=45 {
        guest.say(room, &format!("number {index}"))?;
    }
    let seqs = |data: &Value| -> Vec<u64> {
        let rows = data["data"].as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["seq"].as_u64()).collect()
    };
    let first = rest.history(&guest.user.token, room, 1, 0)?;
    equal("total", &first["total"], &json!(45))?;
    equal("page 1", &seqs(&first), &(26..=45).collect())?;
    guest.say(room, "one more")?;
    guest.say(room, "and another")?;
    let second = rest.history(&guest.user.token, room, 2, 45)?;
    equal("page 2 with the total of page 1", &seqs(&second), &(6..=25).collect())?;
    equal("current", &second["current"], &json!(2))?;
    let third = rest.history(&guest.user.token, room, 3, 45)?;
    equal("page 3", &seqs(&third), &(1..=5).collect())?;
    let fourth = rest.history(&guest.user.token, room, 4, 45)?;
    equal("page 4", &fourth["data"], &json!([]))?;
    let fresh = rest.history(&guest.user.token, room, 1, 0)?;
    equal("page 1 anew", &seqs(&fresh), &(28..=47).collect())?;
    equal("total anew", &fresh["total"], &json!(47))
}

fn upload_image(context: &Context) -> Outcome {
    let rest = context.rest();
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    let room_text = room.to_string();
    let fields = &[("api_token", guest.user.token.as_str()), ("roomid", room_text.as_str())];
    let mut urls = BTreeSet::new();
    for (bytes, extensions, mime) in [
        (PNG, ["png", "png"], "image/png"),
        (GIF, ["gif", "gif"], "image/gif"),
        (JPEG, ["jpg", "jpeg"], "image/jpeg"),
        (WEBP, ["webp", "webp"], "image/webp"),
    ] {
        let file = Some(("secret-name.html", "text/html", bytes));
        let response = rest.upload("/api/file/uploadimg", fields, file)?;
        let answer = response.json();
        require(
            answer["errno"] == json!(200) && answer["msg"] == json!("Saved"),
            "errno 200, Saved",
            || response.text(),
        )?;
        let url = answer["url"].as_str().unwrap_or("").to_owned();
        require(
            url.starts_with("/storage/images/messages/"),
            "/storage/images/messages/…",
            || url.clone(),
        )?;
        let extension = url.rsplit('.').next().unwrap_or("");
        require(extensions.contains(&extension), &format!("the extension {extensions:?}"), || {
            url.clone()
        })?;
        require(!url.contains("secret"), "a name that tells nothing", || url.clone())?;
        let served = context.get(&format!("{url}?imageView2/2/w/360"))?;
        status(&served, 200)?;
        require(served.body == bytes, "the same bytes", || format!("{} bytes", served.body.len()))?;
        header(&served, "Content-Type", mime)?;
        header(&served, "X-Content-Type-Options", "nosniff")?;
        let policy = served.header("content-security-policy").unwrap_or("");
        require(policy.contains("default-src 'none'"), "default-src 'none'", || policy.to_owned())?;
        let cache = served.header("cache-control").unwrap_or("").to_owned();
        let age = cache
            .split("max-age=")
            .nth(1)
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok());
        require(age.is_some_and(|age| age >= 86_400), "a max-age of a day or more", || {
            cache.clone()
        })?;
        let again =
            rest.upload("/api/file/uploadimg", fields, Some(("b.png", "image/png", bytes)))?;
        equal("the URL of the same bytes", &again.json()["url"], &json!(url))?;
        urls.insert(url);
    }
    equal("the number of URLs", &urls.len(), &4)?;
    let page = rest.history(&guest.user.token, room, 1, 0)?;
    equal("the messages in the room", &page["total"], &json!(0))
}

const BAD_IMAGE: &str = "Invalid parameters (room or image file is missing or invalid)";
const BAD_AVATAR: &str = "Invalid parameters (the avatar image is missing or invalid)";

fn upload_faults(context: &Context) -> Outcome {
    let rest = context.rest();
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    let token = guest.user.token.as_str();
    let room_text = room.to_string();
    let nowhere = (1 + (room + 300_000_000) % 999_000_000).to_string();
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>".as_slice();
    let html = b"<html><script>alert(1)</script>".as_slice();
    let files = [
        None,
        Some(("a.png", "image/png", b"".as_slice())),
        Some(("a.png", "image/png", html)),
        Some(("a.svg", "image/svg+xml", svg)),
        Some(("a.php", "image/png", b"<?php echo 1;".as_slice())),
    ];
    for file in files {
        let fields = &[("api_token", token), ("roomid", room_text.as_str())];
        let answer = rest.upload("/api/file/uploadimg", fields, file)?.json();
        require(answer == json!({ "errno": 500, "msg": BAD_IMAGE }), BAD_IMAGE, || {
            format!("{answer} for {file:?}")
        })?;
        let answer = rest.upload("/api/file/avatar", &[("api_token", token)], file)?.json();
        require(answer == json!({ "errno": 500, "msg": BAD_AVATAR }), BAD_AVATAR, || {
            format!("{answer} for {file:?}")
        })?;
    }
    for roomid in ["", "0", "x", nowhere.as_str()] {
        let fields = &[("api_token", token), ("roomid", roomid)];
        let answer =
            rest.upload("/api/file/uploadimg", fields, Some(("a.png", "image/png", PNG)))?.json();
        require(answer == json!({ "errno": 500, "msg": BAD_IMAGE }), BAD_IMAGE, || {
            format!("{answer} for roomid {roomid:?}")
        })?;
    }
    Ok(())
}

fn upload_too_large(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let mut bytes = PNG.to_vec();
    bytes.resize(3_145_728 + 1, 0);
    let fields = &[("api_token", guest.user.token.as_str())];
    let file = Some(("a.png", "image/png", bytes.as_slice()));
    let response = context.rest().upload("/api/file/avatar", fields, file)?;
    let refused =
        response.status == 413 || response.json() == json!({ "errno": 500, "msg": BAD_AVATAR });
    require(refused, "errno 500 or status 413", || {
        format!("{} {}", response.status, response.text())
    })
}

fn avatar(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let fields = &[("api_token", user.token.as_str())];
    let response = rest.upload("/api/file/avatar", fields, Some(("me.jpg", "image/jpeg", PNG)))?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["errno", "data", "msg"])?;
    equal("errno", &answer["errno"], &json!(0))?;
    equal("msg", &answer["msg"], &json!("Saved"))?;
    let url = answer["data"]["url"].as_str().unwrap_or("").to_owned();
    require(url.starts_with("/storage/images/avatars/"), "/storage/images/avatars/…", || {
        url.clone()
    })?;
    let served = context.get(&url)?;
    require(served.status == 200 && served.body == PNG, "the same bytes", || {
        format!("status {}", served.status)
    })?;
    equal(
        "the user's avatar",
        &rest.get_as("/api/user", &user.token)?.json()["avatar"],
        &json!(url),
    )
}

fn storage_paths(context: &Context) -> Outcome {
    for path in [
        "/storage/",
        "/storage/images/",
        "/storage/images/messages/",
        "/storage/images/messages/none.png",
        "/storage/../Cargo.toml",
        "/storage/images/../../throng.db",
        "/storage/%2e%2e/%2e%2e/etc/passwd",
        "/storage/..%2f..%2fetc%2fpasswd",
        "/storage//etc/passwd",
        "/storage/images/messages/..\\..\\x",
    ] {
        let response = context.get(path)?;
        require(response.status == 404 || response.status == 400, "status 404", || {
            format!("status {} for {path}: {}", response.status, response.text())
        })?;
    }
    for path in
        ["/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd"]
    {
        let response = context.get(path)?;
        require(!response.text().contains("root:"), "no file outside the served folder", || {
            response.text()
        })?;
    }
    Ok(())
}

fn robot(context: &Context) -> Outcome {
    let user = context.user()?;
    let response = context.rest().get_as("/api/robot?info=hello&id=1", &user.token)?;
    status(&response, 200)?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["data"])?;
    let text = answer["data"].as_str().unwrap_or("");
    let inner: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    require(
        inner["code"].is_u64() && inner["text"].is_string(),
        "JSON text with code and text",
        || answer.to_string(),
    )?;
    require(inner["text"] != json!(""), "a text that says something", || text.to_owned())
}

fn operation(context: &Context) -> Outcome {
    let health = context.get("/health")?;
    status(&health, 200)?;
    equal("/health", &health.json(), &json!({ "status": "ok" }))?;
    let ready = context.get("/ready")?;
    require(matches!(ready.status, 200 | 503), "200 or 503", || {
        format!("status {}", ready.status)
    })?;
    has_exactly("/ready", &ready.json(), &["ready", "checks"])?;
    equal("ready", &ready.json()["ready"], &json!(ready.status == 200))?;
    let metrics = context.get("/metrics")?;
    status(&metrics, 200)?;
    require(
        metrics.has_type("text/plain") || metrics.has_type("application/openmetrics-text"),
        "text",
        || format!("{:?}", metrics.header("content-type")),
    )?;
    let text = metrics.text();
    let sound = text.lines().all(|line| {
        line.is_empty()
            || line.starts_with('#')
            || line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok())
    });
    require(sound && text.contains("# TYPE"), "the Prometheus text format", || text.clone())?;
    let page = context.get("/")?;
    status(&page, 200)?;
    header(&page, "Content-Type", "text/html; charset=UTF-8")
}

fn no_static(context: &Context) -> Outcome {
    for path in [
        "/api",
        "/api/index.html",
        "/storage/index.html",
        "/socket.io/index.html",
        "/ws/index.html",
    ] {
        let response = context.get(path)?;
        let page = response.status == 200 && response.has_type("text/html");
        require(!page, "no page", || format!("an HTML page for {path}"))?;
    }
    Ok(())
}
