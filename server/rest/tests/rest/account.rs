//! Registration and login.

use serde_json::{Value, json};
use throng_store::hash_token;
use throng_wire::http::Caller;

use crate::common::{bench, caller, post};

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
    let answer = bench.get(&format!("/api/user?api_token={token}")).await;
    assert_eq!(answer.json()["id"], user["id"]);
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
async fn a_page_of_another_origin_can_neither_register_nor_log_in() {
    let bench = bench().await;
    bench.register("a@b.c").await;
    let body = json!({ "name": "a@b.c", "password": "secret" }).to_string();
    let form = "name=a%40b.c&password=secret".to_owned();
    for uri in ["/api/login", "/api/register"] {
        // What a browser sends to any site without asking it.
        for (kind, body) in [
            ("application/x-www-form-urlencoded; charset=UTF-8", &form),
            ("text/plain", &body),
            ("multipart/form-data; boundary=application/json", &form),
            ("", &body),
        ] {
            let answer = bench.send(post(uri, kind, body.clone())).await;
            answer.is(415, json!({ "message": "Unsupported Media Type" }));
            assert_eq!(answer.header("set-cookie"), "", "{uri} {kind}");
        }
        let mut foreign = post(uri, "application/json", body.clone());
        foreign.extensions_mut().insert(Caller { is_origin_allowed: false, ..caller("192.0.2.7") });
        let answer = bench.send(foreign).await;
        answer.is(403, json!({ "message": "Forbidden" }));
        assert_eq!(answer.header("set-cookie"), "", "{uri}");
    }
    let own = post("/api/login", "application/json;charset=utf-8", body);
    assert_eq!(bench.send(own).await.json()["errno"], 0);
}

#[tokio::test]
async fn a_name_holds_no_markup_and_the_address_is_kept() {
    let bench = bench().await;
    let user = bench.register("o'neill@b.c").await;
    assert_eq!((&user["name"], &user["email"]), (&json!("o’neill"), &json!("o'neill@b.c")));
}

#[tokio::test]
async fn the_first_fault_of_a_registration_is_answered() {
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
async fn a_failed_login_does_not_say_what_is_wrong() {
    let bench = bench().await;
    bench.register("a@b.c").await;
    let wrong = "The e-mail or password is wrong.";
    let cases = [
        (json!({ "name": "a@b.c", "password": "Secret" }), wrong),
        (json!({ "name": "a@b.c", "password": " secret" }), wrong),
        (json!({ "name": "unknown@b.c", "password": "secret" }), wrong),
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
