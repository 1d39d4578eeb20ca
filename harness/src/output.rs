//! Where results go: standard output, and files that are opened before a run.

use std::fmt::Display;
use std::fs::File;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};

/// Prints a line. That nobody reads it any more does not end a run, whose reports are files.
macro_rules! say {
    ($($arg:tt)*) => { $crate::output::print(format_args!($($arg)*)) };
}
pub(crate) use say;

pub fn print(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}

/// Prints a line of the program about itself.
pub fn complain(text: impl Display) {
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
