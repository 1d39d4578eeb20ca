//! Registration, login, logout, and tokens wherever they come.

mod common;

use axum::body::Body;
use axum::http::Method;
use common::{Bench, bench, bench_with, cookie_of, field, get, multipart, post, request};
use serde_json::{Value, json};
use throng_store::hash_token;

const UNAUTHENTICATED: &str = "Unauthenticated.";

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn registration_answers_the_user_in_the_original_shape() {
    let bench = bench().await;
    let body = json!({ "name": " Ann@Example.org ", "password": "secret" });
    let answer = bench.post("/api/register", body).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!((&body["errno"], &body["message"]), (&json!(0), &json!("Registered")));
    let user = &body["user"];
    assert_eq!(
        keys(user),
        ["id", "name", "email", "avatar", "api_token", "created_at", "updated_at"]
    );
    assert_eq!((&user["name"], &user["email"]), (&json!("Ann"), &json!("Ann@Example.org")));
    let avatar = user["avatar"].as_str().expect("string");
    assert_eq!(bench.get(avatar).await.status, 200, "{avatar}");
    let token = user["api_token"].as_str().expect("string");
    assert!(hash_token(token).is_some());
    let created = user["created_at"].as_str().expect("string").as_bytes();
    assert_eq!((created.len(), created[10], created[13]), (19, b' ', b':'));
    let told = bench.get(&format!("/api/user?api_token={token}")).await;
    assert_eq!(told.json()["id"], user["id"]);
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_given_avatar_is_kept() {
    let bench = bench().await;
    let body = json!({ "name": "a@b.c", "password": "secret", "src": "https://s3.example/a.png" });
    let answer = bench.post("/api/register", body).await.json();
    assert_eq!(answer["user"]["avatar"], "https://s3.example/a.png");
}

#[tokio::test]
async fn registration_may_come_as_a_form() {
    let bench = bench().await;
    let form = post(
        "/api/register",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "name=a%40b.c&password=sec+ret",
    );
    assert_eq!(bench.send(form).await.json()["errno"], 0);
    let body = json!({ "name": "a@b.c", "password": "sec ret" });
    assert_eq!(bench.post("/api/login", body).await.json()["errno"], 0);
}

#[tokio::test]
async fn the_first_fault_of_a_registration_is_told() {
    let bench = bench().await;
    bench.register("taken@example.org").await;
    let cases = [
        (json!({}), "The name field is required."),
        (json!({ "name": 7, "password": "x" }), "The name must be a valid email address."),
        (
            json!({ "name": format!("{}@b.c", "a".repeat(64)), "password": 7 }),
            "The password must be a string.",
        ),
        // The name comes before the password, taken or not.
        (json!({ "name": "TAKEN@example.org" }), "The name has already been taken."),
        (
            json!({ "name": "taken@example.org", "password": "secret" }),
            "The name has already been taken.",
        ),
        (json!({ "name": "a@b.c" }), "The password field is required."),
        (
            json!({ "name": "a@b.c", "password": "12345", "src": 1 }),
            "The password must be at least 6 characters.",
        ),
        (
            json!({ "name": "a@b.c", "password": "secret", "src": "x" }),
            "The src is not a valid URL.",
        ),
    ];
    for (body, text) in cases {
        let answer = bench.post("/api/register", body.clone()).await;
        answer.is(200, json!({ "errno": 1, "message": text }));
        assert_eq!(answer.header("set-cookie"), "", "{body}");
    }
    for broken in ["", "{", "[]", "\"x\"", "null", "\u{feff}{}"] {
        let answer = bench.send(post("/api/register", "application/json", broken)).await;
        answer.is(200, json!({ "errno": 1, "message": "The name field is required." }));
    }
    let deep = "[".repeat(20_000);
    let answer = bench.send(post("/api/register", "application/json", deep)).await;
    answer.is(200, json!({ "errno": 1, "message": "The name field is required." }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_registrations_one_succeeds() {
    let bench = std::sync::Arc::new(bench().await);
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move {
                let body = json!({ "name": "race@example.org", "password": "secret" });
                bench.post("/api/register", body).await.json()
            })
        })
        .collect();
    let mut succeeded = 0;
    for attempt in attempts {
        let answer = attempt.await.expect("join");
        match answer["errno"].as_u64() {
            Some(0) => succeeded += 1,
            _ => assert_eq!(answer["message"], "The name has already been taken."),
        }
    }
    assert_eq!(succeeded, 1);
}

#[tokio::test]
async fn login_answers_a_new_token_each_time_and_ends_no_other() {
    let bench = bench().await;
    let user = bench.register("a@b.c").await;
    let body = json!({ "name": "A@B.c", "password": "secret" });
    let answer = bench.post("/api/login", body).await.json();
    assert_eq!((&answer["errno"], &answer["message"]), (&json!(0), &json!("Logged in")));
    assert_eq!(
        keys(&answer["user"]),
        [
            "id",
            "name",
            "email",
            "email_verified_at",
            "avatar",
            "api_token",
            "created_at",
            "updated_at"
        ]
    );
    assert_eq!(answer["user"]["email_verified_at"], Value::Null);
    let tokens = [&user["api_token"], &answer["user"]["api_token"]];
    assert_ne!(tokens[0], tokens[1]);
    for token in tokens {
        let uri = format!("/api/user?api_token={}", token.as_str().expect("string"));
        assert_eq!(bench.get(&uri).await.status, 200);
    }
}

#[tokio::test]
async fn a_wrong_login_is_told_without_saying_what_is_wrong() {
    let bench = bench().await;
    bench.register("a@b.c").await;
    let wrong = "The e-mail or password is wrong.";
    let cases = [
        (json!({ "name": "a@b.c", "password": "Secret" }), wrong),
        (json!({ "name": "a@b.c", "password": " secret" }), wrong),
        (json!({ "name": "nobody@b.c", "password": "secret" }), wrong),
        (json!({ "name": "a@b.c", "password": "x" }), wrong),
        (json!({ "password": "secret" }), "The name field is required."),
        (
            json!({ "name": ["a@b.c"], "password": "secret" }),
            "The name must be a valid email address.",
        ),
        (json!({ "name": "a@b.c" }), "The password field is required."),
        (json!({ "name": "a@b.c", "password": { "$ne": "" } }), "The password must be a string."),
    ];
    for (body, text) in cases {
        let answer = bench.post("/api/login", body).await;
        answer.is(200, json!({ "errno": 1, "message": text }));
        assert_eq!(answer.header("set-cookie"), "");
    }
}

#[tokio::test]
async fn a_token_is_taken_from_query_body_or_bearer_in_this_order() {
    let bench = bench().await;
    let ann = bench.register("ann@b.c").await["api_token"].as_str().expect("token").to_owned();
    let bob = bench.register("bob@b.c").await["api_token"].as_str().expect("token").to_owned();
    let name = async |uri: String, headers: &[(&str, &str)]| {
        bench.send(get(&uri, headers)).await.json()["name"].clone()
    };
    let bearer = format!("Bearer {bob}");
    let bearer: &[(&str, &str)] = &[("authorization", &bearer)];
    assert_eq!(name("/api/user".into(), bearer).await, "bob");
    for absent in ["", "false", "null"] {
        assert_eq!(name(format!("/api/user?api_token={absent}"), bearer).await, "bob");
    }
    assert_eq!(name(format!("/api/user?api_token={ann}"), bearer).await, "ann");
    let lower = format!("bearer {bob}");
    assert_eq!(name("/api/user".into(), &[("authorization", &lower)]).await, "bob");

    // The body, seen through a route that reads one: whose token ends?
    let logout = |body: Value, uri: &str| {
        request(
            Method::POST,
            uri,
            &[("content-type", "application/json"), bearer[0]],
            Body::from(body.to_string()),
        )
    };
    let ended = async |request| {
        bench.send(request).await.is(200, json!({ "errno": 0, "message": "Logged out" }));
        bench.revoked.lock().expect("lock").pop().expect("revoked").token_hash
    };
    let of_body = logout(json!({ "api_token": ann }), "/api/logout");
    assert_eq!(Some(ended(of_body).await), hash_token(&ann));
    let of_bearer = logout(json!({ "api_token": "" }), "/api/logout");
    assert_eq!(Some(ended(of_bearer).await), hash_token(&bob));
}

#[tokio::test]
async fn a_wrong_token_is_no_reason_to_look_for_another() {
    let bench = bench().await;
    let user = bench.register("ann@b.c").await;
    let token = user["api_token"].as_str().expect("token");
    let bearer = format!("Bearer {token}");
    let other = "a".repeat(60);
    for uri in [format!("/api/user?api_token={other}"), "/api/user?api_token=0".into()] {
        let answer = bench.send(get(&uri, &[("authorization", &bearer)])).await;
        answer.is(401, json!({ "message": UNAUTHENTICATED }));
    }
}

#[tokio::test]
async fn tokens_of_a_wrong_type_or_shape_open_nothing() {
    let bench = bench().await;
    let token = bench.register("ann@b.c").await["api_token"].as_str().expect("token").to_owned();
    let bodies = [
        json!({ "api_token": 1 }),
        json!({ "api_token": 0 }),
        json!({ "api_token": true }),
        json!({ "api_token": false }),
        json!({ "api_token": null }),
        json!({ "api_token": "" }),
        json!({ "api_token": [token] }),
        json!({ "api_token": { "0": token } }),
        json!({ "api_token": &token[..59] }),
        json!({ "api_token": format!("{token}a") }),
        json!({ "api_token": format!(" {token}") }),
        json!({ "api_token": "%".repeat(60) }),
        json!({}),
    ];
    for body in bodies {
        let answer = bench.post("/api/logout", body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()),
            (401, json!({ "message": UNAUTHENTICATED })),
            "{body}"
        );
    }
    let swapped: String =
        token
            .chars()
            .map(|c| {
                if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            })
            .collect();
    for uri in [
        "/api/user".to_owned(),
        "/api/user?api_token=1".into(),
        format!("/api/user?api_token[]={token}"),
        format!("/api/user?api_token={swapped}"),
        format!("/api/user?API_TOKEN={token}"),
    ] {
        bench.get(&uri).await.is(401, json!({ "message": UNAUTHENTICATED }));
    }
    for value in ["Bearer", "Bearer ", &format!("Basic {token}"), &token] {
        let answer = bench.send(get("/api/user", &[("authorization", value)])).await;
        answer.is(401, json!({ "message": UNAUTHENTICATED }));
    }
    assert!(bench.revoked.lock().expect("lock").is_empty());
    assert_eq!(bench.get(&format!("/api/user?api_token={token}")).await.status, 200);
}

