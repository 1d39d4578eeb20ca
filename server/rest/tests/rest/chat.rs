//! Rooms, history, uploads, the robot.

use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Method;
use http_body::Frame;
use serde_json::{Value, json};
use throng_rest::{Deps, OverLimit, RobotUrl};
use throng_store::{NewMessage, UserRow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::common::{Bench, Part, bench, bench_with, caller, field, multipart, png, request};

const BAD_MESSAGE_IMAGE: &str = "Invalid parameters (room or image file is missing or invalid)";
const BAD_AVATAR: &str = "Invalid parameters (the avatar image is missing or invalid)";

async fn user(bench: &Bench, email: &str) -> (u32, String) {
    let user = bench.register(email).await;
    let id = user["id"].as_u64().expect("id");
    (u32::try_from(id).expect("u32"), user["api_token"].as_str().expect("token").to_owned())
}

fn message(user: u32, msg: String) -> NewMessage {
    NewMessage { user, msg, img: String::new(), time: "2026-11-23T00:31:11.784Z".into(), cid: None }
}

#[tokio::test]
async fn rooms_are_listed_with_who_is_there_and_what_is_unread() {
    let bench = bench().await;
    let (id, token) = user(&bench, "ann@b.c").await;
    for room in [1, 2] {
        let messages = (1..=5).map(|n| message(id, n.to_string())).collect();
        bench.store.append(room, Some(1), messages).await.expect("append");
        bench.store.save_read(id, room, 3, false).await.expect("save");
    }
    bench.store.create_room(7).await.expect("room");
    bench.get(&format!("/api/rooms?api_token={token}")).await.is(
        200,
        json!({
            "errno": 0,
            "rooms": [
                { "id": 1, "name": "Lobby", "online": 11, "seq": 5, "unread": 2 },
                // The user is in room 2 now, so they have read it.
                { "id": 2, "name": "Lounge", "online": 12, "seq": 5, "unread": 0 },
                { "id": 7, "name": "Room 7", "online": 17, "seq": 0, "unread": 0 },
            ],
        }),
    );
}

#[tokio::test]
async fn the_history_has_client_ids_for_their_author_only() {
    let bench = bench().await;
    let (ann, token) = user(&bench, "ann@b.c").await;
    let (bob, _) = user(&bench, "bob@b.c").await;
    let with_cid =
        |user, cid: &str| NewMessage { cid: Some(cid.into()), ..message(user, "x".into()) };
    let messages =
        vec![with_cid(ann, "of-ann"), with_cid(bob, "of-bob"), message(ann, "none".into())];
    bench.store.append(1, Some(1), messages).await.expect("append");
    let uri = format!("/api/history/message?total=0&current=1&roomid=1&api_token={token}");
    let answer = bench.get(&uri).await.json();
    let rows = answer["data"]["data"].as_array().expect("rows");
    let cids: Vec<_> = rows.iter().map(|row| row.get("cid").cloned()).collect();
    assert_eq!(cids, [Some(json!("of-ann")), None, None]);
}

#[tokio::test]
async fn history_has_the_own_email_and_hides_those_of_others() {
    let bench = bench().await;
    let (ann, token) = user(&bench, "ann@b.c").await;
    let (bob, _) = user(&bench, "bob@b.c").await;
    let messages = vec![message(ann, "&lt;b>".into()), message(bob, "two".into())];
    let ids = bench.store.append(1, Some(1), messages).await.expect("append").ids;
    let uri = format!("/api/history/message?total=0&current=1&roomid=1&api_token={token}");
    let body = bench.get(&uri).await.json();
    let avatar = |n: usize| body["data"]["data"][n]["src"].clone();
    let time = "2026-11-23T00:31:11.784Z";
    assert_eq!(
        body,
        json!({
            "data": {
                "errno": 0,
                "data": [
                    { "id": ids[0], "userid": "ann@b.c", "username": "ann", "src": avatar(0),
                      "msg": "&lt;b>", "img": "", "roomid": 1, "time": time, "seq": 1 },
                    { "id": ids[1], "userid": format!("u{bob}"), "username": "bob",
                      "src": avatar(1), "msg": "two", "img": "", "roomid": 1, "time": time,
                      "seq": 2 },
                ],
                "total": 2,
                "current": 1,
            },
        })
    );
    assert!(avatar(0).as_str().expect("string").starts_with("/avatars/"));
    assert!(!body.to_string().contains("bob@b.c"));
}

#[tokio::test]
async fn pages_of_history_are_anchored_by_the_first_answer() {
    let bench = bench().await;
    let (id, token) = user(&bench, "ann@b.c").await;
    let write = async |from: u64, to: u64| {
        let messages = (from..=to).map(|n| message(id, n.to_string())).collect();
        bench.store.append(1, Some(from), messages).await.expect("append");
    };
    let page = async |current: &str, total: &str| {
        let uri = format!(
            "/api/history/message?roomid=1&current={current}&total={total}&api_token={token}"
        );
        let data = bench.get(&uri).await.json()["data"].clone();
        let rows = data["data"].as_array().expect("rows");
        let seqs: Vec<u64> = rows.iter().map(|row| row["seq"].as_u64().expect("seq")).collect();
        (seqs, data["total"].as_u64().expect("total"))
    };
    write(1, 41).await;
    assert_eq!(page("1", "0").await, ((22..=41).collect(), 41));
    write(42, 50).await;
    assert_eq!(page("2", "41").await, ((2..=21).collect(), 41));
    assert_eq!(page("3", "41").await, (vec![1], 41));
    assert_eq!(page("4", "41").await, (vec![], 41));
    assert_eq!(page("18446744073709551615", "41").await, (vec![], 41));
    for total in ["51", "x", "", "-1"] {
        assert_eq!(page("1", total).await, ((31..=50).collect(), 50), "{total}");
    }
}

#[tokio::test]
async fn history_of_a_bad_room_or_page_is_errno_1() {
    let bench = bench().await;
    let (_, token) = user(&bench, "ann@b.c").await;
    let refused = json!({ "data": { "errno": 1 } });
    for query in [
        "current=1",
        "roomid=1",
        "roomid=0&current=1",
        "roomid=-1&current=1",
        "roomid=1&current=0",
        "roomid=1&current=-3",
        "roomid=x&current=1",
        "roomid=1&current=x",
        "roomid=3&current=1",
        "roomid=4294967297&current=1",
        "roomid=99999999999999999999&current=1",
        "roomid[]=1&current=1",
    ] {
        let uri = format!("/api/history/message?{query}&api_token={token}");
        bench.get(&uri).await.is(200, refused.clone());
    }
}

/// An upload as the original client sends it: all fields in the body.
fn upload(uri: &str, token: &str, room: &str, body: &[u8], kind: &str) -> axum::extract::Request {
    let file = Part { name: "file", file: Some(("picture.jpg", kind)), body };
    multipart(uri, &[file, field("api_token", token), field("roomid", room)])
}

#[tokio::test]
async fn an_image_is_kept_under_its_hash_and_served_safely() {
    let bench = bench().await;
    let (_, token) = user(&bench, "ann@b.c").await;
    // Name and type are the client's words; the content counts.
    let request_ = upload("/api/file/uploadimg", &token, "1", &png(), "image/jpeg");
    let body = bench.send(request_).await.json();
    assert_eq!((&body["errno"], &body["msg"]), (&json!(200), &json!("Saved")));
    let url = body["url"].as_str().expect("url");
    assert!(url.starts_with("/storage/images/messages/") && url.ends_with(".png"), "{url}");
    // The original client appends a resize query for another service.
    for uri in [url.to_owned(), format!("{url}?imageView2/2/w/360")] {
        let image = bench.get(&uri).await;
        assert_eq!((image.status.as_u16(), &image.bytes), (200, &png()));
        assert_eq!(image.header("content-type"), "image/png");
        assert_eq!(image.header("x-content-type-options"), "nosniff");
        assert_eq!(image.header("content-security-policy"), "default-src 'none'");
        assert_eq!(image.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(image.header("referrer-policy"), "same-origin");
    }
    let head = bench.send(request(Method::HEAD, url, &[], Body::empty())).await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0));
    let part = bench.send(crate::common::get(url, &[("range", "bytes=1-3")])).await;
    assert_eq!((part.status.as_u16(), part.bytes.as_slice()), (206, &b"PNG"[..]));
    assert_eq!(bench.store.room(1).await.expect("query").expect("room").last_seq, 0);
}

