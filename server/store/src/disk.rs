//! The disk under the data: how much of it is free, and whether it takes bytes.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{StatVfs, StatVfsMountFlags, statvfs};
use throng_health::State;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fault::StorageFault;
use crate::upload_folder::UploadFolder;
use crate::{Options, StoreError, directory, images};

/// Bytes that are written to learn whether a disk takes any. A commit needs less. A disk with less is used up.
const PROBE_BYTES: usize = 1 << 20;

/// Files that are written at once: each takes descriptors and a thread, and more of them make no disk faster.
const WRITES_MAX: usize = 8;

/// What is refused when little is free.
#[derive(Debug)]
pub(crate) struct Disk {
    writes: Arc<Semaphore>,
    /// The directories of uploads, and what they are in.
    folders: Arc<[UploadFolder]>,
    /// Directories that uploads are written below.
    upload_dirs: [PathBuf; 2],
    /// What they are below, and is not said: anyone may read how the disk is.
    data_dir: PathBuf,
    /// The database file; `None` where a server keeps the messages.
    database: Option<PathBuf>,
    min_free_mb: u64,
    refuses_uploads: AtomicBool,
    refuses_messages: AtomicBool,
    /// Why the folders of uploads cannot be used, as of the last look.
    unusable: Mutex<Option<StoreError>>,
    /// How the last write of a file failed, until a probe succeeds.
    fault: Mutex<Option<StorageFault>>,
}

impl Disk {
    /// `database`: the file, if the database is one.
    pub fn new(options: &Options, database: Option<&Path>) -> Self {
        Self {
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            folders: std::iter::once(images::folder(&options.data_dir))
                .chain(images::directories(&options.data_dir))
                .map(UploadFolder::new)
                .collect(),
            upload_dirs: images::directories(&options.data_dir),
            data_dir: options.data_dir.clone(),
            database: database.map(Path::to_owned),
            min_free_mb: u64::from(options.min_free_mb),
            refuses_uploads: AtomicBool::new(false),
            refuses_messages: AtomicBool::new(false),
            unusable: Mutex::default(),
            fault: Mutex::default(),
        }
    }

    /// Whether there is space for an uploaded file.
    pub fn admit_upload(&self) -> Result<(), StoreError> {
        if let Some(error) = &*self.unusable() {
            return Err(error.clone());
        }
        if self.refuses_uploads.load(Relaxed) { Err(StoreError::LowDisk) } else { Ok(()) }
    }

    /// To be looked at before a file is written.
    pub fn folders(&self) -> Arc<[UploadFolder]> {
        Arc::clone(&self.folders)
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
        let unusable = self.folders.iter().find_map(|folder| folder.look().err());
        let places: Result<Vec<PathBuf>, StoreError> =
            self.upload_dirs.iter().map(|upload_dir| directory::check(upload_dir)).collect();
        let places = match places {
            Ok(places) => {
                if self.fault().is_some() {
                    let mut distinct = places.clone();
                    distinct.dedup();
                    let found = distinct.iter().find_map(|place| take_bytes(place, 0).err());
                    *self.fault() = found.map(|error| StorageFault::of_file(&error));
                }
                places
            }
            Err(error) => {
                self.note(&error);
                Vec::new()
            }
        };
        let uploads = places.iter().zip(&self.upload_dirs).map(|(place, upload_dir)| {
            let name = upload_dir.strip_prefix(&self.data_dir).unwrap_or(upload_dir);
            Place { name: name.display().to_string(), space: Space::under(place) }
        });
        let uploads: Vec<_> = uploads.collect();
        let messages = self.database.as_deref().and_then(|database| {
            let name = database.file_name()?.display().to_string();
            Some(Place { name, space: Space::under(database.parent()?) })
        });
        let unusable_fault = unusable.as_ref().and_then(StoreError::storage_fault);
        let fault = unusable_fault.or(*self.fault());
        let verdict = verdict(&uploads, messages.as_ref(), self.min_free_mb, fault);
        self.refuses_uploads.store(verdict.refuses_uploads, Relaxed);
        *self.unusable() = unusable;
        self.refuses_messages.store(verdict.refuses_messages, Relaxed);
        verdict.reason.map_or(State::Ok, State::Down)
    }

