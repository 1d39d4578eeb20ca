//! The database file while it is open: whether its name, and that of its log, still lead to it. SQLite writes on into
//! files that nobody can find again, and says nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{Mode, OFlags, Stat, fstat, open, stat};
use tokio::task::spawn_blocking;

use crate::StoreError;
use crate::directory::with_suffix;

/// Bytes of the header of a database.
const DATABASE_HEADER: i64 = 100;

/// A database file and its log, as they were when they were opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    database: Kept,
    log: Kept,
    /// As of the last look.
    is_lost: AtomicBool,
}

impl OpenFile {
    /// A connection must be open, so that there is a log, and stay open, so that it remains the same.
    pub fn new(database: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            database: Kept::new(database.to_owned(), DATABASE_HEADER)?,
            // The log may be emptied by another program that has moved its content.
            log: Kept::new(with_suffix(database, "-wal"), 0)?,
            is_lost: AtomicBool::new(false),
        })
    }

    pub fn path(&self) -> &Path {
        &self.database.path
    }

    /// As of the last look: costs nothing, and a disk that hangs does not hold it up.
    pub fn was_in_place(&self) -> Result<(), StoreError> {
        if self.is_lost.load(Relaxed) { Err(self.lost()) } else { Ok(()) }
    }

    /// Looks, on a thread that may wait for the disk.
    pub async fn look(this: &std::sync::Arc<Self>) -> Result<(), StoreError> {
        let this = std::sync::Arc::clone(this);
        let looked = spawn_blocking(move || {
            let is_lost = !(this.database.is_in_place()? && this.log.is_in_place()?);
            this.is_lost.store(is_lost, Relaxed);
            this.was_in_place()
        });
        looked.await.map_err(|_| StoreError::Closed)?
    }

    fn lost(&self) -> StoreError {
        StoreError::Replaced(self.path().to_owned())
    }
}

/// A file that must stay under its name.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// Keeps its number from being given to another file. It was not opened to read: closing such a descriptor
    /// would end SQLite's locks.
    file: OwnedFd,
    bytes_min: i64,
}

impl Kept {
    fn new(path: PathBuf, bytes_min: i64) -> Result<Self, StoreError> {
        let file = open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| StoreError::at(&path, error.into()))?;
        Ok(Self { path, file, bytes_min })
    }

    fn is_in_place(&self) -> Result<bool, StoreError> {
        let id = |found: &Stat| (found.st_dev, found.st_ino);
        let failed = |error: rustix::io::Errno| StoreError::at(&self.path, error.into());
        let named = match stat(&self.path) {
            Ok(named) => named,
            Err(error) if io::Error::from(error).kind() == io::ErrorKind::NotFound => {
                return Ok(false);
            }
            Err(error) => return Err(failed(error)),
        };
        let held = fstat(&self.file).map_err(failed)?;
        Ok(id(&named) == id(&held) && named.st_size >= self.bytes_min)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_in_place_under_its_name_and_with_its_header_only() {
        let place = tempfile::tempdir().expect("tempdir");
        let path = place.path().join("x.db");
        let header = [0; DATABASE_HEADER as usize];
        fs::write(&path, header).expect("write");
        let kept = Kept::new(path.clone(), DATABASE_HEADER).expect("open");
        let is_in_place = || kept.is_in_place().expect("stat");
        assert!(is_in_place());
        let aside = place.path().join("aside");
        fs::rename(&path, &aside).expect("rename");
        assert!(!is_in_place(), "removed");
        fs::write(&path, header).expect("write");
        assert!(!is_in_place(), "replaced");
        fs::rename(&aside, &path).expect("rename");
        assert!(is_in_place(), "put back");
        fs::write(&path, &header[1..]).expect("write");
        assert!(!is_in_place(), "cut off");
    }
}