async fn login_cookie(bench: &Bench) -> (String, String) {
    bench.register("ann@b.c").await;
    let body = json!({ "name": "ann@b.c", "password": "secret" });
    let answer = bench.post("/api/login", body).await;
    let token = answer.json()["user"]["api_token"].as_str().expect("token").to_owned();
    (cookie_of(&answer), token)
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
    let bench = bench().await;
    let body = json!({ "name": "ann@b.c", "password": "secret" });
    let answer = bench.post("/api/register", body).await;
    let set = answer.header("set-cookie");
    let (value, attributes) = set.split_once("; ").expect("attributes");
    assert!(value.strip_prefix("throng_session=").and_then(hash_token).is_some(), "{set}");
    let mut attributes: Vec<_> = attributes.split("; ").collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["HttpOnly", "Max-Age=2592000", "Path=/api", "SameSite=Strict"]);

    let secure = bench_with(|settings, _| settings.cookie_secure = true).await;
    let body = json!({ "name": "ann@b.c", "password": "secret" });
    let answer = secure.post("/api/register", body).await;
    assert!(answer.header("set-cookie").contains("; Secure"));
}

#[tokio::test]
async fn the_cookie_reads_and_does_nothing_else() {
    let bench = bench().await;
    let (cookie, token) = login_cookie(&bench).await;
    let jar = format!("other=1; {cookie}");
    let with_cookie: &[(&str, &str)] = &[("cookie", &jar)];
    let answer = bench.send(get("/api/user", with_cookie)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["name"]), (200, &json!("ann")));
    assert_eq!(answer.json().get("api_token"), None);
    let history = bench.send(get("/api/history/message?roomid=1&current=1", with_cookie)).await;
    assert_eq!(history.json()["data"]["errno"], 0);

    // A page whose user logged out sends an empty token: the cookie must not speak for him.
    for uri in ["/api/user?api_token=", "/api/user?api_token=false", "/api/user?api_token"] {
        assert_eq!(bench.send(get(uri, with_cookie)).await.status, 401, "{uri}");
    }
    let logout = request(Method::POST, "/api/logout", with_cookie, Body::empty());
    assert_eq!(bench.send(logout).await.status, 401);
    let value = cookie.strip_prefix("throng_session=").expect("value");
    let uri = format!("/api/user?api_token={value}");
    assert_eq!(bench.get(&uri).await.status, 401, "a cookie's token is no API token");
    let swapped = format!("throng_session={token}");
    let answer = bench.send(get("/api/user", &[("cookie", &swapped)])).await;
    assert_eq!(answer.status, 401, "an API token is no cookie");
}

