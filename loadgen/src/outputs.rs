//! Files for results, opened before a run, so that an hour of load does not end in a path that cannot be
//! written, or in one result over another.

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Standard output in the place of a file.
pub const STDOUT: &str = "-";

/// Files that can be written. If nothing is written to one, it is as if it had never been opened.
pub struct Outputs {
    opened: Vec<Opened>,
}

struct Opened {
    path: PathBuf,
    is_new: bool,
}

/// One file is named twice on the command line.
#[derive(Debug)]
pub struct NamedTwice(String);

impl fmt::Display for NamedTwice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for NamedTwice {}

impl Outputs {
    /// Opens all files, each with the name of its option, and changes nothing in them. They are neither
    /// each other nor one of `inputs`.
    ///
    /// # Errors
    /// One cannot be written, or two are the same ([`NamedTwice`]).
    pub fn open(inputs: &[&Path], files: &[(&str, PathBuf)]) -> anyhow::Result<Self> {
        let mut outputs = Self { opened: Vec::new() };
        let mut seen: Vec<(String, Option<(u64, u64)>)> = inputs
            .iter()
            .filter_map(|path| Some((path.display().to_string(), Some(identity(path)?))))
            .collect();
        for (option, path) in files {
            let is_stdout = path.as_path() == Path::new(STDOUT);
            if !is_stdout {
                outputs.open_one(path)?;
            }
            // Devices such as /dev/null may be written twice.
            let own = identity(path).filter(|_| !is_stdout);
            let is_own = |(_, other): &&(String, Option<(u64, u64)>)| *other == own;
            if (is_stdout || own.is_some())
                && let Some((other, _)) = seen.iter().find(is_own)
            {
                let path = path.display();
                return Err(NamedTwice(format!("{option} {path} and {other} are one file")).into());
            }
            if is_stdout || own.is_some() {
                seen.push((format!("{option} {}", path.display()), own));
            }
        }
        Ok(outputs)
    }

    fn open_one(&mut self, path: &Path) -> anyhow::Result<()> {
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).open(path);
        opened.with_context(|| format!("cannot write {}", path.display()))?;
        self.opened.push(Opened { path: path.to_owned(), is_new });
        Ok(())
    }
}

/// What a regular file is, by whatever name.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some((file.dev(), file.ino()))
}

impl Drop for Outputs {
    fn drop(&mut self) {
        for opened in self.opened.iter().filter(|opened| opened.is_new) {
            if std::fs::metadata(&opened.path).is_ok_and(|file| file.is_file() && file.len() == 0) {
                // Nobody misses an empty file that could not be removed.
                let _ = std::fs::remove_file(&opened.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("outputs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_file_is_there_before_the_run_and_gone_if_nothing_was_written() {
        let folder = folder("kept");
        let path = folder.join("a.json");
        let open = |path: &Path| Outputs::open(&[], &[("--json", path.to_owned())]);
        let output = open(&path).unwrap();
        assert!(path.exists());
        drop(output);
        assert!(!path.exists());
        std::fs::write(&path, "kept").unwrap();
        drop(open(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
        assert!(open(&folder.join("none/a.json")).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn one_file_is_neither_two_results_nor_a_source_and_a_result() {
        let folder = folder("twice");
        let (one, input) = (folder.join("one"), folder.join("input"));
        std::fs::write(&input, "kept").unwrap();
        std::os::unix::fs::symlink(&one, folder.join("link")).unwrap();
        let open = |first: &Path, second: &Path| {
            let files = [("--json", first.to_owned()), ("--html", second.to_owned())];
            Outputs::open(&[&input], &files)
        };
        let null = Path::new("/dev/null");
        assert!(open(&one, &folder.join("two")).is_ok() && open(null, null).is_ok());
        for (first, second) in [
            (&*one, &*one),
            (&one, &folder.join("./one")),
            (&one, &folder.join("link")),
            (&one, &input),
            (Path::new(STDOUT), Path::new(STDOUT)),
        ] {
            let error = open(first, second).err().expect("one file");
            assert!(error.is::<NamedTwice>(), "{first:?} {second:?}: {error}");
            assert!(error.to_string().contains("--html"), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&input).unwrap(), "kept");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
