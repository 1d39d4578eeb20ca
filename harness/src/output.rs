//! Where results go: standard output, and files that are opened before a run.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{Write, stderr, stdout};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Prints a line. That nobody reads it any more does not end a run, whose reports are files.
macro_rules! say {
    ($($arg:tt)*) => { $crate::output::print(format_args!($($arg)*)) };
}
pub(crate) use say;

pub fn print(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}

/// Prints a line of the program about itself on standard error.
pub fn print_error(text: impl Display) {
    let _ = writeln!(stderr(), "throng-harness: {text}");
}

/// A file for results. It is empty until they are written, so that those of an earlier run are not taken for them.
pub struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    /// # Errors
    /// The file cannot be written, in words.
    pub fn create(path: &Path) -> Result<Output, String> {
        let file = File::create(path).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Output { path: path.to_owned(), file })
    }

    /// The file of an option, if it was given.
    pub fn of(path: Option<&PathBuf>) -> Result<Option<Output>, String> {
        path.map(|path| Output::create(path)).transpose()
    }

    pub fn write(&mut self, text: &str) -> Result<(), String> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|why| format!("{}: {why}", self.path.display()))
    }
}

/// The options of a command line whose values are files.
#[derive(Default)]
pub struct Files<'a> {
    read: Vec<(&'static str, &'a Path)>,
    written: Vec<(&'static str, &'a Path)>,
}

impl<'a> Files<'a> {
    pub fn reads(mut self, option: &'static str, path: Option<&'a PathBuf>) -> Files<'a> {
        self.read.extend(path.map(|path| (option, path.as_path())));
        self
    }

    pub fn writes(mut self, option: &'static str, path: Option<&'a PathBuf>) -> Files<'a> {
        self.written.extend(path.map(|path| (option, path.as_path())));
        self
    }

    /// # Errors
    /// A file that is written is that of another option too: one of the two would be lost.
    pub fn differ(&self) -> Result<(), String> {
        for (index, (option, path)) in self.written.iter().enumerate() {
            let Some(file) = identity(path) else { continue };
            let others = self.written[..index].iter().chain(&self.read);
            let mut same = others.filter(|(_, other)| identity(other).as_ref() == Some(&file));
            if let Some((other, _)) = same.next() {
                return Err(format!("{other} and {option} name the same file, {}", path.display()));
            }
        }
        Ok(())
    }
}

/// What distinguishes a file from others, however it is named; `None` for what is no file, such as a terminal.
#[derive(PartialEq, Eq)]
enum Identity {
    Existing { device: u64, inode: u64 },
    Missing(PathBuf),
}

fn identity(path: &Path) -> Option<Identity> {
    /// As many as Linux follows.
    const LINKS_MAX: usize = 40;
    identity_behind(path, LINKS_MAX)
}

fn identity_behind(path: &Path, links: usize) -> Option<Identity> {
    if let Ok(found) = fs::metadata(path) {
        let file = Identity::Existing { device: found.dev(), inode: found.ino() };
        return found.is_file().then_some(file);
    }
    // A link to what is not there yet: that is what will be written.
    if let Ok(to) = fs::read_link(path) {
        let to = path.parent().map_or(to.clone(), |folder| folder.join(to));
        return identity_behind(&to, links.checked_sub(1)?);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or(Path::new("."))).ok()?;
    Some(Identity::Missing(folder.join(path.file_name()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_options_is_named_whatever_its_spelling() {
        let folder = std::env::temp_dir().join(format!("throng-files-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = |name: &str| folder.join(name);
        let (new, same, other) = (path("new"), path("./new"), path("other"));
        let clash = |one: &PathBuf, two: &PathBuf| {
            Files::default().writes("--json", Some(one)).writes("--html", Some(two)).differ()
        };
        let why = clash(&new, &same).expect_err("the same, not there yet");
        assert!(why.contains("--json and --html"), "{why}");
        assert_eq!(clash(&new, &other), Ok(()));
        std::os::unix::fs::symlink("new", path("early")).expect("a link");
        assert!(clash(&new, &path("early")).is_err(), "a link to what is not there yet");
        std::os::unix::fs::symlink("round", path("round")).expect("a link");
        assert_eq!(clash(&path("round"), &path("round")), Ok(()), "the run cannot create it");
        fs::write(&new, "").expect("a file");
        std::os::unix::fs::symlink(&new, path("link")).expect("a link");
        assert!(clash(&new, &path("link")).is_err());
        let files = Files::default().reads("--tokens", Some(&new)).writes("--json", Some(&same));
        assert!(files.differ().expect_err("it would be emptied").contains("--tokens and --json"));
        let null = PathBuf::from("/dev/null");
        assert_eq!(clash(&null, &null), Ok(()));
        fs::remove_dir_all(&folder).expect("it is there");
    }
}
