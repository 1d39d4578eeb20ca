//! The database file while it is open: whether its name, and those of its log and of the log's index, still lead to it, and whether they still
//! hold what SQLite has put there. SQLite writes on into files that nobody can find again, or over what somebody else
//! has put there, and says nothing.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, Stat, fstat, open, stat};
use rustix::io::pread;
use tokio::task::spawn_blocking;

use crate::StoreError;
use crate::directory::with_suffix;

/// Bytes of the header of a database.
const DATABASE_HEADER: i64 = 100;
/// Where a database differs from any other: its header, and the first pages of its first tables.
const HEAD_BYTES: usize = 64 * 1024;

/// A database file and its log, as they were when they were opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    database: Kept,
    log: Kept,
    index: LogIndex,
    seen: Mutex<Option<Seen>>,
    /// As of the last look.
    is_lost: AtomicBool,
    /// Other content was found in it, whatever a look says.
    was_overwritten: AtomicBool,
}

/// A database file between two checkpoints: only these write into it.
#[derive(Debug)]
struct Seen {
    checkpoint: Checkpoint,
    modified: i128,
    bytes: i64,
    /// A hash of its first [`HEAD_BYTES`].
    head: u64,
}

impl OpenFile {
    /// A connection must be open, so that there is a log, and stay open, so that it remains the same.
    pub fn new(database: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            database: Kept::new(database.to_owned(), DATABASE_HEADER)?,
            // The log may be emptied by another program that has moved its content.
            log: Kept::new(with_suffix(database, "-wal"), 0)?,
            index: LogIndex::new(&with_suffix(database, "-shm"))?,
            seen: Mutex::default(),
            is_lost: AtomicBool::new(false),
            was_overwritten: AtomicBool::new(false),
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
            let is_in_place = this.database.is_in_place()?
                && this.log.is_in_place()?
                && this.index.kept.is_in_place()?;
            let is_lost = this.was_overwritten.load(Relaxed)
                || !(is_in_place && this.has_log()? && this.has_database()?);
            this.is_lost.store(is_lost, Relaxed);
            this.was_in_place()
        });
        looked.await.map_err(|_| StoreError::Closed)?
    }

    /// Whether the log holds the frames that its index names.
    fn has_log(&self) -> Result<bool, StoreError> {
        let Some(index) = self.index.read()? else { return Ok(true) };
        let header: Option<[u8; LOG_HEADER]> = self.log.read()?;
        let has_frames = self.log.stat()?.st_size >= index.log_bytes()
            && header.is_some_and(|header| header[LOG_SALT] == index.checkpoint.salt);
        // Another program may have begun the log anew meanwhile.
        Ok(index.frames == 0 || has_frames || self.index.read()? != Some(index))
    }

    /// Whether the database is as it was at the last look, if there was no checkpoint since.
    fn has_database(&self) -> Result<bool, StoreError> {
        let Some(before) = self.index.read()? else { return Ok(true) };
        let checkpoint = before.checkpoint;
        let found = self.database.stat()?;
        let modified = i128::from(found.st_mtime) * 1_000_000_000 + i128::from(found.st_mtime_nsec);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.as_ref().filter(|seen| seen.checkpoint == checkpoint);
        if known.is_some_and(|seen| seen.modified == modified) {
            return Ok(true);
        }
        let head = self.database.head()?;
        let now = Seen { checkpoint, modified, bytes: found.st_size, head };
        let is_at_rest = checkpoint.backfilled == checkpoint.attempted
            && self.index.read()?.is_some_and(|after| after.checkpoint == checkpoint);
        if !is_at_rest {
            // A checkpoint is at work.
            *seen = None;
            return Ok(true);
        }
        // A new time alone is no change: somebody may have set it.
        let is_same = known.is_none_or(|seen| seen.bytes == now.bytes && seen.head == now.head);
        if is_same {
            *seen = Some(now);
        }
        Ok(is_same)
    }

    /// What a caller has found in it is not what was written.
    pub fn lose(&self) -> StoreError {
        self.was_overwritten.store(true, Relaxed);
        self.is_lost.store(true, Relaxed);
        self.lost()
    }

    fn lost(&self) -> StoreError {
        StoreError::Replaced(self.path().to_owned())
    }
}

