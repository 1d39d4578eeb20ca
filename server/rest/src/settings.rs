//! Settings of the HTTP API.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Limits and choices. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Requests to `/api` per minute and client address, bursts included; 0 for no limit.
    pub api_per_minute: u32,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpAddr>,
    /// Size of the body of a JSON or form request.
    pub body_bytes_max: usize,
    /// Size of the body of an upload, with its multipart framing.
    pub upload_bytes_max: usize,
    /// Uploads in memory at once whose token precedes the body, and as many others; more wait.
    pub uploads_at_once_max: usize,
    /// How long a request of the API may take, with the arrival of its body; uploads excepted.
    pub request_timeout: Duration,
    /// How long an upload may take.
    pub upload_timeout: Duration,
    /// Origins of other sites that may call the API from a browser, such as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// Directory of a front end to serve instead of the embedded one.
    pub static_dir: Option<PathBuf>,
    /// Upstream of `/api/robot`, with `{info}` for the question and `{id}` for the user.
    pub robot_url: Option<String>,
    /// Marks the session cookie `Secure`: for servers reached over HTTPS.
    pub cookie_secure: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_per_minute: 60,
            trusted_proxies: Vec::new(),
            body_bytes_max: 64 * 1024,
            upload_bytes_max: 4 * 1024 * 1024 + 16 * 1024,
            uploads_at_once_max: 16,
            request_timeout: Duration::from_secs(30),
            upload_timeout: Duration::from_secs(120),
            allowed_origins: Vec::new(),
            static_dir: None,
            robot_url: None,
            cookie_secure: false,
        }
    }
}