#[tokio::test]
async fn an_upload_without_room_or_image_is_refused() {
    let bench = bench().await;
    let (_, token) = user(&bench, "ann@b.c").await;
    let refused = json!({ "errno": 500, "msg": BAD_MESSAGE_IMAGE });
    for room in ["", "0", "x", "-1", "3", "1.0", "4294967297"] {
        let request = upload("/api/file/uploadimg", &token, room, &png(), "image/png");
        bench.send(request).await.is(200, refused.clone());
    }
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let html = b"<!doctype html><script>alert(1)</script>";
    let bodies: [&[u8]; 6] = [svg, html, b"<?php phpinfo();", b"", b"GIF8", &png()[..20]];
    for (body, kind) in bodies
        .iter()
        .flat_map(|body| ["image/png", "image/svg+xml", "text/html"].map(|kind| (*body, kind)))
    {
        let request = upload("/api/file/uploadimg", &token, "1", body, kind);
        bench.send(request).await.is(200, refused.clone());
        let request = upload("/api/file/avatar", &token, "1", body, kind);
        bench.send(request).await.is(200, json!({ "errno": 500, "msg": BAD_AVATAR }));
    }
    let without_file =
        multipart("/api/file/uploadimg", &[field("api_token", &token), field("roomid", "1")]);
    bench.send(without_file).await.is(200, refused.clone());
    let no_multipart = json!({ "api_token": token, "roomid": "1", "file": "x" });
    bench.post("/api/file/uploadimg", no_multipart).await.is(200, refused);
    assert!(bench.changed.lock().expect("lock").is_empty());
    let folder = bench.dir.path().join("data/storage/images/messages");
    assert_eq!(std::fs::read_dir(folder).expect("it is there").count(), 1, "its mark alone");
}

