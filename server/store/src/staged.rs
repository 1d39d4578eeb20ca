//! Images whose messages are not stored yet. At its path a file would stay for ever if the message is refused, so
//! it waits apart: it is moved there when its message is stored, and removed when that was refused.
//!
//! Each author has their own, so that nobody's refused message removes the image of another.

use std::collections::{HashMap, hash_map};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use throng_wire::image_path::ImagePath;

use crate::StoreError;
use crate::directory::create_private;

/// Longer than a message waits for its commit. What is not settled by then is of a session that has ended,
/// or of a message that did not get as far as the store.
const STAGED_MAX: Duration = Duration::from_secs(10 * 60);
/// Between the name of a file and what makes it unique.
const BEFORE_NONCE: char = '-';

/// Who sent the image, and its path.
type Key = (u32, String);

/// The images that wait, as files of a folder of their own.
#[derive(Debug)]
pub(crate) struct Staged {
    images: PathBuf,
    entries: Mutex<HashMap<Key, Entry>>,
}

#[derive(Debug)]
struct Entry {
    file: PathBuf,
    length: u64,
    /// Messages of the author that are on their way with it.
    uses: u32,
    until: Instant,
}

impl Staged {
    /// `images`: the folder of all images.
    pub fn new(images: PathBuf) -> Self {
        Self { images, entries: Mutex::default() }
    }

    /// Where they wait.
    pub fn folder(images: &Path) -> PathBuf {
        images.join("new")
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more message of the author is on its way with the image, if it waits already.
    fn is_used_again(&self, key: &Key, now: Instant) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return false };
        entry.uses += 1;
        entry.until = now + STAGED_MAX;
        true
    }

    /// Writes the image, unless it is at its path already or waits. For a thread that may wait for the disk.
    pub fn stage(&self, user: u32, path: &ImagePath<'_>, bytes: &[u8]) -> Result<(), StoreError> {
        let (key, now) = ((user, path.to_string()), Instant::now());
        if is_whole(&self.images.join(path.relative()), bytes) || self.is_used_again(&key, now) {
            return Ok(());
        }
        let folder = Self::folder(&self.images);
        create_private(&folder)?;
        let relative = path.relative();
        let name = relative.rsplit('/').next().expect("a path has a last part");
        let write = || {
            let prefix = format!("{name}{BEFORE_NONCE}");
            // For this user only, as temporary files are.
            let mut file = tempfile::Builder::new().prefix(&prefix).tempfile_in(&folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.keep().map(|(_, file)| file).map_err(|failed| failed.error)
        };
        let file = write().map_err(|error| StoreError::at(&folder, error))?;
        let length = bytes.len() as u64;
        let entry = Entry { file, length, uses: 1, until: now + STAGED_MAX };
        match self.entries().entry(key) {
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
                Ok(())
            }
            // Another message of the author was faster.
            hash_map::Entry::Occupied(mut faster) => {
                faster.get_mut().uses += 1;
                remove(&entry.file)
            }
        }
    }

    /// The message is stored: its image is at its path from now on. Answers the length of the file, if it was
    /// not there before.
    pub fn keep(&self, user: u32, path: &ImagePath<'_>) -> Result<Option<u64>, StoreError> {
        let Some(entry) = self.entries().remove(&(user, path.to_string())) else { return Ok(None) };
        move_to(&self.images, path, &entry.file)?;
        Ok(Some(entry.length))
    }

    /// The message is not stored: its image is removed, unless another message of the author is on its way
    /// with it.
    pub fn release(&self, user: u32, path: &ImagePath<'_>) -> Result<(), StoreError> {
        let key = (user, path.to_string());
        let removed = {
            let mut entries = self.entries();
            let Some(entry) = entries.get_mut(&key) else { return Ok(()) };
            entry.uses -= 1;
            if entry.uses == 0 { entries.remove(&key) } else { None }
        };
        removed.map_or(Ok(()), |entry| remove(&entry.file))
    }

    /// Removes what has waited for too long. Costs a look when there is nothing.
    pub fn sweep(&self, now: Instant) {
        let old = |entry: &Entry| entry.until <= now;
        let removed: Vec<Entry> =
            self.entries().extract_if(|_, entry| old(entry)).map(|(_, entry)| entry).collect();
        for entry in removed {
            if let Err(error) = remove(&entry.file) {
                tracing::warn!(%error, "an image without a message could not be removed");
            }
        }
    }

    /// Removes all: no message is on its way any more.
    pub fn clear(&self) {
        self.sweep(Instant::now() + STAGED_MAX);
    }

    /// Whether some have waited for too long.
    pub fn has_old(&self, now: Instant) -> bool {
        self.entries().values().any(|entry| entry.until <= now)
    }
}

