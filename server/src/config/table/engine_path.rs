//! Paths of Socket.IO among the other paths of the server. The engine's come first: what else is at such a
//! path could not be reached any more.

/// What else the server has: see `throng_rest::router`, and `server/web/dist` for the web client.
const PATHS: [&str; 9] = [
    "/favicon.ico",
    "/favicon.svg",
    "/figtree-OFL.txt",
    "/health",
    "/index.html",
    "/metrics",
    "/ready",
    "/socket.io/LICENSE",
    "/theme.js",
];
/// All paths below these are the server's too.
const FOLDERS: [&str; 4] = ["api", "assets", "avatars", "storage"];
/// So begin the files of the client library (TRN-90).
const LIBRARY: &str = "/socket.io/socket.io.";

/// Why Socket.IO is not served at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    #[error("a path begins with a slash, and there is more of it")]
    NoPath,
    #[error("the server has something else at this path")]
    Taken,
}

/// The path without its trailing slash.
///
/// # Errors
/// It is no path, or one of the server's own.
pub fn parse(text: &str) -> Result<String, PathFault> {
    let path = text.strip_suffix('/').unwrap_or(text);
    if path.len() < 2 || !path.starts_with('/') {
        return Err(PathFault::NoPath);
    }
    if is_taken(path) {
        return Err(PathFault::Taken);
    }
    Ok(path.to_owned())
}

fn is_taken(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    PATHS.contains(&path) || FOLDERS.contains(&first) || path.starts_with(LIBRARY)
}