#[tokio::test]
async fn a_new_avatar_loads_from_the_root_and_the_shards_are_notified() {
    let bench = bench().await;
    let (id, token) = user(&bench, "ann@b.c").await;
    let file = Part { name: "file", file: Some(("me.jpg", "image/jpeg")), body: &png() };
    let body =
        bench.send(multipart(&format!("/api/file/avatar?api_token={token}"), &[file])).await.json();
    let url = body["data"]["url"].as_str().expect("url").to_owned();
    assert_eq!(body, json!({ "errno": 0, "data": { "url": url }, "msg": "Saved" }));
    assert!(url.starts_with("/storage/images/avatars/"), "{url}");
    assert_eq!(bench.get(&url).await.status, 200);
    let answer = bench.get(&format!("/api/user?api_token={token}")).await.json();
    assert_eq!(answer["avatar"], url.as_str());
    let changed = bench.changed.lock().expect("lock").clone();
    assert_eq!(
        changed.iter().map(|user| (user.id, user.avatar.as_str())).collect::<Vec<_>>(),
        [(id, url.as_str())]
    );
}

#[tokio::test]
async fn of_an_avatar_that_has_changed_the_shards_are_notified_whatever_becomes_of_its_request() {
    let mut bench = bench().await;
    let (notices, mut noticed) = tokio::sync::mpsc::unbounded_channel();
    bench.api = throng_rest::router(Deps {
        on_user_changed: Arc::new(move |user: &UserRow| {
            notices.send((user.id, user.avatar.clone())).expect("the test listens");
        }),
        ..bench.deps.clone()
    });
    for waits in 0.. {
        let (id, token) = user(&bench, &format!("{waits}@b.c")).await;
        let avatar = async || {
            let user = bench.store.user(id).await.expect("the store").expect("the user");
            user.avatar
        };
        let before = avatar().await;
        let file = Part { name: "file", file: Some(("me.png", "image/png")), body: &png() };
        let request = multipart(&format!("/api/file/avatar?api_token={token}"), &[file]);
        let answer = bench.give_up(request, waits).await;
        let after = avatar().await;
        if after != before {
            let changed = (id, after);
            let notice = async { while noticed.recv().await.expect("a notice") != changed {} };
            let notice = tokio::time::timeout(Duration::from_secs(10), notice).await;
            notice.expect("the shards are notified");
        }
        if let Some(answer) = answer {
            assert_eq!(answer.json()["errno"], 0);
            return;
        }
    }
}

