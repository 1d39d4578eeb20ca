//! How Redis is reached, and what is exchanged there with other programs.

use std::path::PathBuf;
use std::time::Duration;

use throng_tables::settings::{Kind, Raw, Value};

use crate::address::Address;

throng_tables::settings! {
    /// The connections to Redis, and the exchange with other programs.
    #[derive(Clone, Debug)]
    pub struct Settings;

    ["redis"]
    /// Redis: redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://… for TLS,
    /// redis+sentinel://HOST,…/SERVICE or redis+cluster://HOST,…. Nodes with the same Redis share
    /// rooms. The command line is visible to other users: put a password into the file or the
    /// environment.
    url: Address = "redis://127.0.0.1".parse().expect("the default is a URL") => "none";
    /// Time to connect and log in.
    connect_timeout_ms: u32 = 1_000, "ms", 10..=60_000;
    /// Time Redis has to answer a command.
    command_timeout_ms: u32 = 1_000, "ms", 10..=60_000;
    /// File of PEM certificates of the authorities to trust.
    tls_ca: Option<PemFile> = None => "the system's";
    /// Connections for commands; blocking reads and subscriptions have their own.
    connections_max: u32 = 8, "connections", 2..=1024;
    /// Option `key` of the Socket.IO adapters of other programs.
    adapter_channel: String = "socket.io".to_owned();
    /// Publish every accepted message as an event `message` to other programs.
    adapter_publish: bool = false;
    /// Largest publication of another program that is passed on.
    adapter_bytes_max: usize = 64 * 1024, "bytes", 256..=16 << 20;
}

impl Settings {
    /// See [`Settings::connect_timeout_ms`].
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }

    /// Time to wait for an answer, beyond what a blocking command was asked to wait.
    pub fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.command_timeout_ms.into())
    }
}

/// A file of certificates that has been read.
#[derive(Clone, Debug)]
pub struct PemFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its content.
    pub pem: Vec<u8>,
}

impl Value for PemFile {
    type Bounds = ();
    const KIND: Kind = Kind::Text;

    fn allowed((): &()) -> String {
        "a file of PEM certificates".to_owned()
    }

    fn read(raw: &Raw, (): &()) -> Option<PemFile> {
        let path = PathBuf::from(raw.text()?);
        let pem = std::fs::read(&path).ok().filter(|pem| pem.starts_with(b"-----BEGIN"))?;
        Some(PemFile { path, pem })
    }

    fn show(&self) -> String {
        self.path.display().to_string()
    }
}

impl Value for Address {
    type Bounds = ();
    const KIND: Kind = Kind::Text;

    fn allowed((): &()) -> String {
        "redis://…, rediss://…, redis+sentinel://…/SERVICE or redis+cluster://…".to_owned()
    }

    fn read(raw: &Raw, (): &()) -> Option<Address> {
        raw.text()?.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }

    /// The fault of a URL, without its password.
    fn show_wrong(raw: &Raw) -> String {
        match raw.text().map(str::parse::<Address>) {
            Some(Err(fault)) => format!("something else ({fault})"),
            Some(Ok(address)) => address.to_string(),
            None => "no text".to_owned(),
        }
    }
}
