//! Answers to requests that no route serves.

use serde_json::json;

use crate::common::{UNAUTHENTICATED, bench, bench_with, field, multipart, post};

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
async fn a_store_that_fails_is_answered_as_unavailable() {
    let bench = bench().await;
    let token = bench.register("ann@b.c").await["api_token"].as_str().expect("token").to_owned();
    bench.store.close().await;
    let unavailable = json!({ "message": "Service Unavailable" });
    let uri = format!("/api/user?api_token={token}");
    let answer = bench.get(&uri).await;
    answer.is(503, unavailable.clone());
    assert_eq!(answer.header("retry-after"), "5");
    let body = json!({ "name": "b@b.c", "password": "secret" });
    bench.post("/api/register", body.clone()).await.is(503, unavailable.clone());
    bench.post("/api/login", body).await.is(503, unavailable);
}
