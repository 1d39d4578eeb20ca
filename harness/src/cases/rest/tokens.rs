//! Chapter 9: tokens and the session cookie.

use crate::cases::prelude::*;

cases! {
    token_order "rest.token-order" ["REST-3", "REST-11"] over NONE needs CHAT
        does "sends different tokens in query, body, Authorization header and cookie"
        expects "the first token present decides, even if invalid; empty, false and null count as absent";
    cookie "rest.cookie" ["REST-4", "CHAT-14"] over NONE needs CHAT
        does "uses the cookie of a login for GET, for POST, and together with an empty api_token"
        expects "HttpOnly, SameSite=Strict, Path=/api; valid for GET without api_token only";
    unauthenticated "rest.unauthenticated" ["REST-5", "REST-11"] over NONE needs CHAT
        does "calls every private route without token and with bad tokens"
        expects "401 and Unauthenticated.";
    logout "rest.logout" ["REST-20"] over NONE needs CHAT
        does "logs out"
        expects "the token is invalid at once, and the cookie is cleared";
    user "rest.user" ["REST-22", "REST-23", "REST-24"] over NONE needs CHAT
        does "requests the own user by token and by cookie"
        expects "the user object itself; api_token by token only";
}

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

fn who(response: &Response) -> Value {
    if response.status == 401 { json!(401) } else { response.json()["id"].clone() }
}

fn token_order(context: &Context) -> Outcome {
    let rest = context.rest();
    let (one, two, three) = (context.user()?, context.user()?, context.user()?);
    let bearer = |user: &User| format!("Bearer {}", user.token);
    let body = credentials(&three.email);
    let third = format!("throng_session={}", set_cookie(&rest.post("/api/login", &body)?)?.0);
    let by_cookie = |_: &User| third.clone();
    let ask = |path: &str, authorization: &str, cookie: &str| {
        let headers = &[("Authorization", authorization), ("Cookie", cookie)];
        rest.call(&Request { headers, ..Request::get(path) })
    };
    let path = format!("/api/user?api_token={}", one.token);
    equal("query first", &who(&ask(&path, &bearer(&two), &by_cookie(&three))?), &json!(one.id))?;
    let bad = "/api/user?api_token=unknown";
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
    let observed = ask("/api/user", "Bearer unknown", &by_cookie(&three))?;
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
    for bad in [json!("unknown"), json!(1), json!(true), json!([one.token])] {
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

fn cookie(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let body = credentials(&user.email);
    let (value, attributes) = set_cookie(&rest.post("/api/login", &body)?)?;
    for wanted in ["httponly", "samesite=strict", "path=/api"] {
        require(attributes.contains(wanted), &format!("the attribute {wanted}"), || {
            attributes.clone()
        })?;
    }
    let email = context.run.fresh_email();
    set_cookie(&rest.post("/api/register", &credentials(&email))?)?;
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
    equal("the session stays open", &get("/api/user")?.status, &200)
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
    has_fields(&answer, json!({ "api_token": user.token }))?;
    let login = rest.post("/api/login", &credentials(&user.email))?;
    let cookie = format!("throng_session={}", set_cookie(&login)?.0);
    let headers = &[("Cookie", cookie.as_str())];
    let response = rest.call(&Request { headers, ..Request::get("/api/user") })?;
    has_exactly("the user by cookie", &response.json(), &bare)
}