#[tokio::test]
async fn uploads_are_bounded_in_bytes_and_fields() {
    let bench = bench_with(|settings, options| {
        settings.upload_bytes_max = 4096;
        options.image_bytes_max = 1024;
    })
    .await;
    let (_, token) = user(&bench, "ann@b.c").await;
    let padded = |bytes: usize| {
        let mut image = png();
        image.resize(bytes, 0);
        image
    };
    let send = async |image: Vec<u8>| {
        bench.send(upload("/api/file/uploadimg", &token, "1", &image, "image/png")).await
    };
    assert_eq!(send(padded(1024)).await.json()["errno"], 200);
    send(padded(1025)).await.is(200, json!({ "errno": 500, "msg": BAD_MESSAGE_IMAGE }));
    send(padded(8192)).await.is(413, json!({ "message": "Payload Too Large" }));
    let unannounced = stalled("/api/file/uploadimg", &"x".repeat(4097));
    bench.send(unannounced).await.is(413, json!({ "message": "Payload Too Large" }));
    let many: Vec<Part<'_>> = (0..40).map(|_| field("x", "1")).collect();
    let answer = bench.send(multipart("/api/file/uploadimg", &many)).await;
    answer.is(400, json!({ "message": "Bad Request" }));
    let broken = crate::common::post(
        "/api/file/uploadimg",
        "multipart/form-data; boundary=edge",
        "--edge\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhalf",
    );
    bench.send(broken).await.is(400, json!({ "message": "Bad Request" }));
    let without_boundary = crate::common::post("/api/file/uploadimg", "multipart/form-data", "x");
    bench.send(without_boundary).await.is(400, json!({ "message": "Bad Request" }));
}

#[tokio::test]
async fn an_upload_beyond_what_its_user_may_send_is_refused_until_it_is_free_again() {
    let mut bench = bench().await;
    let (id, token) = user(&bench, "ann@b.c").await;
    let (_, other) = user(&bench, "bob@b.c").await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let deps = Deps {
        take_upload: Arc::new(move |user, bytes| {
            log.lock().expect("lock").push((user, bytes));
            if user == id {
                let wait = Duration::from_millis(41_500);
                return Err(OverLimit { setting: "limits.uploads_per_minute", wait });
            }
            Ok(())
        }),
        ..bench.deps.clone()
    };
    bench.api = throng_rest::router(deps);
    for uri in ["/api/file/uploadimg", "/api/file/avatar"] {
        let refused = bench.send(upload(uri, &token, "1", &png(), "image/png")).await;
        refused.is(429, json!({ "message": "Too Many Attempts." }));
        assert_eq!(refused.header("retry-after"), "42");
        assert_eq!(refused.exceeded, "limits.uploads_per_minute");
    }
    let folder = bench.dir.path().join("data/storage/images/messages");
    assert_eq!(std::fs::read_dir(folder).expect("it is there").count(), 1, "its mark alone");
    let saved = bench.send(upload("/api/file/uploadimg", &other, "1", &png(), "image/png")).await;
    assert_eq!(saved.json()["errno"], 200);
    let bytes = png().len() as u64;
    assert_eq!(*asked.lock().expect("lock"), [(id, bytes), (id, bytes), (id + 1, bytes)]);
    // What is no upload at all is not booked.
    bench.send(upload("/api/file/uploadimg", &token, "99", &png(), "image/png")).await;
    assert_eq!(asked.lock().expect("lock").len(), 3);
}

/// A body that begins like this and never ends.
struct Endless(Option<Bytes>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Poll::Pending,
        }
    }
}

fn stalled(uri: &str, begin: &str) -> axum::extract::Request {
    let is_upload = uri.starts_with("/api/file/");
    let kind = if is_upload { "multipart/form-data; boundary=edge" } else { "application/json" };
    let begin = (!begin.is_empty()).then(|| Bytes::from(begin.to_owned()));
    crate::common::post(uri, kind, Body::new(Endless(begin)))
}

/// The text field of an upload, and the beginning of its file.
fn field_then_file(name: &str, value: &str) -> String {
    format!(
        "--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n\
         --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx"
    )
}

