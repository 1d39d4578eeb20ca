//! The data directory and the database file: who may see them, who may use them, and what is refused
//! rather than overwritten.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::StoreError;

/// Directories that no other user enters.
const DIRECTORY_MODE: u32 = 0o700;
/// Files that no other user reads.
const FILE_MODE: u32 = 0o600;
/// Rights of the group and of others.
const SHARED_BITS: u32 = 0o077;
/// Of directories that many users share, such as `/tmp`.
const STICKY_BIT: u32 = 0o1000;

/// Creates a directory and its missing parents, each for this user only, whatever the umask.
pub(crate) fn create_private(directory: &Path) -> Result<(), StoreError> {
    if directory.is_dir() {
        return Ok(());
    }
    if directory.exists() {
        return Err(StoreError::at(directory, ErrorKind::NotADirectory.into()));
    }
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_private(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Ok(()) => {}
        // Two uploads may need the same directory.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => {}
        Err(error) => return Err(StoreError::at(directory, error)),
    }
    set_mode(directory, DIRECTORY_MODE)
}

/// Opens a file to read and write, and creates it for this user only, whatever the umask.
pub(crate) fn open_private(file: &Path) -> Result<File, StoreError> {
    let is_new = !file.exists();
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(file)
        .map_err(|error| StoreError::at(file, error))?;
    if is_new {
        set_mode(file, FILE_MODE)?;
    }
    Ok(opened)
}

/// Writes a new file whole or not at all, for this user only, whatever the umask. Its directory is there.
pub(crate) fn write_private(path: &Path, bytes: &[u8], replaces: bool) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.as_file().set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let kept = if replaces { file.persist(path) } else { file.persist_noclobber(path) };
    kept.map(drop).map_err(|failed| failed.error)
}

/// Checks that a directory can be used or created, and changes nothing. Answers it, or the one in which it would be
/// created.
pub(crate) fn check(directory: &Path) -> Result<PathBuf, StoreError> {
    let absolute =
        std::path::absolute(directory).map_err(|error| StoreError::at(directory, error))?;
    let existing = absolute.ancestors().find(|ancestor| ancestor.exists());
    let existing = existing.unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        return Err(StoreError::at(existing, ErrorKind::NotADirectory.into()));
    }
    access(existing, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| StoreError::at(existing, error.into()))?;
    Ok(existing.to_owned())
}

/// As [`check`], and whether a directory that does not exist can be created: not every file system says so before. What
/// it creates it removes.
pub(crate) fn check_new(directory: &Path) -> Result<(), StoreError> {
    let existing = check(directory)?;
    if directory.exists() {
        return Ok(());
    }
    let probe = existing.join(format!(".throng-check-{}", std::process::id()));
    fs::create_dir(&probe)
        .and_then(|()| fs::remove_dir(&probe))
        .map_err(|error| StoreError::at(directory, error))
}

/// Takes the rights of other users from a directory that an earlier version created.
pub(crate) fn mend_directory(directory: &Path) {
    mend(directory, DIRECTORY_MODE);
}

/// Takes the rights of other users from a database, its journals and its lock.
pub(crate) fn mend_database(database: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        mend(&with_suffix(database, suffix), FILE_MODE);
    }
}

fn mend(path: &Path, mode: u32) {
    let Ok(found) = fs::metadata(path) else { return };
    if found.mode() & SHARED_BITS == 0 || found.mode() & STICKY_BIT != 0 {
        return;
    }
    let (was, path) = (format!("{:04o}", found.mode() & 0o7777), path.display().to_string());
    match fs::set_permissions(&path, Permissions::from_mode(mode)) {
        Ok(()) => {
            let now = format!("{mode:04o}");
            tracing::warn!(path, was, now, "other users had rights here; they are removed");
        }
        Err(error) => {
            tracing::warn!(path, was, %error, "other users have rights here, and they cannot be removed");
        }
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| StoreError::at(path, error))
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Refuses a database of no bytes among other files: it was emptied, and a new one would replace what
/// can still be restored. An interrupted first start leaves an empty file alone. Refuses none at all next to a log,
/// whose content a new one would delete.
pub(crate) fn refuse_emptied(database: &Path) -> Result<(), StoreError> {
    let log = fs::metadata(with_suffix(database, "-wal"));
    if !database.exists() && log.is_ok_and(|log| log.len() > 0) {
        return Err(StoreError::Emptied(database.to_owned()));
    }
    let is_empty = fs::metadata(database).is_ok_and(|file| file.is_file() && file.len() == 0);
    let Some(directory) = database.parent().filter(|_| is_empty) else { return Ok(()) };
    let lock = lock_of(database);
    for entry in fs::read_dir(directory).map_err(|error| StoreError::at(directory, error))? {
        let entry = entry.map_err(|error| StoreError::at(directory, error))?;
        let path = entry.path();
        let holds_data = match entry.metadata() {
            Ok(found) if found.is_file() => found.len() > 0,
            Ok(_) => true,
            // It is gone.
            Err(_) => false,
        };
        let is_shared_memory = path == with_suffix(database, "-shm");
        if holds_data && path != lock && !is_shared_memory {
            return Err(StoreError::Emptied(database.to_owned()));
        }
    }
    Ok(())
}

fn lock_of(database: &Path) -> PathBuf {
    database.with_extension("lock")
}

/// The exclusive right to a database file, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct DatabaseLock {
    path: PathBuf,
    file: File,
}

