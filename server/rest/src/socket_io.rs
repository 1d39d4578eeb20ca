//! The client library of Socket.IO where tutorials expect it: `/socket.io/socket.io.js`. The bundles are
//! those of the npm package `socket.io-client`, unchanged; the build of the web client copies them, with
//! the package's licence (MIT), which is served next to them.

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::{answer, embedded};

/// The names under which a Socket.IO server serves its client, with their source maps.
const FILES: [&str; 9] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
    "LICENSE",
];

/// Spec: TRN-90.
pub(crate) async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let name = format!("socket.io/{file}");
    match FILES.contains(&file.as_str()).then(|| embedded::find(&name)).flatten() {
        // Its name says no version, so a client asks each time whether it has changed.
        Some(found) => {
            embedded::serve(&name, &found, &headers, "public, max-age=0", embedded::find)
        }
        None => answer::not_found().await,
    }
}