    fn unusable(&self) -> std::sync::MutexGuard<'_, Option<StoreError>> {
        self.unusable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> std::sync::MutexGuard<'_, Option<StorageFault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is space for a database that is not there yet.
///
/// # Errors
/// Its disk is full, or has no inode left.
pub(crate) fn check_new(database: &Path) -> Result<(), StoreError> {
    let existing = database.ancestors().skip(1).find(|ancestor| ancestor.exists());
    let Some(directory) = existing.filter(|_| !database.exists()) else { return Ok(()) };
    let space = Space::under(directory).map_err(|error| StoreError::at(directory, error))?;
    if space.is_used_up || space.has_no_inodes {
        return Err(StoreError::at(directory, io::ErrorKind::StorageFull.into()));
    }
    Ok(())
}

/// Where something is written.
struct Place {
    /// As it is called where anyone may read it.
    name: String,
    space: io::Result<Space>,
}

impl Place {
    /// False of a place whose file system does not say what it has left.
    fn holds(&self, is: impl Fn(&Space) -> bool) -> bool {
        self.space.as_ref().is_ok_and(is)
    }
}

/// What the file system of a directory has left.
#[derive(Clone, Copy)]
struct Space {
    free_mb: u64,
    /// Less is free than a write may need.
    is_used_up: bool,
    /// No file can be created, though bytes may be free.
    has_no_inodes: bool,
    is_read_only: bool,
}

impl Space {
    fn under(directory: &Path) -> io::Result<Self> {
        Ok(Self::of(&statvfs(directory)?))
    }

    /// A file system that does not count its blocks or its inodes reports 0 of them in all, as btrfs does of
    /// inodes; that says nothing.
    fn of(found: &StatVfs) -> Self {
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        Self {
            free_mb: free / 1_000_000,
            is_used_up: found.f_blocks > 0 && free < PROBE_BYTES as u64,
            has_no_inodes: found.f_files > 0 && found.f_favail == 0,
            is_read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        }
    }
}

/// What the disks allow.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    refuses_uploads: bool,
    refuses_messages: bool,
    /// Why the disk is down.
    reason: Option<String>,
}

