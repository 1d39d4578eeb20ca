//! Tokens, the session cookie, logout.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};
use sqlx::SqlitePool;
use throng_rest::{Deps, Revoked};
use throng_store::hash_token;
use throng_wire::http::Caller;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use crate::common::{
    Bench, UNAUTHENTICATED, bench, bench_with, caller, cookie_of, get, post, request,
};

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

/// What the server does on its own must have come by then.
const SOON: Duration = Duration::from_secs(10);

async fn login_cookie(bench: &Bench) -> (String, String) {
    bench.register("ann@b.c").await;
    log_in(bench).await
}

async fn log_in(bench: &Bench) -> (String, String) {
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

    let mut over_tls = post(
        "/api/register",
        "application/json",
        json!({ "name": "tls@b.c", "password": "secret" }).to_string(),
    );
    let mut tls = caller("192.0.2.7");
    tls.client.is_https = true;
    over_tls.extensions_mut().insert(tls);
    assert!(bench.send(over_tls).await.header("set-cookie").contains("; Secure"));
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

    // Pages of other sites have what their users' tokens give them, and not what the cookie does.
    for (header, wanted) in
        [(with_cookie[0], 401), (("authorization", &*format!("Bearer {token}")), 200)]
    {
        let mut foreign = get("/api/user", &[header]);
        foreign.extensions_mut().insert(Caller { is_origin_allowed: false, ..caller("192.0.2.7") });
        assert_eq!(bench.send(foreign).await.status, wanted, "{header:?}");
    }

    // A page whose user logged out sends an empty token: the cookie must not identify them.
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
async fn a_logout_whose_cookie_cannot_be_ended_has_ended_its_token_and_says_so_to_the_shards() {
    let bench = bench_with(|_, options| options.is_exclusive = false).await;
    let (cookie, token) = login_cookie(&bench).await;
    let url = bench.store.options().default_url();
    let database = SqlitePool::connect(&url).await.expect("the database");
    let fault = "CREATE TRIGGER fault BEFORE DELETE ON tokens WHEN old.scope = 'cookie' \
                 BEGIN SELECT RAISE(ABORT, 'injected'); END";
    sqlx::raw_sql(fault).execute(&database).await.expect("fault");
    let uri = format!("/api/logout?api_token={token}");
    let logout = request(Method::POST, &uri, &[("cookie", &cookie)], Body::empty());
    assert_eq!(bench.send(logout).await.status, 503);
    let revoked = bench.revoked.lock().expect("lock").clone();
    let revoked: Vec<_> = revoked.iter().map(|revoked| Some(revoked.token_hash)).collect();
    assert_eq!(revoked, [hash_token(&token)]);
    assert_eq!(bench.get(&format!("/api/user?api_token={token}")).await.status, 401);
}

/// Whatever the client's connection, or the time that a request may take, ends while it is waited for.
#[tokio::test]
async fn of_a_token_that_has_ended_the_shards_are_notified_whatever_becomes_of_its_request() {
    let mut bench = bench().await;
    bench.register("ann@b.c").await;
    let (notices, mut noticed) = unbounded_channel();
    bench.api = throng_rest::router(Deps {
        on_revoked: Arc::new(move |revoked: Revoked| {
            notices.send(revoked.token_hash).expect("the test listens");
        }),
        ..bench.deps.clone()
    });
    for waits in 0.. {
        let (cookie, token) = log_in(&bench).await;
        let uri = format!("/api/logout?api_token={token}");
        let logout = request(Method::POST, &uri, &[("cookie", &cookie)], Body::empty());
        let answer = bench.give_up(logout, waits).await;
        let hash = hash_token(&token).expect("a token");
        if bench.store.authenticate(hash).await.expect("the store").is_none() {
            let notice = async { while noticed.recv().await.expect("a notice") != hash {} };
            timeout(SOON, notice).await.expect("the shards are notified");
        }
        if let Some(answer) = answer {
            return answer.is(200, json!({ "errno": 0, "message": "Logged out" }));
        }
    }
}

/// Its sessions would act for it still, with nobody left who could log it out.
#[tokio::test]
async fn a_logout_does_not_end_an_api_token_in_the_place_of_the_cookie() {
    let bench = bench().await;
    let (_, token) = login_cookie(&bench).await;
    let (_, other) = log_in(&bench).await;
    let uri = format!("/api/logout?api_token={token}");
    let cookie = format!("throng_session={other}");
    let logout = request(Method::POST, &uri, &[("cookie", &cookie)], Body::empty());
    bench.send(logout).await.is(200, json!({ "errno": 0, "message": "Logged out" }));
    assert_eq!(bench.get(&format!("/api/user?api_token={other}")).await.status, 200);
}

#[tokio::test]
async fn an_expired_token_opens_nothing() {
    let bench = bench_with(|_, options| options.token_lifetime = std::time::Duration::ZERO).await;
    let token = bench.register("ann@b.c").await["api_token"].as_str().expect("token").to_owned();
    assert_eq!(bench.get(&format!("/api/user?api_token={token}")).await.status, 401);
}

#[tokio::test]
async fn the_token_of_a_request_is_looked_up_once() {
    let bench = bench_with(|settings, _| settings.api_per_minute = 60).await;
    let user = bench.register("ann@b.c").await;
    let token = user["api_token"].as_str().expect("token");
    let lookups = || bench.store.metrics().counters.token_lookups.load(Relaxed);
    let bearer = format!("Bearer {token}");
    for request in ["the first", "the second"] {
        let before = lookups();
        let answer = bench.send(get("/api/user", &[("authorization", &bearer)])).await;
        assert_eq!(answer.status, 200);
        assert_eq!(lookups() - before, 1, "{request}");
    }
    // Another one in the body is not the one that was looked up.
    let before = lookups();
    let body = json!({ "api_token": "a".repeat(60) });
    let request = request(
        Method::POST,
        "/api/logout",
        &[("content-type", "application/json"), ("authorization", &bearer)],
        Body::from(body.to_string()),
    );
    bench.send(request).await.is(401, json!({ "message": UNAUTHENTICATED }));
    assert_eq!(lookups() - before, 1);
    let before = lookups();
    let invented = format!("/api/user?api_token={}", "b".repeat(60));
    assert_eq!(bench.get(&invented).await.status, 401);
    assert_eq!(lookups() - before, 1, "one that is not valid");
}

#[tokio::test]
async fn tokens_that_are_not_valid_are_counted_for_the_client_and_valid_ones_are_not() {
    for api_per_minute in [0, 1000] {
        let mut bench = bench_with(|settings, _| settings.api_per_minute = api_per_minute).await;
        let (cookie, token) = login_cookie(&bench).await;
        let bearer = format!("Bearer {token}");
        // Three look-ups, each of which is given back unless the token is not valid.
        let left = Arc::new(AtomicU32::new(3));
        let (takes, gives) = (Arc::clone(&left), Arc::clone(&left));
        bench.api = throng_rest::router(Deps {
            take_lookup: Arc::new(move |_| {
                let taken = takes.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
                taken.map(drop).map_err(|_| Duration::from_millis(1_500))
            }),
            give_back_lookup: Arc::new(move |_| {
                gives.fetch_add(1, Relaxed);
            }),
            ..bench.deps.clone()
        });
        for headers in [[("authorization", bearer.as_str())], [("cookie", cookie.as_str())]] {
            for _ in 0..10 {
                assert_eq!(bench.send(get("/api/user", &headers)).await.status, 200);
            }
        }
        assert_eq!(left.load(Relaxed), 3);
        let lookups = || bench.store.metrics().counters.token_lookups.load(Relaxed);
        let invented = |n: u32| format!("{n}{}", "x".repeat(59));
        let in_body = json!({ "api_token": invented(1) });
        assert_eq!(bench.post("/api/logout", in_body.clone()).await.status, 401);
        let cookie = format!("throng_session={}", invented(2));
        assert_eq!(bench.send(get("/api/user", &[("cookie", &cookie)])).await.status, 401);
        let in_query = format!("/api/user?api_token={}", invented(3));
        assert_eq!(bench.get(&in_query).await.status, 401);
        let before = lookups();
        for refused in [
            bench.get(&in_query).await,
            bench.send(get("/api/user", &[("cookie", &cookie)])).await,
            bench.post("/api/logout", in_body).await,
        ] {
            refused.is(429, json!({ "message": "Too Many Attempts." }));
            assert_eq!(refused.header("retry-after"), "2");
            assert_eq!(refused.exceeded, "limits.invalid_tokens_per_s");
        }
        assert_eq!(lookups(), before, "the store is not asked");
        assert!(bench.deps.counters.token_lookups_refused.load(Relaxed) >= 3);
    }
}

/// A client that closes its connection meanwhile neither loses anything by it nor gains.
#[tokio::test]
async fn a_token_whose_request_was_given_up_counts_as_any_other() {
    let mut bench = bench().await;
    let (_, token) = login_cookie(&bench).await;
    let left = Arc::new(AtomicU32::new(1));
    let (takes, gives) = (Arc::clone(&left), Arc::clone(&left));
    let (given, mut returns) = unbounded_channel();
    bench.api = throng_rest::router(Deps {
        take_lookup: Arc::new(move |_| {
            let taken = takes.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            taken.map(drop).map_err(|_| Duration::from_secs(1))
        }),
        give_back_lookup: Arc::new(move |_| {
            gives.fetch_add(1, Relaxed);
            given.send(()).expect("the test listens");
        }),
        ..bench.deps.clone()
    });
    let user = |token: &str| get(&format!("/api/user?api_token={token}"), &[]);
    for waits in 0.. {
        let answer = bench.give_up(user(&token), waits).await;
        let given_back = async {
            while left.load(Relaxed) == 0 {
                returns.recv().await.expect("the router has the sender");
            }
        };
        timeout(SOON, given_back).await.expect("a valid token is given back");
        if let Some(answer) = answer {
            assert_eq!(answer.status, 200);
            break;
        }
    }
    assert!(bench.give_up(user(&"x".repeat(60)), 0).await.is_none());
    assert_eq!(left.load(Relaxed), 0, "it is being looked up");
    assert_eq!(bench.send(user(&token)).await.status, 429);
}
