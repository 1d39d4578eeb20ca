//! The disk under the data: how much of it is free, and whether it takes bytes.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{StatVfsMountFlags, statvfs};
use throng_health::State;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fault::StorageFault;
use crate::{Options, StoreError, directory, images};

/// Bytes that are written to learn whether a disk takes any. A commit needs less.
const PROBE_BYTES: usize = 1 << 20;

/// Files that are written at once: each takes descriptors and a thread, and more of them make no disk faster.
const WRITES_MAX: usize = 8;

/// What is refused when little is free.
#[derive(Debug)]
pub(crate) struct Disk {
    writes: Arc<Semaphore>,
    /// Directories that uploads are written below.
    upload_dirs: [PathBuf; 2],
    /// Directory of the database file; `None` where a server keeps the messages.
    database_dir: Option<PathBuf>,
    min_free_mb: u64,
    refuses_uploads: AtomicBool,
    refuses_messages: AtomicBool,
    /// How the last write of a file failed, until a probe succeeds.
    fault: Mutex<Option<StorageFault>>,
}

impl Disk {
    /// `database`: the file, if the database is one.
    pub fn new(options: &Options, database: Option<&Path>) -> Self {
        let database_dir = database.and_then(Path::parent).map(Path::to_owned);
        Self {
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            upload_dirs: images::directories(&options.data_dir),
            database_dir,
            min_free_mb: u64::from(options.min_free_mb),
            refuses_uploads: AtomicBool::new(false),
            refuses_messages: AtomicBool::new(false),
            fault: Mutex::default(),
        }
    }

    /// Whether there is space for an uploaded file.
    pub fn admit_upload(&self) -> Result<(), StoreError> {
        if self.refuses_uploads.load(Relaxed) { Err(StoreError::LowDisk) } else { Ok(()) }
    }

    /// Completes when a file may be written, and lets others write when the permit is dropped.
    pub async fn write_permit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.writes).acquire_owned().await.expect("it is never closed")
    }

    /// Whether there is space for messages.
    pub fn admit_messages(&self) -> Result<(), StoreError> {
        if self.refuses_messages.load(Relaxed) { Err(StoreError::LowDisk) } else { Ok(()) }
    }

    /// A file could not be written.
    pub fn note(&self, error: &StoreError) {
        if let Some(fault) = error.storage_fault() {
            *self.fault() = Some(fault);
        }
    }

    /// Looks at the disk and decides what is refused. Blocks for as long as the disk does.
    pub fn look(&self) -> State {
        let places: Result<Vec<PathBuf>, StoreError> =
            self.upload_dirs.iter().map(|upload_dir| directory::check(upload_dir)).collect();
        let places = match places {
            Ok(mut places) => {
                places.dedup();
                if self.fault().is_some() {
                    let found = places.iter().find_map(|place| take_bytes(place, 0).err());
                    *self.fault() = found.map(|error| StorageFault::of_file(&error));
                }
                places
            }
            Err(error) => {
                self.note(&error);
                Vec::new()
            }
        };
        let for_uploads: Vec<_> = places.iter().map(|place| Space::under(place)).collect();
        let for_messages = self.database_dir.as_deref().map(Space::under);
        let (uploads_min, messages_min) = (self.min_free_mb, self.min_free_mb / 2);
        let is_below =
            |space: &io::Result<Space>, min| space.as_ref().is_ok_and(|it| it.free_mb < min);
        let is_short = for_uploads.iter().any(|space| is_below(space, uploads_min));
        let is_empty = for_messages.as_ref().is_some_and(|space| is_below(space, messages_min));
        self.refuses_uploads.store(is_short, Relaxed);
        self.refuses_messages.store(is_empty, Relaxed);
        let spaces = || for_uploads.iter().chain(&for_messages);
        let reason = if let Some(error) = spaces().find_map(|space| space.as_ref().err()) {
            StorageFault::of_file(error).to_string()
        } else if let Some(fault) = *self.fault() {
            fault.to_string()
        } else if spaces().flatten().any(|space| space.is_read_only) {
            StorageFault::ReadOnly.to_string()
        } else if is_short || is_empty {
            let free = spaces().flatten().map(|space| space.free_mb).min().unwrap_or(0);
            let what = match (is_short, is_empty) {
                (true, true) => "uploads and messages are",
                (true, false) => "uploads are",
                (false, _) => "messages are",
            };
            format!("{free} MB are free, storage.min_free_mb is {uploads_min}: {what} refused")
        } else {
            return State::Ok;
        };
        State::Down(reason)
    }

    fn fault(&self) -> std::sync::MutexGuard<'_, Option<StorageFault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the file system of a directory has left.