/// What is refused, and why. A message needs no inode: the files of the database are there.
fn verdict(
    uploads: &[Place],
    messages: Option<&Place>,
    min_free_mb: u64,
    fault: Option<StorageFault>,
) -> Verdict {
    let is_below = |it: &Space, min_mb: u64| it.is_used_up || it.free_mb < min_mb;
    let is_short =
        uploads.iter().any(|place| place.holds(|it| it.has_no_inodes || is_below(it, min_free_mb)));
    let is_empty = messages.is_some_and(|place| place.holds(|it| is_below(it, min_free_mb / 2)));
    let places = || uploads.iter().chain(messages);
    let spaces = || places().filter_map(|place| place.space.as_ref().ok());
    let refused = match (is_short, is_empty) {
        (true, true) => ": uploads and messages are refused",
        (true, false) => ": uploads are refused",
        (false, true) => ": messages are refused",
        (false, false) => "",
    };
    let used_up = places().find(|place| place.holds(|it| it.is_used_up));
    // A disk without space is named first: XFS makes inodes of free space, and has none left then either.
    let without_inodes = places().find(|place| place.holds(|it| it.has_no_inodes));
    let reason = if let Some(error) = places().find_map(|place| place.space.as_ref().err()) {
        Some(StorageFault::of_file(error).to_string())
    } else if let Some(fault) = fault.filter(|fault| *fault != StorageFault::Full) {
        Some(fault.to_string())
    } else if spaces().any(|space| space.is_read_only) {
        Some(StorageFault::ReadOnly.to_string())
    } else if let Some(Place { name, .. }) = used_up {
        Some(format!("less than 1 MiB is free on the disk of {name}{refused}"))
    } else if let Some(Place { name, .. }) = without_inodes {
        Some(format!("no inodes are left on the disk of {name}{refused}"))
    } else if let Some(fault) = fault {
        Some(fault.to_string())
    } else if is_short || is_empty {
        let free = spaces().map(|space| space.free_mb).min().unwrap_or(0);
        Some(format!("{free} MB are free, storage.min_free_mb is {min_free_mb}{refused}"))
    } else {
        None
    };
    Verdict { refuses_uploads: is_short, refuses_messages: is_empty, reason }
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

    /// A disk with these figures, in blocks of 4 KiB.
    fn figures(f_blocks: u64, f_bavail: u64, f_files: u64, f_favail: u64) -> StatVfs {
        StatVfs {
            f_bsize: 4096,
            f_frsize: 4096,
            f_blocks,
            f_bfree: f_bavail,
            f_bavail,
            f_files,
            f_ffree: f_favail,
            f_favail,
            f_fsid: 0,
            f_flag: StatVfsMountFlags::empty(),
            f_namemax: 255,
        }
    }

    fn judged(uploads: &StatVfs, messages: &StatVfs, fault: Option<StorageFault>) -> Verdict {
        let place =
            |name: &str, figures| Place { name: name.into(), space: Ok(Space::of(figures)) };
        verdict(&[place("images", uploads)], Some(&place("throng.db", messages)), 0, fault)
    }

    #[test]
    fn a_disk_without_bytes_or_inodes_is_down_without_a_floor() {
        let well = figures(1000, 500, 100, 1);
        let used_up = figures(1000, 255, 100, 1);
        let without_inodes = figures(1000, 500, 100, 0);
        let neither = figures(1000, 0, 100, 0);
        let no_bytes = "less than 1 MiB is free on the disk of";
        let no_inodes = "no inodes are left on the disk of";
        for (uploads, messages, refused, reason) in [
            (&well, &well, [false, false], None),
            (
                &used_up,
                &used_up,
                [true, true],
                Some(format!("{no_bytes} images: uploads and messages are refused")),
            ),
            (
                &well,
                &used_up,
                [false, true],
                Some(format!("{no_bytes} throng.db: messages are refused")),
            ),
            (
                &without_inodes,
                &without_inodes,
                [true, false],
                Some(format!("{no_inodes} images: uploads are refused")),
            ),
            (&well, &without_inodes, [false, false], Some(format!("{no_inodes} throng.db"))),
            (
                &neither,
                &well,
                [true, false],
                Some(format!("{no_bytes} images: uploads are refused")),
            ),
        ] {
            let [refuses_uploads, refuses_messages] = refused;
            let want = Verdict { refuses_uploads, refuses_messages, reason };
            assert_eq!(judged(uploads, messages, None), want);
        }
    }

    #[test]
    fn a_file_system_that_counts_neither_blocks_nor_inodes_is_not_judged_by_them() {
        for uncounted in [figures(1000, 500, 0, 0), figures(0, 0, 0, 0)] {
            assert_eq!(judged(&uncounted, &uncounted, None).reason, None);
        }
    }

    #[test]
    fn a_failed_write_for_want_of_inodes_does_not_make_the_disk_full() {
        let well = figures(1000, 500, 100, 1);
        let without_inodes = figures(1000, 500, 100, 0);
        let reason = |uploads, fault| judged(uploads, &well, Some(fault)).reason.expect("down");
        let said = reason(&without_inodes, StorageFault::Full);
        assert_eq!(said, "no inodes are left on the disk of images: uploads are refused");
        assert_eq!(reason(&well, StorageFault::Full), StorageFault::Full.to_string());
        assert_eq!(reason(&without_inodes, StorageFault::Io), StorageFault::Io.to_string());
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
        let aside = place.path().join("aside");
        std::fs::rename(&avatars, &aside).expect("rename");
        std::fs::write(&avatars, "no directory").expect("write");
        for _ in 0..2 {
            assert!(matches!(disk.look(), State::Down(_)), "the data directory itself is well");
        }
        std::fs::remove_file(&avatars).expect("remove");
        std::fs::rename(&aside, &avatars).expect("rename");
        assert_eq!(disk.look(), State::Ok);
    }
}
