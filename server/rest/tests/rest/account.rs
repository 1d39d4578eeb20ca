//! Registration and login.

use serde_json::{Value, json};
use throng_store::hash_token;
use throng_wire::http::Caller;

use crate::common::{Answer, Bench, bench, bench_with, caller, post};

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
    let deep = "[".repeat(8_000);
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

async fn log_in(bench: &Bench, name: &str, password: &str, ip: &str) -> Answer {
    let body = json!({ "name": name, "password": password }).to_string();
    let mut request = post("/api/login", "application/json", body);
    request.extensions_mut().insert(caller(ip));
    bench.send(request).await
}

fn wait_s(answer: &Answer) -> u32 {
    answer.header("retry-after").parse().expect("seconds")
}

#[tokio::test]
async fn wrong_passwords_from_everywhere_are_put_off_and_the_owner_is_not() {
    let bench = bench_with(|settings, _| settings.failures_max = 5).await;
    bench.register("a@b.c").await;
    // Whether there is such an account makes no difference.
    for name in ["a@b.c", "unknown@b.c"] {
        let mut statuses = Vec::new();
        for n in 0..250 {
            let answer = log_in(&bench, name, "guess!", &format!("198.51.{}.7", n)).await;
            if answer.status == 429 {
                assert_eq!(answer.json(), json!({ "message": "Too Many Attempts." }));
                assert!(wait_s(&answer) >= 1);
                assert_eq!(answer.exceeded, "login.failures_max");
            }
            statuses.push(answer.status.as_u16());
        }
        assert_eq!(statuses[..6], [200, 200, 200, 200, 200, 429], "{name}");
        assert!(statuses.iter().filter(|status| **status == 200).count() < 10, "{name}");
    }
    let stranger = log_in(&bench, "a@b.c", "secret", "203.0.113.1").await;
    assert_eq!(stranger.status, 429, "the right password makes no difference");
    // Where the account was registered.
    assert_eq!(log_in(&bench, "a@b.c", "secret", "192.0.2.7").await.json()["errno"], 0);
    bench.register("other@b.c").await;
    assert_eq!(log_in(&bench, "other@b.c", "secret", "198.51.1.7").await.json()["errno"], 0);
    let put_off = &bench.deps.counters.logins_put_off;
    assert!(put_off.load(std::sync::atomic::Ordering::Relaxed) > 480);
}

#[tokio::test]
async fn an_address_with_a_valid_token_is_known() {
    let bench = bench_with(|settings, _| {
        settings.failures_max = 2;
        settings.api_per_minute = 1000;
    })
    .await;
    let token = bench.register("a@b.c").await["api_token"].as_str().expect("token").to_owned();
    let mut request = crate::common::get(&format!("/api/user?api_token={token}"), &[]);
    request.extensions_mut().insert(caller("203.0.113.9"));
    assert_eq!(bench.send(request).await.status, 200);
    for n in 0..3 {
        log_in(&bench, "a@b.c", "guess!", &format!("198.51.100.{n}")).await;
    }
    assert_eq!(log_in(&bench, "a@b.c", "secret", "203.0.113.8").await.status, 429);
    assert_eq!(log_in(&bench, "a@b.c", "secret", "203.0.113.9").await.json()["errno"], 0);
}

#[tokio::test]
async fn each_failed_login_is_counted_by_its_reason() {
    let bench = bench_with(|settings, _| {
        settings.failures_max = 2;
        settings.api_per_minute = 6;
    })
    .await;
    bench.register("a@b.c").await;
    let counted = || {
        let counters = &bench.deps.counters;
        let counters = [
            &counters.logins_wrong,
            &counters.logins_put_off,
            &counters.logins_throttled,
            &counters.logins_malformed,
            &counters.logins_of_other_origins,
            &counters.logins_busy,
        ];
        counters.map(|counter| counter.load(std::sync::atomic::Ordering::Relaxed))
    };
    assert_eq!(log_in(&bench, "a@b.c", "secret", "198.51.100.1").await.json()["errno"], 0);
    assert_eq!(counted(), [0; 6]);
    for (wrong, name) in [(1, "a@b.c"), (2, "unknown@b.c"), (3, "unknown@b.c")] {
        log_in(&bench, name, "guess!", "198.51.100.1").await;
        assert_eq!(counted(), [wrong, 0, 0, 0, 0, 0]);
    }
    assert_eq!(log_in(&bench, "unknown@b.c", "guess!", "198.51.100.1").await.status, 429);
    assert_eq!(counted(), [3, 1, 0, 0, 0, 0]);
    assert_eq!(log_in(&bench, "a@b.c", "", "198.51.100.1").await.status, 200);
    assert_eq!(counted(), [3, 1, 0, 1, 0, 0], "a field is missing");
    assert_eq!(log_in(&bench, "a@b.c", "secret", "198.51.100.1").await.status, 429);
    assert_eq!(counted(), [3, 1, 1, 1, 0, 0], "the client is over its rate");
    let right = json!({ "name": "a@b.c", "password": "secret" }).to_string();
    let mut foreign = post("/api/login", "application/json", right.clone());
    foreign.extensions_mut().insert(Caller { is_origin_allowed: false, ..caller("192.0.2.7") });
    assert_eq!(bench.send(foreign).await.status, 403);
    assert_eq!(counted(), [3, 1, 1, 1, 1, 0], "the page is of another origin");
    let text = bench.send(post("/api/login", "text/plain", right)).await;
    assert_eq!((text.status.as_u16(), counted()), (415, [3, 1, 1, 2, 1, 0]));
}