struct Space {
    free_mb: u64,
    is_read_only: bool,
}

impl Space {
    fn under(directory: &Path) -> io::Result<Self> {
        let found = statvfs(directory)?;
        Ok(Self {
            free_mb: found.f_bavail.saturating_mul(found.f_frsize) / 1_000_000,
            is_read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }
}

/// Writes to a nameless file in `directory` and flushes it. `offset`: so that a limit on the size of
/// files is met as by a file that long already; what is before is a hole.
pub(crate) fn take_bytes(directory: &Path, offset: u64) -> io::Result<()> {
    let file = tempfile::tempfile_in(directory)?;
    file.write_all_at(&vec![0x55; PROBE_BYTES], offset)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn little_space_refuses_uploads_first_and_messages_at_the_half() {
        let place = tempfile::tempdir().expect("tempdir");
        let free_mb = Space::under(place.path()).expect("statvfs").free_mb;
        let database = place.path().join("throng.db");
        let disk = |min_free_mb: u64| {
            let min_free_mb = u32::try_from(min_free_mb).expect("less than 4 PB");
            let options = Options { min_free_mb, ..Options::new(place.path()) };
            Disk::new(&options, Some(&database))
        };
        let refused = |disk: &Disk| {
            let state = disk.look();
            let refused = [disk.admit_upload().is_err(), disk.admit_messages().is_err()];
            assert_eq!(state == State::Ok, refused == [false; 2], "{state}");
            refused
        };
        assert_eq!(refused(&disk(0)), [false, false], "0 is no floor");
        // Others write to this disk too, hence the distances.
        assert_eq!(refused(&disk(free_mb / 2)), [false, false]);
        assert_eq!(refused(&disk(free_mb + free_mb / 2)), [true, false]);
        assert_eq!(refused(&disk(free_mb * 3)), [true, true]);
        let of_a_server = Options { min_free_mb: u32::MAX, ..Options::new(place.path()) };
        assert_eq!(refused(&Disk::new(&of_a_server, None)), [true, false]);
    }

    #[tokio::test]
    async fn so_many_files_are_written_at_once() {
        let place = tempfile::tempdir().expect("tempdir");
        let disk = Disk::new(&Options::new(place.path()), None);
        let mut writing = Vec::new();
        for _ in 0..WRITES_MAX {
            writing.push(disk.write_permit().await);
        }
        let within = |permit| tokio::time::timeout(Duration::from_millis(50), permit);
        assert!(within(disk.write_permit()).await.is_err(), "there are no more permits");
        drop(writing.pop());
        assert!(within(disk.write_permit()).await.is_ok());
    }

    #[test]
    fn a_failed_write_is_held_against_the_disk_until_it_takes_bytes() {
        let place = tempfile::tempdir().expect("tempdir");
        let gone = place.path().join("gone");
        std::fs::create_dir(&gone).expect("create");
        let disk = Disk::new(&Options { min_free_mb: 0, ..Options::new(&gone) }, None);
        disk.note(&StoreError::at(&gone, io::ErrorKind::StorageFull.into()));
        std::fs::remove_dir(&gone).expect("remove");
        std::fs::write(&gone, "no directory").expect("write");
        assert!(matches!(disk.look(), State::Down(_)), "the probe fails");
        std::fs::remove_file(&gone).expect("remove");
        assert_eq!(disk.look(), State::Ok);
    }

    #[test]
    fn the_look_is_at_where_uploads_go() {
        let place = tempfile::tempdir().expect("tempdir");
        let disk = Disk::new(&Options { min_free_mb: 0, ..Options::new(place.path()) }, None);
        assert_eq!(disk.look(), State::Ok);
        let avatars = place.path().join("storage/images/avatars");
        std::fs::create_dir_all(avatars.parent().expect("images")).expect("create");
        std::fs::write(&avatars, "no directory").expect("write");
        for _ in 0..2 {
            assert!(matches!(disk.look(), State::Down(_)), "the data directory itself is well");
        }
        std::fs::remove_file(&avatars).expect("remove");
        assert_eq!(disk.look(), State::Ok);
    }
}
