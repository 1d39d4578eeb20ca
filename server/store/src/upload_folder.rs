//! A folder of uploads while it is open: whether its name still leads to it. A file system that is not mounted
//! leaves an empty folder under the same name, and what is written there is gone when it is mounted again.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::OnceLock;

use data_encoding::HEXLOWER;

use crate::StoreError;
use crate::directory::{create_private, write_private};

/// The file in it that distinguishes it from every other folder. All nodes that share the folder find the same.
const MARK: &str = ".throng";
/// What is longer is not ours.
const MARK_BYTES_MAX: u64 = 100;

#[derive(Debug)]
pub(crate) struct UploadFolder {
    path: PathBuf,
    /// What its mark holds; unset until the folder could be read, or created, for the first time.
    mark: OnceLock<String>,
}

impl UploadFolder {
    pub fn new(path: PathBuf) -> Self {
        Self { path, mark: OnceLock::new() }
    }

    /// Whether it is the folder that it was at the start. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// [`StoreError::Moved`], or it could not be read, or, at the first time, created.
    pub fn look(&self) -> Result<(), StoreError> {
        let Some(mark) = self.mark.get() else {
            let found = self.open()?;
            let first = self.mark.get_or_init(|| found.clone());
            return if *first == found { Ok(()) } else { Err(self.moved()) };
        };
        match self.read() {
            Ok(found) if found == *mark => Ok(()),
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(StoreError::at(&self.path, error))
            }
            Ok(_) | Err(_) => Err(self.moved()),
        }
    }

    fn moved(&self) -> StoreError {
        StoreError::Moved(self.path.clone())
    }

    fn read(&self) -> io::Result<String> {
        let path = self.path.join(MARK);
        // Nothing else is read: a pipe in its place would hold the look up for ever.
        let found = fs::metadata(&path)?;
        if !found.is_file() || found.len() > MARK_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        fs::read_to_string(path)
    }

    /// The mark that is there, or a new one.
    fn open(&self) -> Result<String, StoreError> {
        let at = |error| StoreError::at(&self.path, error);
        create_private(&self.path)?;
        match self.read() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found.map_err(at),
        }
        let mark = format!("{}\n", HEXLOWER.encode(&rand::random::<[u8; 16]>()));
        match write_private(&self.path.join(MARK), mark.as_bytes(), false) {
            // Another node was faster.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(at(error)),
            Ok(()) | Err(_) => self.read().map_err(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_folder_under_its_name_is_not_it() {
        let place = tempfile::tempdir().expect("tempdir");
        let (path, away) = (place.path().join("storage"), place.path().join("away"));
        let folder = UploadFolder::new(path.clone());
        folder.look().expect("it is created");
        let of_another_node = UploadFolder::new(path.clone());
        of_another_node.look().expect("it is there");
        fs::rename(&path, &away).expect("rename");
        let is_moved = || matches!(folder.look(), Err(StoreError::Moved(_)));
        assert!(is_moved() && !path.exists(), "it is not created again");
        fs::create_dir(&path).expect("create");
        assert!(is_moved(), "it is empty");
        UploadFolder::new(path.clone()).look().expect("who starts now takes it");
        assert!(is_moved(), "it is another one");
        fs::remove_dir_all(&path).expect("remove");
        fs::write(&path, "no folder").expect("write");
        assert!(is_moved());
        fs::remove_file(&path).expect("remove");
        fs::rename(&away, &path).expect("rename");
        folder.look().expect("it is back");
        of_another_node.look().expect("for the other node as well");
    }

    #[test]
    fn what_is_no_mark_is_an_error() {
        let place = tempfile::tempdir().expect("tempdir");
        let path = place.path().join("storage");
        let folder = UploadFolder::new(path.clone());
        folder.look().expect("it is created");
        let mark = path.join(MARK);
        let kept = fs::read(&mark).expect("read");
        fs::remove_file(&mark).expect("remove");
        fs::create_dir(&mark).expect("create");
        folder.look().expect_err("a folder");
        fs::remove_dir(&mark).expect("remove");
        std::os::unix::fs::symlink(&mark, &mark).expect("link");
        folder.look().expect_err("a link to itself");
        fs::remove_file(&mark).expect("remove");
        fs::write(&mark, [b'x'; 101]).expect("write");
        folder.look().expect_err("too long");
        fs::write(&mark, kept).expect("write");
        folder.look().expect("it is back");
    }

    #[test]
    fn one_that_cannot_be_created_at_the_start_may_come_later() {
        let place = tempfile::tempdir().expect("tempdir");
        let path = place.path().join("storage");
        fs::write(&path, "no folder").expect("write");
        let folder = UploadFolder::new(path.clone());
        assert!(matches!(folder.look(), Err(StoreError::File { .. })));
        fs::remove_file(&path).expect("remove");
        folder.look().expect("it is created");
        folder.look().expect("it is the same");
    }
}
