//! Files, pages, health, throttle, other origins.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};
use throng_health::{Need, State};

use crate::common::{Answer, Bench, bench, bench_with, caller, cookie_of, get, post, request};

#[tokio::test]
async fn default_avatars_are_pictures_without_script() {
    let bench = bench().await;
    let mut seen = std::collections::HashSet::new();
    for number in 0..16 {
        let answer = bench.get(&format!("/avatars/{number}.svg")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "image/svg+xml");
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'");
        assert!(answer.text().starts_with("<svg ") && answer.text().ends_with("</svg>"));
        seen.insert(answer.text());
    }
    assert_eq!(seen.len(), 16);
    for missing in ["16.svg", "-1.svg", "00.svg", "+1.svg", "1.png", "1", "x.svg", ".svg"] {
        assert_eq!(bench.get(&format!("/avatars/{missing}")).await.status, 404, "{missing}");
    }
}

#[tokio::test]
async fn storage_serves_what_the_store_made_and_nothing_else() {
    let bench = bench().await;
    let hash = "ab".repeat(32);
    let shelf = bench.dir.path().join("data/storage/images/messages/ab");
    std::fs::create_dir_all(&shelf).expect("folder");
    std::fs::write(shelf.join(format!("{hash}.svg")), "<svg/>").expect("write");
    std::fs::write(shelf.join("plain.png"), "x").expect("write");
    std::fs::write(bench.dir.path().join("data/secret.png"), "secret").expect("write");
    let paths = [
        format!("/storage/images/messages/ab/{hash}.png"),
        format!("/storage/images/messages/ab/{hash}.svg"),
        "/storage/images/messages/ab/plain.png".into(),
        "/storage/images/messages/ab/".into(),
        "/storage/images/messages".into(),
        "/storage/".into(),
        "/storage/../secret.png".into(),
        "/storage/images/../../secret.png".into(),
        "/storage/images/messages/../../../secret.png".into(),
        "/storage/..%2f..%2fsecret.png".into(),
        "/storage/%2e%2e/%2e%2e/secret.png".into(),
        "/storage/images/messages/%2e%2e/%2e%2e/%2e%2e/throng.db".into(),
        "/storage//etc/passwd".into(),
        "/storage/images/messages/ab/x%00.png".into(),
    ];
    for path in paths {
        let answer = bench.get(&path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("secret"), "{path}");
    }
    std::fs::write(shelf.join(format!("{hash}.png")), "found").expect("write");
    let answer = bench.get(&format!("/storage/images/messages/ab/{hash}.png")).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "found"));
}

#[tokio::test]
async fn machines_learn_health_readiness_and_metrics() {
    let bench = bench().await;
    bench.get("/health").await.is(200, json!({ "status": "ok" }));
    let check = |answer: &Answer, status: u16, checks: Value| {
        let body = answer.json();
        assert_eq!((answer.status.as_u16(), &body["checks"]), (status, &checks));
        assert_eq!(body["ready"], status == 200);
        let for_s = body["for_s"].as_object().expect("an object");
        assert_eq!(for_s.len(), checks.as_object().expect("an object").len());
        assert!(for_s.values().all(Value::is_u64), "{body}");
    };
    let works = json!({ "store": "ok", "disk": "ok", "lock": "ok" });
    check(&bench.get("/ready").await, 200, works);
    let metrics = bench.get("/metrics").await;
    assert_eq!((metrics.status.as_u16(), metrics.text().as_str()), (200, "throng_rooms 2\n"));
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    // Asked of memory, so it is answered at once whatever the store does.
    bench.store.close().await;
    let store = bench.store.options().health.depends_on("store", Need::Required);
    store.set(State::Down("the disk is full".into()));
    let answer = bench.get("/ready").await;
    let mut checks = json!({ "store": "down: the disk is full", "disk": "ok", "lock": "ok" });
    check(&answer, 503, checks.clone());
    assert_eq!(answer.header("retry-after"), "5");
    let redis = bench.store.options().health.depends_on("redis", Need::Optional);
    store.set(State::Ok);
    redis.set(State::Down("timeout".into()));
    checks["store"] = json!("ok");
    checks["redis"] = json!("down: timeout");
    check(&bench.get("/ready").await, 200, checks);
    bench.get("/health").await.is(200, json!({ "status": "ok" }));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let bench = bench().await;
    for uri in ["/api/user?api_token=x", "/api/other", "/avatars/3.svg", "/health"] {
        bench.get(uri).await;
    }
    let requests = bench.requests.lock().expect("lock").clone();
    let want =
        [("/api/user", 401), ("/api/{*rest}", 404), ("/avatars/{file}", 200), ("/health", 200)];
    let requests: Vec<_> =
        requests.iter().map(|(route, status)| (route.as_str(), *status)).collect();
    assert_eq!(requests, want);
}