#[tokio::test]
async fn logout_ends_the_token_and_the_cookie_and_says_so_to_the_shards() {
    let bench = bench().await;
    let (cookie, token) = login_cookie(&bench).await;
    let uri = format!("/api/logout?api_token={token}");
    let logout = request(Method::POST, &uri, &[("cookie", &cookie)], Body::empty());
    let answer = bench.send(logout).await;
    answer.is(200, json!({ "errno": 0, "message": "Logged out" }));
    assert!(answer.header("set-cookie").starts_with("throng_session=; "));
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    let revoked = bench.revoked.lock().expect("lock").clone();
    assert_eq!(revoked.len(), 1);
    assert_eq!(Some(revoked[0].token_hash), hash_token(&token));
    assert_eq!(bench.get(&format!("/api/user?api_token={token}")).await.status, 401);
    assert_eq!(bench.send(get("/api/user", &[("cookie", &cookie)])).await.status, 401);
    let again = request(Method::POST, &uri, &[], Body::empty());
    assert_eq!(bench.send(again).await.status, 401);
}

#[tokio::test]
async fn an_expired_token_opens_nothing() {
    let bench = bench_with(|_, options| options.token_lifetime = std::time::Duration::ZERO).await;
    let token = bench.register("ann@b.c").await["api_token"].as_str().expect("token").to_owned();
    assert_eq!(bench.get(&format!("/api/user?api_token={token}")).await.status, 401);
}