#[tokio::test]
async fn each_failed_registration_is_counted_by_its_reason() {
    let bench = bench_with(|settings, _| settings.api_per_minute = 6).await;
    let counted = || {
        let counters = &bench.deps.counters;
        let counters = [
            &counters.registrations_of_taken_names,
            &counters.registrations_throttled,
            &counters.registrations_of_other_origins,
            &counters.registrations_malformed,
            &counters.logins_malformed,
            &counters.logins_of_other_origins,
        ];
        counters.map(|counter| counter.load(std::sync::atomic::Ordering::Relaxed))
    };
    bench.register("a@b.c").await;
    assert_eq!(counted(), [0; 6]);
    let right = json!({ "name": "a@b.c", "password": "secret" });
    assert_eq!(bench.post("/api/register", right.clone()).await.status, 200);
    assert_eq!(counted(), [1, 0, 0, 0, 0, 0], "the name is taken");
    let mut foreign = post("/api/register", "application/json", right.to_string());
    foreign.extensions_mut().insert(Caller { is_origin_allowed: false, ..caller("192.0.2.7") });
    assert_eq!(bench.send(foreign).await.status, 403);
    assert_eq!(counted(), [1, 0, 1, 0, 0, 0], "the page is of another origin");
    let text = bench.send(post("/api/register", "text/plain", right.to_string())).await;
    assert_eq!((text.status.as_u16(), counted()), (415, [1, 0, 1, 1, 0, 0]));
    for (n, fields) in [(2, json!({})), (3, json!({ "name": "d@e.f", "password": "x" }))] {
        assert_eq!(bench.post("/api/register", fields).await.status, 200);
        assert_eq!(counted(), [1, 0, 1, n, 0, 0], "a field is missing or too short");
    }
    assert_eq!(bench.post("/api/register", right).await.status, 429);
    assert_eq!(counted(), [1, 1, 1, 3, 0, 0], "the client is over its rate");
}

#[tokio::test]
async fn a_login_that_cannot_be_computed_in_time_is_refused_and_may_be_repeated() {
    let bench = bench_with(|_, options| {
        options.password_cost = throng_store::PasswordCost::Standard;
        options.hash_threads = 1;
        options.hash_queue_max = 1;
    })
    .await;
    let bench = std::sync::Arc::new(bench);
    let mut logins = tokio::task::JoinSet::new();
    for n in 0..12 {
        let bench = bench.clone();
        let name = format!("{n}@b.c");
        logins.spawn(async move { log_in(&bench, &name, "secret", "192.0.2.7").await });
    }
    let mut refused = 0;
    for answer in logins.join_all().await {
        match answer.status.as_u16() {
            200 => assert_eq!(answer.json()["errno"], 1),
            503 => {
                assert_eq!(answer.json(), json!({ "message": "Service Unavailable" }));
                assert!(wait_s(&answer) >= 1);
                assert_eq!(answer.exceeded, "login.hash_queue_max");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0, "the queue takes one");
    let busy = &bench.deps.counters.logins_busy;
    assert_eq!(busy.load(std::sync::atomic::Ordering::Relaxed), refused);
}

#[tokio::test]
async fn an_address_that_fills_the_queue_of_hashes_keeps_nobody_else_out() {
    let bench = bench_with(|_, options| {
        options.password_cost = throng_store::PasswordCost::Standard;
        options.hash_threads = 1;
        options.hash_queue_max = 2;
        options.hash_timeout_ms = 600_000;
    })
    .await;
    let bench = std::sync::Arc::new(bench);
    let mut logins = tokio::task::JoinSet::new();
    for n in 0..12 {
        let bench = bench.clone();
        let name = format!("{n}@b.c");
        logins.spawn(async move { log_in(&bench, &name, "secret", "192.0.2.7").await });
    }
    while logins.join_next().await.expect("the queue takes two").expect("join").status != 503 {}
    assert_eq!(log_in(&bench, "other@b.c", "secret", "192.0.2.8").await.status, 200);
}