const UPLOADS: [&str; 2] = ["/api/file/uploadimg", "/api/file/avatar"];

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let late = json!({ "message": "Request Timeout" });
    type Change = fn(&mut throng_rest::Settings);
    let in_time: Change = |settings| settings.body_timeout_ms = 20;
    let whole: Change = |settings| {
        settings.request_timeout_ms = 20;
        settings.upload_timeout_ms = 20;
    };
    for change in [in_time, whole] {
        let bench = bench_with(|settings, _| change(settings)).await;
        for uri in ["/api/file/avatar", "/api/file/uploadimg", "/api/login", "/api/logout"] {
            for begin in ["", "{"] {
                bench.send(stalled(uri, begin)).await.is(408, late.clone());
            }
        }
    }
    let bench = bench_with(|settings, _| in_time(settings)).await;
    let (_, token) = user(&bench, "ann@b.c").await;
    let own = format!("/api/file/avatar?api_token={token}");
    bench.send(stalled(&own, "--edge")).await.is(408, late);
}

#[tokio::test]
async fn who_uploads_is_asked_before_the_body_is_read() {
    let bench = bench().await;
    let (_, token) = user(&bench, "ann@b.c").await;
    let unauthenticated = json!({ "message": crate::common::UNAUTHENTICATED });
    let unknown = "x".repeat(60);
    for uri in UPLOADS {
        for wrong in [unknown.as_str(), "short"] {
            // Nothing more of the body comes, and nobody waits for it.
            let in_query = stalled(&format!("{uri}?api_token={wrong}"), "");
            bench.send(in_query).await.is(401, unauthenticated.clone());
            let in_field = stalled(uri, &field_then_file("api_token", wrong));
            bench.send(in_field).await.is(401, unauthenticated.clone());
            // One in the body comes before a Bearer token, so that it is waited for.
            let mut both = stalled(uri, &field_then_file("api_token", wrong));
            let bearer = format!("Bearer {token}").parse().expect("visible ASCII");
            both.headers_mut().insert("authorization", bearer);
            bench.send(both).await.is(401, unauthenticated.clone());
        }
    }
    let right = multipart(
        &format!("/api/file/avatar?api_token={token}"),
        &[
            field("api_token", &unknown),
            Part { name: "file", file: Some(("a.png", "image/png")), body: &png() },
        ],
    );
    assert_eq!(bench.send(right).await.json()["errno"], 0, "the query decides");
}

/// Sends a request that stalls, on a task of its own.
fn begin(bench: &Bench, mut request: axum::extract::Request) -> JoinHandle<u16> {
    request.extensions_mut().insert(caller("192.0.2.7"));
    let api = bench.api.clone();
    tokio::spawn(async move { api.oneshot(request).await.expect("infallible").status().as_u16() })
}

#[tokio::test]
async fn slow_uploads_hold_nobody_up() {
    let bench = bench_with(|settings, _| settings.body_timeout_ms = 5_000).await;
    let (_, slow) = user(&bench, "ann@b.c").await;
    let (_, quick) = user(&bench, "bob@b.c").await;
    let stalled_of = |uri: &str, token: &str| {
        [
            begin(&bench, stalled(uri, "")),
            begin(&bench, stalled(uri, &field_then_file("roomid", "1"))),
            begin(&bench, stalled(uri, &field_then_file("api_token", token))),
            begin(&bench, stalled(&format!("{uri}?api_token={token}"), "--edge")),
        ]
    };
    let held: Vec<_> = (0..20).flat_map(|n| stalled_of(UPLOADS[n % 2], &slow)).collect();
    let bodies = || bench.deps.counters.bodies.load(Relaxed);
    while bodies() < 80 {
        tokio::task::yield_now().await;
    }
    for token in [&quick, &slow] {
        let in_query = format!("/api/file/uploadimg?api_token={token}");
        for uri in [in_query.as_str(), "/api/file/uploadimg"] {
            let answer = bench.send(upload(uri, token, "1", &png(), "image/png")).await;
            assert_eq!(answer.json()["errno"], 200);
        }
    }
    assert_eq!(bodies(), 80, "all of this was while they stalled");
    for held in held {
        assert_eq!(held.await.expect("it does not panic"), 408);
    }
    assert_eq!((bodies(), bench.deps.counters.bodies_bytes.load(Relaxed)), (0, 0));
    assert_eq!(bench.deps.counters.bodies_too_slow.load(Relaxed), 80);
}