#[tokio::test]
async fn a_body_one_byte_too_large_is_refused_and_the_largest_is_read() {
    let bench = bench_with(|settings, _| settings.body_bytes_max = 1000).await;
    let body = |bytes: usize| {
        let frame = json!({ "name": "a@b.c", "password": "" }).to_string().len();
        json!({ "name": "a@b.c", "password": "x".repeat(bytes - frame) }).to_string()
    };
    let send = |body: String| bench.send(post("/api/register", "application/json", body));
    assert_eq!(body(1000).len(), 1000);
    send(body(1001)).await.is(413, json!({ "message": "Payload Too Large" }));
    assert_eq!(send(body(1000)).await.json()["errno"], 0);
}

#[tokio::test]
async fn every_private_route_wants_a_token() {
    let bench = bench().await;
    let unauthenticated = json!({ "message": UNAUTHENTICATED });
    for uri in [
        "/api/user",
        "/api/rooms",
        "/api/history/message?roomid=1&current=1",
        "/api/robot?info=hi&id=1",
    ] {
        bench.get(uri).await.is(401, unauthenticated.clone());
    }
    bench.post("/api/logout", json!({})).await.is(401, unauthenticated.clone());
    for uri in ["/api/file/uploadimg", "/api/file/avatar"] {
        let upload = multipart(uri, &[field("roomid", "1")]);
        bench.send(upload).await.is(401, unauthenticated.clone());
        bench.post(uri, json!({})).await.is(401, unauthenticated.clone());
    }
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_answer_in_json() {
    let bench = bench().await;
    for uri in ["/api", "/api/", "/api/nothing", "/api/user/1", "/api/History/message"] {
        bench.get(uri).await.is(404, json!({ "message": "Not Found" }));
        bench.post(uri, json!({})).await.is(404, json!({ "message": "Not Found" }));
    }
    let wrong = json!({ "message": "Method Not Allowed" });
    for uri in ["/api/register", "/api/login", "/api/logout", "/api/file/avatar"] {
        let answer = bench.get(uri).await;
        answer.is(405, wrong.clone());
        assert_eq!(answer.header("allow"), "POST", "{uri}");
    }
    for uri in ["/api/user", "/api/rooms", "/api/history/message", "/api/robot", "/health"] {
        bench.post(uri, json!({})).await.is(405, wrong.clone());
    }
}

#[tokio::test]
async fn a_store_that_fails_is_told_as_unavailable() {
    let bench = bench().await;
    let token = bench.register("ann@b.c").await["api_token"].as_str().expect("token").to_owned();
    bench.store.close().await;
    let unavailable = json!({ "message": "Service Unavailable" });
    let uri = format!("/api/user?api_token={token}");
    let answer = bench.get(&uri).await;
    answer.is(503, unavailable.clone());
    assert_eq!(answer.header("retry-after"), "1");
    let body = json!({ "name": "b@b.c", "password": "secret" });
    bench.post("/api/register", body.clone()).await.is(503, unavailable.clone());
    bench.post("/api/login", body).await.is(503, unavailable);
}
