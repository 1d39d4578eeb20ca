//! The router on a store of its own, and requests for it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use data_encoding::BASE64;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use throng_rest::{Deps, Revoked, RoomPresence, Settings, router};
use throng_store::{Options, PasswordCost, Store, UserRow};
use throng_wire::http::{Caller, Client, ExceededSetting};
use tower::ServiceExt;

/// Answer to a request without a valid token.
pub const UNAUTHENTICATED: &str = "Unauthenticated.";

pub const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

pub fn png() -> Vec<u8> {
    BASE64.decode(PNG.as_bytes()).expect("base64")
}

pub struct Bench {
    pub dir: TempDir,
    pub store: Store,
    pub api: Router,
    pub deps: Deps,
    pub revoked: Arc<Mutex<Vec<Revoked>>>,
    pub changed: Arc<Mutex<Vec<UserRow>>>,
    pub requests: Arc<Mutex<Vec<(String, u16)>>>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    /// The setting that refused, as the log names it.
    pub exceeded: &'static str,
}

impl Answer {
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text());
        serde_json::from_slice(&self.bytes).expect("JSON")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("visible ASCII"))
    }

    #[track_caller]
    pub fn is(&self, status: u16, body: Value) {
        assert_eq!((self.status.as_u16(), self.json()), (status, body));
    }
}

pub async fn bench() -> Bench {
    bench_with(|_, _| ()).await
}

/// The API without throttle unless `change` sets one.
pub async fn bench_with(change: impl FnOnce(&mut Settings, &mut Options)) -> Bench {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut options = Options {
        password_cost: PasswordCost::Cheapest,
        min_free_mb: 0,
        ..Options::new(dir.path().join("data"))
    };
    let mut settings = Settings { api_per_minute: 0, ..Settings::default() };
    change(&mut settings, &mut options);
    let store = Store::open(&options.default_url(), options).await.expect("open");
    store.ensure_rooms(&[(1, "Lobby".into()), (2, "Lounge".into())]).await.expect("rooms");
    let (revoked, changed, requests) = <(Arc<Mutex<Vec<_>>>, Arc<_>, Arc<_>)>::default();
    let revoked_log = Arc::clone(&revoked);
    let changed_log: Arc<Mutex<Vec<UserRow>>> = Arc::clone(&changed);
    let request_log: Arc<Mutex<Vec<(String, u16)>>> = Arc::clone(&requests);
    let presence = |room: &u32| RoomPresence { online: 10 + room, is_present: *room == 2 };
    let deps = Deps {
        store: store.clone(),
        settings,
        rooms: Arc::new(move |_, rooms| rooms.iter().map(presence).collect()),
        on_revoked: Arc::new(move |token| revoked_log.lock().expect("lock").push(token)),
        on_user_changed: Arc::new(move |user| {
            changed_log.lock().expect("lock").push(user.clone());
        }),
        on_request: Arc::new(move |route, status| {
            request_log.lock().expect("lock").push((route.to_owned(), status));
        }),
        take_upload: Arc::new(|_, _| Ok(())),
        take_lookup: Arc::new(|_| Ok(())),
        give_back_lookup: Arc::new(|_| ()),
        counters: Arc::default(),
        metrics: Arc::new(|| "throng_rooms 2\n".to_owned()),
    };
    Bench { dir, store, api: router(deps.clone()), deps, revoked, changed, requests }
}

impl Bench {
    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        if request.extensions().get::<Caller>().is_none() {
            request.extensions_mut().insert(caller("192.0.2.7"));
        }
        let response = self.api.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("body").to_bytes().to_vec();
        let exceeded = parts.extensions.get::<ExceededSetting>().map_or("", |name| name.0);
        assert!(
            parts.status != 429 || !exceeded.is_empty(),
            "a limit that refuses names its setting"
        );
        Answer { status: parts.status, headers: parts.headers, bytes, exceeded }
    }

    /// Gives the request up after it had to wait so many times; answers the answer if that came before.
    pub async fn give_up(&self, request: Request<Body>, waits: usize) -> Option<Answer> {
        let mut sending = pin!(self.send(request));
        let mut left = waits;
        poll_fn(|context| match sending.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                left -= 1;
                Poll::Pending
            }
        })
        .await
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.send(get(uri, &[])).await
    }

    pub async fn post(&self, uri: &str, body: Value) -> Answer {
        self.send(post(uri, "application/json", body.to_string())).await
    }

    /// Registers a user; answers the user and the token.
    pub async fn register(&self, email: &str) -> Value {
        let body = json!({ "name": email, "password": "secret" });
        let answer = self.post("/api/register", body).await;
        let body = answer.json();
        assert_eq!(body["errno"], 0, "{body}");
        body["user"].clone()
    }
}

/// A client with this address, over plain HTTP and from no page of another origin.
pub fn caller(ip: &str) -> Caller {
    let client = Client { ip: ip.parse().expect("address"), is_proxy: false, is_https: false };
    Caller { client, is_origin_allowed: true }
}

pub fn get(uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    request(Method::GET, uri, headers, Body::empty())
}

pub fn post(uri: &str, kind: &str, body: impl Into<Body>) -> Request<Body> {
    request(Method::POST, uri, &[("content-type", kind)], body.into())
}

pub fn request(method: Method, uri: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).expect("request")
}

/// One part of a multipart body.
pub struct Part<'a> {
    pub name: &'a str,
    /// Name and type of a file.
    pub file: Option<(&'a str, &'a str)>,
    pub body: &'a [u8],
}

pub fn field<'a>(name: &'a str, body: &'a str) -> Part<'a> {
    Part { name, file: None, body: body.as_bytes() }
}

pub fn multipart(uri: &str, parts: &[Part<'_>]) -> Request<Body> {
    let mut body = Vec::new();
    for part in parts {
        body.extend(b"--edge\r\n");
        let file = part.file.map_or(String::new(), |(name, kind)| {
            format!("; filename=\"{name}\"\r\nContent-Type: {kind}")
        });
        let head = format!("Content-Disposition: form-data; name=\"{}\"{file}\r\n\r\n", part.name);
        body.extend(head.as_bytes());
        body.extend(part.body);
        body.extend(b"\r\n");
    }
    body.extend(b"--edge--\r\n");
    post(uri, "multipart/form-data; boundary=edge", body)
}

/// The session cookie of an answer, as `name=value`.
pub fn cookie_of(answer: &Answer) -> String {
    let set = answer.headers.get(header::SET_COOKIE).expect("cookie").to_str().expect("ASCII");
    set.split(';').next().expect("value").to_owned()
}