/// Moves what an earlier process has left to where it belongs: its messages may be stored.
pub(crate) fn recover(images: &Path) {
    let Ok(left) = fs::read_dir(Staged::folder(images)) else { return }; // There is none.
    for entry in left.flatten() {
        let name = entry.file_name();
        let path = name.to_str().and_then(|name| name.split_once(BEFORE_NONCE)).map(|(file, _)| {
            format!("/storage/images/messages/{}/{file}", file.get(..2).unwrap_or_default())
        });
        let Some(path) = path.as_deref().and_then(ImagePath::parse) else { continue };
        if let Err(error) = move_to(images, &path, &entry.path()) {
            tracing::warn!(%error, "an image of an earlier process could not be moved to its place");
        }
    }
}

/// Whether the file is there, and of that length: one of that name and length has that content.
pub(crate) fn is_whole(file: &Path, bytes: &[u8]) -> bool {
    fs::metadata(file).is_ok_and(|found| found.len() == bytes.len() as u64)
}

fn move_to(images: &Path, path: &ImagePath<'_>, file: &Path) -> Result<(), StoreError> {
    let to = images.join(path.relative());
    let folder = to.parent().expect("an image is in a folder");
    create_private(folder)?;
    match fs::rename(file, &to) {
        // Another node that has begun meanwhile has moved it.
        Err(error) if error.kind() == ErrorKind::NotFound && to.exists() => Ok(()),
        moved => moved.map_err(|error| StoreError::at(&to, error)),
    }
}

fn remove(file: &Path) -> Result<(), StoreError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::at(file, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use throng_wire::image_path::{ImageFormat, ImageKind};

    use super::*;

    const HASH: &str = "abababababababababababababababababababababababababababababababab";

    fn path() -> ImagePath<'static> {
        ImagePath::new(ImageKind::Messages, HASH, ImageFormat::Png).expect("a hash")
    }

    /// Files that wait, and whether the image is at its path.
    fn found(images: &Path) -> (usize, bool) {
        let waiting = fs::read_dir(Staged::folder(images)).map_or(0, Iterator::count);
        (waiting, images.join(path().relative()).exists())
    }

    #[test]
    fn an_image_is_at_its_path_when_its_message_is_stored_and_not_before() {
        let place = tempfile::tempdir().expect("tempdir");
        let staged = Staged::new(place.path().to_owned());
        staged.stage(1, &path(), b"image").expect("stage");
        assert_eq!(found(place.path()), (1, false));
        assert_eq!(staged.keep(1, &path()).expect("keep"), Some(5));
        assert_eq!(found(place.path()), (0, true));
        // It is there: nothing has to wait, and nothing removes it.
        staged.stage(2, &path(), b"image").expect("stage");
        assert_eq!(staged.keep(2, &path()).expect("keep"), None);
        staged.release(2, &path()).expect("release");
        assert_eq!(found(place.path()), (0, true));
    }

    #[test]
    fn the_image_of_a_refused_message_is_removed_unless_another_one_needs_it() {
        let place = tempfile::tempdir().expect("tempdir");
        let staged = Staged::new(place.path().to_owned());
        for _ in 0..2 {
            staged.stage(1, &path(), b"image").expect("stage");
        }
        staged.stage(2, &path(), b"image").expect("stage");
        assert_eq!(found(place.path()), (2, false), "one for each author");
        staged.release(1, &path()).expect("release");
        assert_eq!(found(place.path()), (2, false), "the second message is on its way");
        staged.release(1, &path()).expect("release");
        assert_eq!(found(place.path()), (1, false));
        // Neither who names the path of somebody else's image, nor who does so again.
        for user in [1, 3, 3] {
            staged.release(user, &path()).expect("release");
        }
        staged.keep(2, &path()).expect("keep");
        assert_eq!(found(place.path()), (0, true));
    }

    #[test]
    fn what_no_message_comes_for_is_removed_after_a_time() {
        let place = tempfile::tempdir().expect("tempdir");
        let staged = Staged::new(place.path().to_owned());
        let before = Instant::now();
        staged.stage(1, &path(), b"image").expect("stage");
        let early = before + STAGED_MAX - Duration::from_secs(1);
        staged.sweep(early);
        assert!(!staged.has_old(early));
        assert_eq!(found(place.path()), (1, false));
        let late = Instant::now() + STAGED_MAX;
        assert!(staged.has_old(late));
        staged.sweep(late);
        assert_eq!(found(place.path()), (0, false));
        assert!(!staged.has_old(late));
    }

    #[test]
    fn what_a_killed_process_has_left_is_moved_to_its_place() {
        let place = tempfile::tempdir().expect("tempdir");
        Staged::new(place.path().to_owned()).stage(1, &path(), b"image").expect("stage");
        fs::write(Staged::folder(place.path()).join("other"), b"x").expect("write");
        recover(place.path());
        assert_eq!(found(place.path()), (1, true), "and nothing else is touched");
    }
}
