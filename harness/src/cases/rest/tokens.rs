//! Chapter 9: tokens and the session cookie.

use crate::cases::prelude::*;

cases! {
    token_order "rest.token-order" ["REST-3", "REST-11"] over NONE needs CHAT_OF_NEW_USERS
        does "sends different tokens in query, body, Authorization header and cookie"
        expects "the first token present decides, even if invalid; empty, false and null count as absent";
    cookie "rest.cookie" ["REST-4", "CHAT-14"] over NONE needs CHAT
        does "uses the cookie of a login for GET, for POST, and together with an empty api_token"
        expects "HttpOnly, SameSite=Strict, Path=/api; valid for GET without api_token only";
    foreign_origin "rest.foreign-origin" ["REST-13", "REST-5", "TRN-65"] over NONE needs CHAT_OF_NEW_USERS
        does "uses cookie and token in requests of pages of other sites"
        expects "401 by the cookie, the user by the token, and nothing that the page may read";
    unauthenticated "rest.unauthenticated" ["REST-5", "REST-11"] over NONE needs CHAT_OF_NEW_USERS
        does "calls every private route without token and with bad tokens"
        expects "401 and Unauthenticated.";
    logout "rest.logout" ["REST-20"] over NONE needs CHAT_OF_NEW_USERS
        does "logs out"
        expects "the token is invalid at once, and the cookie is cleared";
    user "rest.user" ["REST-22", "REST-23", "REST-24"] over NONE needs CHAT_OF_NEW_USERS
        does "requests the own user by token and by cookie"
        expects "the user object itself; api_token by token only";
}

fn foreign_origin(context: &Context) -> Outcome {
    let (rest, user) = (context.rest(), context.user()?);
    let cookie = session_cookie(&rest, &user)?;
    let (own, bearer) = (context.target().origin(), format!("Bearer {}", user.token));
    for (origin, by_cookie) in [(own.as_str(), 200), ("http://evil.example", 401), ("null", 401)] {
        for path in ["/api/user", "/api/rooms", "/api/history/message?roomid=1&current=1"] {
            let with = |name: &str, value: &str| {
                let headers = &[("Origin", origin), (name, value)];
                rest.call(&Request { headers, ..Request::get(path) })
            };
            let answer = with("Cookie", &cookie)?;
            context.step(format!("{path} by the cookie, from {origin}"));
            status(&answer, by_cookie)?;
            context.step(format!("{path} by the token, from {origin}"));
            let shown = with("Authorization", &bearer)?;
            status(&shown, 200)?;
            for answer in [answer, shown] {
                let is_read = answer.header("access-control-allow-origin").is_some();
                let may_read = origin == own.as_str();
                answers(!is_read || may_read, &answer, "no Access-Control-Allow-Origin")?;
            }
        }
    }
    Ok(())
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
    let bearer = format!("Bearer {}", two.token);
    let cookie = session_cookie(&rest, &three)?;
    let decides = |what: &str, query: &str, authorization: &str, wanted: Value| {
        let path = format!("/api/user{query}");
        let headers = &[("Authorization", authorization), ("Cookie", cookie.as_str())];
        equal(what, &who(&rest.call(&Request { headers, ..Request::get(&path) })?), &wanted)
    };
    let query = format!("?api_token={}", one.token);
    decides("query first", &query, &bearer, json!(one.id))?;
    decides("an invalid query decides", "?api_token=unknown", &bearer, json!(401))?;
    for absent in ["?api_token=", "?api_token=false", "?api_token=null", ""] {
        decides("then the bearer", absent, &bearer, json!(two.id))?;
    }
    decides("an invalid bearer decides", "", "Bearer unknown", json!(401))?;
    context.step("in the body of POST /api/logout");
    let log_out = |token: Value| {
        let headers = &[("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
        let body = json!({ "api_token": token }).to_string();
        rest.call(&Request { method: "POST", path: "/api/logout", headers, body: body.as_bytes() })
    };
    for bad in each(json!(["unknown", 1, true, [one.token]])) {
        status(&log_out(bad)?, 401)?;
    }
    status(&log_out(json!(one.token))?, 200)?;
    equal("the body's token is logged out", &rest.get_as("/api/user", &one.token)?.status, &401)?;
    equal("the bearer's is not", &rest.get_as("/api/user", &two.token)?.status, &200)
}

fn cookie(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let body = credentials(&user.email);
    let (value, attributes) = set_cookie(&rest.post("/api/login", &body)?)?;
    let email = context.run.fresh_email();
    let (_, registered) = set_cookie(&rest.post("/api/register", &credentials(&email))?)?;
    for attributes in [&attributes, &registered] {
        for wanted in ["httponly", "samesite=strict", "path=/api"] {
            require(attributes.contains(wanted), &format!("the attribute {wanted}"), || {
                attributes.clone()
            })?;
        }
    }
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
    // The first user's id, in types that are no token.
    for token in [json!(1), json!(true), json!([1]), json!({ "id": 1 })] {
        let response = rest.post("/api/logout", &json!({ "api_token": token }))?;
        status(&response, 401)?;
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
    let cookie = session_cookie(&rest, &user)?;
    let headers = &[("Cookie", cookie.as_str())];
    let response = rest.call(&Request { headers, ..Request::get("/api/user") })?;
    has_exactly("the user by cookie", &response.json(), &bare)
}