impl DatabaseLock {
    /// Takes the lock, and writes this process's id into it, which a process that finds it taken reports.
    pub fn take(database: &Path) -> Result<Self, StoreError> {
        let path = lock_of(database);
        let mut file = open_private(&path)?;
        mend(&path, FILE_MODE);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The other process may be about to write it.
                let _ = file.read_to_string(&mut holder);
                return Err(StoreError::InUse { path, holder: holder.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::at(&path, error)),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        if let Err(error) = written {
            // The lock holds all the same.
            tracing::warn!(path = %path.display(), %error, "the process id could not be written");
        }
        Ok(Self { path, file })
    }

    /// Whether [`DatabaseLock::take`] may open the file of the lock, if it is there.
    pub fn check(database: &Path) -> Result<(), StoreError> {
        let path = lock_of(database);
        if !path.exists() {
            return Ok(());
        }
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        opened.map(drop).map_err(|error| StoreError::at(&path, error))
    }

    /// That another process holds the lock, as [`DatabaseLock::take`] would say it, without taking it.
    pub fn held(database: &Path) -> Option<StoreError> {
        let path = lock_of(database);
        let found = fs::metadata(&path).ok()?;
        let (major, minor) = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
        let file = format!(" {major:02x}:{minor:02x}:{} ", found.ino());
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let is_held = locks.lines().any(|lock| lock.contains("FLOCK") && lock.contains(&file));
        let holder = fs::read_to_string(&path).ok().and_then(|pid| pid.trim().parse().ok());
        is_held.then_some(StoreError::InUse { path, holder })
    }

    /// Whether the locked file is still the one under its name, so that another process would find it.
    pub fn is_in_place(&self) -> bool {
        let named = fs::metadata(&self.path).map(|found| (found.dev(), found.ino()));
        let held = self.file.metadata().map(|found| (found.dev(), found.ino()));
        matches!((named, held), (Ok(named), Ok(held)) if named == held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o777
    }

    #[test]
    fn what_is_created_is_private_and_what_was_shared_is_mended() {
        let place = tempfile::tempdir().expect("tempdir");
        let directory = place.path().join("one").join("two");
        create_private(&directory).expect("create");
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&place.path().join("one")), 0o700);
        let file = directory.join("x.db");
        drop(open_private(&file).expect("create"));
        assert_eq!(mode(&file), 0o600);

        set_mode(&directory, 0o755).expect("chmod");
        set_mode(&file, 0o644).expect("chmod");
        mend_directory(&directory);
        mend_database(&file);
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        fs::set_permissions(&directory, Permissions::from_mode(0o1777)).expect("chmod");
        mend_directory(&directory);
        assert_eq!(mode(&directory), 0o777, "a directory such as /tmp belongs to all");
    }

    #[test]
    fn a_lock_has_one_holder_whose_id_the_other_learns() {
        let place = tempfile::tempdir().expect("tempdir");
        let database = place.path().join("x.db");
        let held = DatabaseLock::take(&database).expect("free");
        assert!(held.is_in_place());
        let refused = DatabaseLock::take(&database).expect_err("taken");
        let found = DatabaseLock::held(&database).expect("it is taken");
        assert_eq!(found.to_string(), refused.to_string());
        let own = std::process::id();
        assert!(matches!(refused, StoreError::InUse { holder: Some(pid), .. } if pid == own));
        fs::remove_file(place.path().join("x.lock")).expect("remove");
        assert!(!held.is_in_place());
        drop(held);
        assert!(DatabaseLock::held(&database).is_none());
        DatabaseLock::take(&database).expect("free again");
        assert!(DatabaseLock::held(&database).is_none());
    }

    #[test]
    fn an_empty_database_is_refused_among_data_only() {
        let place = tempfile::tempdir().expect("tempdir");
        let database = place.path().join("x.db");
        refuse_emptied(&database).expect("there is none");
        for name in ["x.db", "x.db-wal"] {
            fs::write(place.path().join(name), "").expect("write");
        }
        fs::write(place.path().join("x.lock"), "4711\n").expect("write");
        refuse_emptied(&database).expect("as an interrupted first start leaves it");
        fs::create_dir(place.path().join("storage")).expect("create");
        let refused = refuse_emptied(&database).expect_err("emptied");
        assert!(matches!(refused, StoreError::Emptied(path) if path == database));
        fs::write(&database, "x").expect("write");
        refuse_emptied(&database).expect("it is not empty");

        fs::remove_file(&database).expect("remove");
        refuse_emptied(&database).expect("the log says nothing");
        fs::write(place.path().join("x.db-wal"), "x").expect("write");
        let refused = refuse_emptied(&database).expect_err("removed");
        assert!(matches!(refused, StoreError::Emptied(path) if path == database));
    }
}