#[tokio::test]
async fn the_throttle_lets_so_many_through_and_not_one_more() {
    let bench = bench_with(|settings, _| settings.api_per_minute = 3).await;
    let from = |address: &str, uri: &str| {
        let mut request = get(uri, &[]);
        request.extensions_mut().insert(caller(address));
        request
    };
    for (uri, remaining) in [("/api/user", "2"), ("/api/rooms", "1"), ("/api/nothing", "0")] {
        let answer = bench.send(from("192.0.2.1", uri)).await;
        assert_ne!(answer.status, 429);
        assert_eq!(answer.header("x-ratelimit-limit"), "3");
        assert_eq!(answer.header("x-ratelimit-remaining"), remaining);
    }
    let answer = bench.send(from("192.0.2.1", "/api/user")).await;
    answer.is(429, json!({ "message": "Too Many Attempts." }));
    assert_eq!(answer.exceeded, "http.api_per_minute");
    assert_eq!(answer.header("x-ratelimit-limit"), "3");
    assert_eq!(answer.header("x-ratelimit-remaining"), "0");
    let wait: u32 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "{wait}");
    // Neither other clients nor other routes are concerned.
    assert_eq!(bench.send(from("192.0.2.2", "/api/user")).await.status, 401);
    assert_eq!(bench.send(from("192.0.2.1", "/health")).await.status, 200);
    assert_eq!(bench.send(from("192.0.2.1", "/avatars/1.svg")).await.status, 200);
}