#[tokio::test]
async fn uploads_under_way_are_bounded_and_the_refused_may_be_sent_again() {
    let bench = bench_with(|settings, _| {
        settings.upload_bytes_max = 1 << 20;
        settings.uploads_mib_per_user_max = 1;
        settings.uploads_mib_max = 2;
        settings.uploads_mib_anonymous_max = 1;
    })
    .await;
    let (_, ann) = user(&bench, "ann@b.c").await;
    let (_, bob) = user(&bench, "bob@b.c").await;
    let large = "x".repeat(700_000);
    let held = begin(&bench, stalled(&format!("/api/file/avatar?api_token={ann}"), &large));
    let bytes = || bench.deps.counters.bodies_bytes.load(Relaxed);
    while bytes() < 700_000 {
        tokio::task::yield_now().await;
    }
    let again = |token: &str| stalled(&format!("/api/file/avatar?api_token={token}"), &large);
    let refused = bench.send(again(&ann)).await;
    refused.is(429, json!({ "message": "Too Many Attempts." }));
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(refused.exceeded, "http.uploads_mib_per_user_max");
    let of_bob = begin(&bench, again(&bob));
    while bytes() < 1_400_000 {
        tokio::task::yield_now().await;
    }
    // Strangers have a budget of their own.
    let of_stranger = begin(&bench, stalled("/api/file/avatar", &large));
    while bytes() < 2_100_000 {
        tokio::task::yield_now().await;
    }
    let refused = bench.send(stalled("/api/file/avatar", &"x".repeat(800_000))).await;
    refused.is(503, json!({ "message": "Service Unavailable" }));
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(refused.exceeded, "http.uploads_mib_anonymous_max");
    for held in [held, of_bob, of_stranger] {
        assert!(!held.is_finished());
        held.abort();
    }
    while bytes() > 0 {
        tokio::task::yield_now().await;
    }
    let saved = bench.send(upload("/api/file/uploadimg", &ann, "1", &png(), "image/png")).await;
    assert_eq!(saved.json()["errno"], 200);
}

#[tokio::test]
async fn a_robot_without_upstream_answers_a_text_the_client_shows() {
    let bench = bench().await;
    let (_, token) = user(&bench, "ann@b.c").await;
    let body = bench.get(&format!("/api/robot?info=hi&id=1&api_token={token}")).await.json();
    let inner: Value = serde_json::from_str(body["data"].as_str().expect("text")).expect("JSON");
    assert_eq!(inner["code"], 100_000);
    assert!(!inner["text"].as_str().expect("text").is_empty());
}

#[tokio::test]
async fn a_robot_s_upstream_is_asked_and_its_answer_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let bench = bench_with(|settings, _| {
        settings.robot_url =
            RobotUrl::new(&format!("http://127.0.0.1:{port}/ask?q={{info}}&u={{id}}"));
    })
    .await;
    let (_, token) = user(&bench, "ann@b.c").await;
    let upstream = async |answer: &'static str| {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("read"));
        }
        stream.write_all(answer.as_bytes()).await.expect("write");
        String::from_utf8(head).expect("text").lines().next().expect("line").to_owned()
    };
    let uri = format!("/api/robot?info=a%26b%20%E4%BD%A0&id=7%2F&api_token={token}");
    let good = "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"code\":100000,\"text\":1}";
    let (line, answer) = tokio::join!(upstream(good), bench.get(&uri));
    assert_eq!(line, "GET /ask?q=a%26b+%E4%BD%A0&u=7%2F HTTP/1.1");
    answer.is(200, json!({ "data": "{\"code\":100000,\"text\":1}" }));

    let bad = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
    let (_, answer) = tokio::join!(upstream(bad), bench.get(&uri));
    let inner = answer.json()["data"].as_str().expect("text").to_owned();
    let inner: Value = serde_json::from_str(&inner).expect("JSON");
    assert_eq!(inner["code"], 40_002);

    let no_json = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>";
    let (_, answer) = tokio::join!(upstream(no_json), bench.get(&uri));
    assert!(answer.json()["data"].as_str().expect("text").contains("40002"));

    // An answer that sends us elsewhere is no answer.
    let away = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let (_, answer) = tokio::join!(upstream(away), bench.get(&uri));
    assert!(answer.json()["data"].as_str().expect("text").contains("40002"));
}
