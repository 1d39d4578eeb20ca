//! Files for results, opened before a run, so that an hour of load does not end in a path that cannot be
//! written.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A file that can be written. If nothing is, it is as if it had never been opened.
pub struct Output {
    path: PathBuf,
    is_new: bool,
}

impl Output {
    /// Opens the file, and changes nothing in it. `-` is standard output and needs no file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let is_new = path != Path::new("-") && !path.exists();
        if path != Path::new("-") {
            let mut options = OpenOptions::new();
            let opened = options.write(true).create(true).truncate(false).open(path);
            opened.with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { path: path.to_owned(), is_new })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let is_empty = || std::fs::metadata(&self.path).is_ok_and(|file| file.len() == 0);
        if self.is_new && is_empty() {
            // Nobody misses an empty file that could not be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_before_the_run_and_gone_if_nothing_was_written() {
        let folder = std::env::temp_dir().join(format!("outputs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.json");
        let output = Output::open(&path).unwrap();
        assert!(path.exists());
        drop(output);
        assert!(!path.exists());
        std::fs::write(&path, "kept").unwrap();
        drop(Output::open(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
        assert!(Output::open(&folder.join("none/a.json")).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