/// Statuses of so many requests from one address.
async fn statuses(bench: &Bench, uri: &str, headers: &[(&str, &str)], count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(bench.send(get(uri, headers)).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn requests_with_a_valid_token_count_for_its_user() {
    let bench = bench_with(|settings, _| {
        settings.api_per_minute = 5;
        settings.api_per_user_per_minute = 3;
    })
    .await;
    let body = json!({ "name": "ann@b.c", "password": "secret" });
    let registered = bench.post("/api/register", body).await;
    let token = registered.json()["user"]["api_token"].as_str().expect("token").to_owned();
    let cookie = cookie_of(&registered);
    let bearer = format!("Bearer {token}");
    let with_token = [("authorization", bearer.as_str())];
    assert_eq!(statuses(&bench, "/api/user", &with_token, 4).await, [200, 200, 200, 429]);
    let refused = bench.send(get("/api/user", &with_token)).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-ratelimit-limit")), (429, "3"));
    assert_eq!(refused.exceeded, "http.api_per_user_per_minute");
    assert!((1..=20).contains(&refused.header("retry-after").parse::<u32>().expect("seconds")));
    // The cookie is another token of the same user.
    let with_cookie = [("cookie", cookie.as_str())];
    assert_eq!(statuses(&bench, "/api/user", &with_cookie, 1).await, [429]);
    // Invented tokens count for the address, which has four requests left.
    let invented: Vec<String> = (0..5).map(|n| format!("Bearer {n}{}", "x".repeat(59))).collect();
    for (bearer, want) in invented.iter().zip([401, 401, 401, 401, 429]) {
        let answer = bench.send(get("/api/user", &[("authorization", bearer)])).await;
        assert_eq!(answer.status, want);
    }
}

#[tokio::test]
async fn those_who_show_valid_tokens_are_not_kept_out_by_a_neighbour() {
    let bench = bench_with(|settings, _| settings.api_per_minute = 3).await;
    let token = bench.register("ann@b.c").await["api_token"].as_str().expect("token").to_owned();
    assert_eq!(statuses(&bench, "/api/user", &[], 3).await, [401, 401, 429]);
    let user = format!("/api/user?api_token={token}");
    assert_eq!(statuses(&bench, &user, &[], 5).await, [200; 5]);
}

#[tokio::test]
async fn a_token_does_not_help_to_guess_passwords() {
    let bench = bench_with(|settings, _| settings.api_per_minute = 4).await;
    let token = bench.register("ann@b.c").await["api_token"].as_str().expect("token").to_owned();
    let user = format!("/api/user?api_token={token}");
    assert_eq!(statuses(&bench, &user, &[], 2).await, [200, 200]);
    let uri = format!("/api/login?api_token={token}");
    let mut seen = Vec::new();
    for _ in 0..4 {
        let body = json!({ "name": "ann@b.c", "password": "guess!" }).to_string();
        seen.push(bench.send(post(&uri, "application/json", body)).await.status.as_u16());
    }
    assert_eq!(seen, [200, 200, 200, 429]);
}

#[tokio::test]
async fn operators_may_have_an_address_of_their_own() {
    let bench = bench_with(|settings, _| settings.is_operation_public = false).await;
    for uri in ["/health", "/ready", "/metrics"] {
        assert_eq!(bench.get(uri).await.status, 404, "{uri}");
    }
    let admin = Bench { api: throng_rest::admin_router(bench.deps.clone()), ..bench };
    for uri in ["/health", "/ready", "/metrics"] {
        assert_eq!(admin.get(uri).await.status, 200, "{uri}");
    }
    for uri in ["/", "/api/user", "/avatars/1.svg"] {
        assert_eq!(admin.get(uri).await.status, 404, "{uri}");
    }
}

#[tokio::test]
async fn only_the_bundles_of_socket_io_are_served_in_its_folder() {
    let bench = bench().await;
    for name in
        ["", "package.json", "socket.io.js.br", "..%2findex.html", "%2e%2e/index.html", "x.js"]
    {
        assert_eq!(bench.get(&format!("/socket.io/{name}")).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn only_listed_origins_may_read_answers() {
    let listed = "https://chat.example";
    let bench = bench_with(|settings, _| {
        settings.allowed_origins = vec![listed.into()];
        settings.api_per_minute = 1;
    })
    .await;
    let preflight = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-requested-with"),
        ];
        request(Method::OPTIONS, "/api/login", &headers, Body::empty())
    };
    let answer = bench.send(preflight(listed)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), listed);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    assert_eq!(answer.header("access-control-allow-headers"), "content-type,x-requested-with");
    let answer = bench.send(preflight("https://evil.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");

    // A refusal by the throttle can be read too.
    for status in [401, 429] {
        let answer = bench.send(get("/api/user", &[("origin", listed)])).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), listed);
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
    }
    let closed = crate::common::bench().await;
    let answer = closed.send(get("/api/user", &[("origin", listed)])).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn another_front_end_is_served_as_it_is_but_for_private_files() {
    let folder = tempfile::tempdir().expect("tempdir");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        std::fs::write(path, text).expect("write");
    };
    write("public/index.html", "<title>聊天</title><script>1</script>");
    write("public/js/app.js", "let x = '你好'");
    write("public/css/app.css", "a{}");
    write("public/favicon.ico", "");
    write("public/.env", "SECRET=1");
    write("public/index.php", "<?php");
    write("outside.txt", "SECRET=2");
    for reserved in ["api", "storage", "socket.io", "ws"] {
        write(&format!("public/{reserved}/file.txt"), "SECRET=3");
        write(&format!("public/{reserved}/index.html"), "SECRET=3");
    }
    let dir = folder.path().join("public");
    let bench = bench_with(|settings, _| settings.static_dir = Some(dir)).await;
    for uri in ["/", "/index.html", "/?x=1"] {
        let page = bench.get(uri).await;
        assert_eq!(
            (page.status.as_u16(), page.header("content-type")),
            (200, "text/html; charset=UTF-8")
        );
        assert!(page.text().contains("聊天"));
        assert_eq!(page.header("content-security-policy"), "", "its inline script must run");
        assert_eq!(page.header("referrer-policy"), "same-origin");
    }
    let script = bench.get("/js/app.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=UTF-8");
    let style = bench.get("/css/app.css").await;
    assert_eq!(style.header("content-type"), "text/css; charset=UTF-8");
    let icon = bench.get("/favicon.ico").await;
    assert_eq!((icon.status.as_u16(), icon.bytes.len()), (200, 0));
    for uri in [
        "/.env",
        "/%2eenv",
        "/index.php",
        "/index.PHP",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/js/..%2f..%2foutside.txt",
        "/missing.html",
        "/rooms/1",
        "/api/file.txt",
        "/%61pi/file.txt",
        "//api/file.txt",
        "/storage",
        "/storage/",
        "/storage/file.txt",
        "/%73torage/file.txt",
        "/socket.io/file.txt",
        "/socket.io/",
        "/ws",
        "/ws/",
        "/js/../ws/file.txt",
    ] {
        let answer = bench.get(uri).await;
        assert_eq!(answer.status, 404, "{uri}");
        assert!(!answer.text().contains("SECRET"), "{uri}");
    }
    let posted = request(Method::POST, "/index.html", &[], Body::empty());
    assert_eq!(bench.send(posted).await.status, 405);
    // The API stays in front.
    assert_eq!(bench.get("/api/user").await.status, 401);
}
