//! What is wrong with an events file.

use std::fmt;

/// One line, or a few for faults of the syntax: the file, the key, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(crate) fn of(file: &str, why: impl fmt::Display) -> Error {
        Error(format!("{file}: {why}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
