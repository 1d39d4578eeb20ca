//! Settings of the front desk.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Bounds and choices; every field has a default.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Requests to `/api` per minute and client address, bursts included; 0 switches it off.
    pub api_per_minute: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Body of a JSON or form request.
    pub body_bytes_max: usize,
    /// Body of an upload, its multipart frame included.
    pub upload_bytes_max: usize,
    /// Uploads held in memory at once, of users who show their token before the body, and again
    /// as many of others; more wait.
    pub uploads_at_once_max: usize,
    /// Time for a whole request of the API but an upload, its body's arrival included.
    pub request_timeout: Duration,
    /// The same for an upload.
    pub upload_timeout: Duration,
    /// Origins of other sites that may call the API from a browser, such as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// Another front end to serve instead of the embedded one.
    pub static_dir: Option<PathBuf>,
    /// Where `/api/robot` asks: `{info}` and `{id}` are replaced, and the answer is passed on.
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