/// A file that must stay under its name.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// Keeps its number from being given to another file. Closing it ends SQLite's locks, so it is open for as
    /// long as SQLite's connections are.
    file: OwnedFd,
    bytes_min: i64,
}

impl Kept {
    fn new(path: PathBuf, bytes_min: i64) -> Result<Self, StoreError> {
        let file = open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| StoreError::at(&path, error.into()))?;
        Ok(Self { path, file, bytes_min })
    }

    fn stat(&self) -> Result<Stat, StoreError> {
        fstat(&self.file).map_err(|error| StoreError::at(&self.path, error.into()))
    }

    /// A hash of the first bytes.
    fn head(&self) -> Result<u64, StoreError> {
        let mut head = vec![0; HEAD_BYTES];
        let count = pread(&self.file, &mut head[..], 0);
        let count = count.map_err(|error| StoreError::at(&self.path, error.into()))?;
        Ok(BuildHasherDefault::<DefaultHasher>::default().hash_one(&head[..count]))
    }

    /// The first bytes, if there are so many.
    fn read<const N: usize>(&self) -> Result<Option<[u8; N]>, StoreError> {
        read(&self.file, &self.path)
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
        let held = self.stat()?;
        Ok(id(&named) == id(&held) && named.st_size >= self.bytes_min)
    }
}

/// SQLite's index of the log (`-shm`): memory that all connections share, and a file.
///
/// Its form is part of SQLite's file format (`walformat.html`, 2.1 and 2.3), in the byte order of the machine.
#[derive(Debug)]
struct LogIndex {
    kept: Kept,
}

/// What the index says of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Index {
    frames: u32,
    page_bytes: i64,
    checkpoint: Checkpoint,
}

/// How far the log has been moved into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checkpoint {
    /// Another one each time the log begins anew; also in its header.
    salt: [u8; 8],
    backfilled: u32,
    attempted: u32,
}

const INDEX_BYTES: usize = 136;
const INDEX_COPY_BYTES: usize = 48;
const LOG_HEADER: usize = 32;
const LOG_SALT: std::ops::Range<usize> = 16..24;
const FRAME_HEADER: i64 = 24;

impl LogIndex {
    fn new(path: &Path) -> Result<Self, StoreError> {
        // Another program may open it anew, and begins at its first byte.
        Ok(Self { kept: Kept::new(path.to_owned(), 0)? })
    }

    /// `None` while it is being written to.
    fn read(&self) -> Result<Option<Index>, StoreError> {
        Ok(self.kept.read()?.and_then(|bytes| Index::parse(&bytes)))
    }
}

impl Index {
    fn parse(bytes: &[u8; INDEX_BYTES]) -> Option<Self> {
        let (first, rest) = bytes.split_at(INDEX_COPY_BYTES);
        let u32_at = |at: usize| Some(u32::from_ne_bytes(bytes[at..at + 4].try_into().ok()?));
        let is_begun = bytes[12] != 0;
        if !is_begun || first != &rest[..INDEX_COPY_BYTES] {
            return None;
        }
        let page = u16::from_ne_bytes(bytes[14..16].try_into().ok()?);
        let checkpoint = Checkpoint {
            salt: bytes[32..40].try_into().ok()?,
            backfilled: u32_at(96)?,
            attempted: u32_at(128)?,
        };
        // 65536 does not fit.
        let page_bytes = if page == 1 { 1 << 16 } else { i64::from(page) };
        Some(Self { frames: u32_at(16)?, page_bytes, checkpoint })
    }

    /// Bytes that the log has at least.
    fn log_bytes(&self) -> i64 {
        LOG_HEADER as i64 + i64::from(self.frames) * (FRAME_HEADER + self.page_bytes)
    }
}

/// The first bytes of a file, if there are so many.
fn read<const N: usize>(file: &OwnedFd, path: &Path) -> Result<Option<[u8; N]>, StoreError> {
    let mut bytes = [0; N];
    let count = pread(file, &mut bytes, 0).map_err(|error| StoreError::at(path, error.into()))?;
    Ok((count == N).then_some(bytes))
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
