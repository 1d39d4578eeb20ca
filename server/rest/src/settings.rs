//! Settings of the REST API and the static files.

use std::fmt;
use std::path::PathBuf;

use throng_tables::settings::{Kind, Raw, Value};
use throng_wire::http::REQUEST_TIMEOUT_MS;

throng_tables::settings! {
    /// Bounds and choices.
    #[derive(Clone, Debug)]
    pub struct Settings;

    [""]
    /// Directory of another front end to serve instead of the embedded one. Where NAME.br or NAME.gz lies next to
    /// NAME, clients that read it get that.
    static_dir: Option<PathBuf> = None => "embedded client";

    ["http"]
    /// Requests to `/api` without a valid token, logins and registrations, per client: an IPv4 address
    /// or an IPv6 /64 network; 0: no limit, for tokens neither.
    api_per_minute: u32 = 60, "requests per minute", 0..=1 << 20;
    /// Requests to `/api` of one user, whatever tokens they have; 0: no limit.
    api_per_user_per_minute: u32 = 600, "requests per minute", 0..=1 << 20;
    /// URL that `/api/robot` asks, with {info} and {id} in it; its answer is passed on.
    robot_url: Option<RobotUrl> = None => "canned answer";
    /// Always mark the session cookie `Secure`. It is marked in any case when a trusted proxy says that
    /// the client speaks HTTPS.
    cookie_secure: bool = false;
    /// Largest body of an upload, its multipart frame included.
    upload_bytes_max: usize = 4 * 1024 * 1024 + 16 * 1024, "bytes", 1024..=256 << 20;
    /// Time for a whole upload, its body's arrival included.
    upload_timeout_ms: u32 = 120_000, "ms", 100..=3_600_000;
    /// Bytes of one user's uploads that are arriving or being stored; one more is refused. At least
    /// `http.upload_bytes_max`.
    uploads_mib_per_user_max: u32 = 32, "MiB", 1..=1 << 20;
    /// Bytes of all users' uploads that are arriving or being stored; beyond it the largest of those who
    /// have most are refused. At least `http.uploads_mib_per_user_max`.
    uploads_mib_max: u32 = 128, "MiB", 1..=1 << 20;
    /// The same for requests whose user is not known, as when the token comes in the body. At least
    /// `http.upload_bytes_max`.
    uploads_mib_anonymous_max: u32 = 16, "MiB", 1..=1 << 20;

    ["login"]
    /// Wrong passwords for an account, from addresses from which it was not used before and from each
    /// other one, that cost no wait. After them each doubles it, from 1 s on; 0: no limit.
    failures_max: u32 = 10, "wrong passwords", 0..=1000;
    /// Longest wait after a wrong password.
    wait_s_max: u32 = 900, "s", 1..=86_400;

    fixed
    /// `/metrics`, `/ready` and `/health` are routes of [`crate::router`].
    is_operation_public: bool = true;
    /// Largest body of a JSON or form request, in bytes.
    body_bytes_max: usize = 8 * 1024;
    /// Time for the body of any request, in ms, besides the time at `body_bytes_per_s_min`.
    body_timeout_ms: u32 = 10_000;
    /// Slowest rate at which a body may arrive.
    body_bytes_per_s_min: u32 = 4096;
    /// Time for a whole request of the API but an upload, its body's arrival included, in ms.
    request_timeout_ms: u32 = REQUEST_TIMEOUT_MS;
    /// Origins of other sites that may call the API from a browser, such as `https://example.org`.
    allowed_origins: Vec<String> = Vec::new();
}

/// A URL with `{info}` and `{id}` in it. Its `Debug` form hides user, password and parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct RobotUrl(String);

impl RobotUrl {
    /// `None` for what no request can be sent to.
    #[must_use]
    pub fn new(template: &str) -> Option<RobotUrl> {
        let url = url::Url::parse(&fill(template, "x", "1")).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_http.then(|| RobotUrl(template.to_owned()))
    }

    /// Arguments are encoded already.
    pub(crate) fn with(&self, info: &str, id: &str) -> String {
        fill(&self.0, info, id)
    }
}

fn fill(template: &str, info: &str, id: &str) -> String {
    template.replace("{info}", info).replace("{id}", id)
}

impl fmt::Debug for RobotUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

impl Value for RobotUrl {
    type Bounds = ();
    const KIND: Kind = Kind::Text;

    fn allowed((): &()) -> String {
        "a URL of http or https".to_owned()
    }

    fn read(raw: &Raw, (): &()) -> Option<RobotUrl> {
        RobotUrl::new(raw.text()?)
    }

    fn show(&self) -> String {
        throng_store::without_secrets(&self.0)
    }

    fn show_wrong(raw: &Raw) -> String {
        raw.text().map_or_else(|| "no text".to_owned(), throng_store::without_secrets)
    }
}
