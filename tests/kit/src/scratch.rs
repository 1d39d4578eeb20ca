//! Directories and ports of one test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, io, process, thread};

use crate::{Failed, Result};

/// A new directory; removed when dropped, unless the test has failed.
#[derive(Debug)]
pub struct Dir(PathBuf);

impl Dir {
    /// Below the system's temporary directory: the path of a socket has to be short.
    pub fn new(name: &str) -> io::Result<Dir> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("throng-{name}-{}-{serial}", process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Dir(dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where it is; it stays.
    pub fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() && !thread::panicking() {
            // What cannot be removed is the system's to clean up.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A port without a listener, below the range of outgoing connections: it stays free while a server
/// that was killed is down.
pub fn spare_port() -> Result<u16> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    // Apart from those of other processes, and never the same twice in this one.
    let first = now.wrapping_add(process::id().wrapping_mul(7919));
    for _ in 0..1_000 {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + (first.wrapping_add(serial) % 10_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Failed("no free port from 15000 to 25000".to_owned()))
}
