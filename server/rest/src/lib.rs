//! The HTTP API as an axum router: the original application's REST API, uploads and stored files,
//! the web client, health and metrics. The transports of Socket.IO are not part of it.
//!
//! It uses the store and knows nothing of the shards: what it needs from them are closures in
//! [`Deps`]. The caller of [`router`] puts a [`Caller`](throng_wire::http::Caller) into the extensions
//! of every request.
//!
//! | module | answers (the paths are in [`router`]) |
//! |---|---|
//! | `account` | register, login, logout, who one is |
//! | `rooms` | rooms and their history |
//! | `uploads`, `stored_files` | files in and out |
//! | `robot` | the robot |
//! | `avatars`, `pages` | built-in avatars, and every path without a route |
//! | `embedded` | files that are part of the binary |
//! | `socket_io` | the client library of Socket.IO |
//! | `health` | health, readiness, metrics |
//!
//! `identity`, `session_cookie`, `input` and `validate` read requests, `answer` writes responses; `bodies`
//! bounds what of requests is on its way; `throttle` and `request_log` are layers around the routes; `attempts`
//! counts wrong passwords; `completion` runs what must not end with its request; `deps` and `settings` are the crate's
//! inputs.
#![forbid(unsafe_code)]

mod account;
mod account_failure;
mod answer;
mod attempts;
mod avatars;
mod bodies;
mod completion;
mod counters;
mod deps;
mod embedded;
mod health;
mod identity;
mod input;
mod pages;
mod request_log;
mod robot;
mod rooms;
mod session_cookie;
mod settings;
mod socket_io;
mod stored_files;
mod throttle;
mod time_limit;
mod uploads;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use throng_wire::http::retry_after_s;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

pub use counters::RestCounters;
pub use deps::{Deps, OnRequest, OverLimit, Revoked, RoomPresence, TakeLookup, TakeUpload};
pub use request_log::redact;
pub use settings::{RobotUrl, Settings};

use attempts::Attempts;
use bodies::Bodies;
use robot::Robot;
use throttle::Throttle;
use time_limit::time_limit;

/// State of the handlers.
type Api = Arc<ApiState>;

struct ApiState {
    deps: Deps,
    robot: Robot,
    bodies: Arc<Bodies>,
    attempts: Attempts,
}

impl ApiState {
    fn new(deps: Deps) -> Api {
        let settings = &deps.settings;
        Arc::new(ApiState {
            robot: Robot::new(settings.robot_url.clone()),
            bodies: Bodies::new(settings, Arc::clone(&deps.counters)),
            attempts: Attempts::new(settings, Arc::clone(&deps.counters)),
            deps,
        })
    }
}

/// `/health`, `/ready` and `/metrics` alone, for an address of their own.
pub fn admin_router(deps: Deps) -> Router {
    let request_log = request_log::RequestLog::new(&deps);
    operation()
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(from_fn(headers_for_all))
        .layer(from_fn_with_state(Arc::new(request_log), request_log::log))
        .with_state(ApiState::new(deps))
}

fn operation() -> Router<Api> {
    Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
}

/// What stands at these paths when they are not public: nothing, and no page of the client either.
fn no_operation() -> Router<Api> {
    Router::new()
        .route("/health", any(answer::not_found))
        .route("/ready", any(answer::not_found))
        .route("/metrics", any(answer::not_found))
}

/// All routes as one service, for requests with a [`Caller`](throng_wire::http::Caller) in their
/// extensions.
///
/// Spec: the REST clauses.
pub fn router(deps: Deps) -> Router {
    let settings = deps.settings.clone();
    let request_log = request_log::RequestLog::new(&deps);
    let api = ApiState::new(deps);
    let uploads = Router::new()
        .route("/api/file/uploadimg", post(uploads::message_image))
        .route("/api/file/avatar", post(uploads::avatar))
        .layer(from_fn_with_state(millis(settings.upload_timeout_ms), time_limit));
    let mut routes = Router::new()
        .route("/api/register", post(account::register))
        .route("/api/login", post(account::login))
        .route("/api/logout", post(account::logout))
        .route("/api/user", get(account::user))
        .route("/api/rooms", get(rooms::list))
        .route("/api/history/message", get(rooms::history))
        .route("/api/robot", get(robot::ask))
        .route("/api", any(answer::not_found))
        .route("/api/", any(answer::not_found))
        .route("/api/{*rest}", any(answer::not_found))
        .layer(from_fn_with_state(millis(settings.request_timeout_ms), time_limit))
        .merge(uploads)
        // `bodies` bounds them.
        .layer(DefaultBodyLimit::disable())
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ));
    let throttle = (Arc::clone(&api), Arc::new(Throttle::new(&settings)));
    routes = routes.layer(from_fn_with_state(throttle, throttle::check));
    // Outermost, so that a page of another origin can read refusals too.
    if let Some(cors) = cors(&settings.allowed_origins) {
        routes = routes.layer(cors);
    }
    let operation = if settings.is_operation_public { operation() } else { no_operation() };
    operation
        .route("/socket.io/{file}", get(socket_io::serve))
        .route("/avatars/{file}", get(avatars::serve))
        .route("/storage/{*path}", get(stored_files::serve))
        .fallback(pages::serve)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .merge(routes)
        .layer(from_fn(headers_for_all))
        .layer(from_fn_with_state(Arc::new(request_log), request_log::log))
        .with_state(api)
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

/// The original client puts tokens into query strings, so its URLs must not leave the origin. Refusals
/// say when to try again (LIM-35).
async fn headers_for_all(
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    let mut response = next.run(request).await;
    let retry_after = retry_after_s(response.status().as_u16());
    let headers = response.headers_mut();
    if let Some(seconds) = retry_after {
        headers.entry(header::RETRY_AFTER).or_insert(seconds.into());
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn cors(allowed_origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> =
        allowed_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_credentials(true)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .max_age(Duration::from_secs(600))
    })
}
