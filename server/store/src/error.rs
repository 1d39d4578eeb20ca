//! Errors, by whose fault they are and what to do next.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A call failed; nothing of it was kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A bounded queue is full: the one of this setting. Try again later.
    #[error("the store is busy: {0} is reached")]
    Busy(&'static str),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Less is free than [`crate::Options::min_free_mb`] asks for.
    #[error("too little disk space is free")]
    LowDisk,
    /// The database failed. Shared, because one failed commit answers many callers.
    #[error("database: {}", cause(.0))]
    Database(#[from] Arc<sqlx::Error>),
    /// The database did not answer within [`crate::Options::answer_timeout`]. Whether it did what
    /// was asked is unknown.
    #[error("the database did not answer in time")]
    Unanswered,
    /// What was applied to the database are not the migrations of this build.
    #[error("{}", migration_fault(.0))]
    Migration(Arc<sqlx::migrate::MigrateError>),
    /// The database is not empty, and no migration of ours was applied to it.
    #[error("the database holds tables of another program")]
    Foreign,
    /// The user of the database has not got this right.
    #[error("denied: the user of the database has no right to {0}")]
    Rights(String),
    /// The database takes no rows of ours, for a reason of its own.
    #[error("the database refuses rows: {0}")]
    Refused(String),
    /// The database cannot keep every text.
    #[error(
        "the encoding of the database is {0}, and messages need UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// A file or directory could not be read or written.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: Arc<std::io::Error> },
    /// The database file is missing or has no bytes, and what is next to it shows that it had some.
    #[error(
        "{} is missing or empty, and what is next to it is not: restore it from a backup, or remove it and its -wal \
         to begin anew",
        .0.display()
    )]
    Emptied(PathBuf),
    /// The file that is open is no longer under its name, or was emptied: what is written to it is lost.
    #[error(
        "the database file {} or its log (-wal, -shm) was removed, replaced or emptied while it was open",
        .0.display()
    )]
    Replaced(PathBuf),
    /// The folder of uploads is no longer the one that was there at the start: what is written to it is not found again.
    #[error(
        "the folder {} was removed, replaced or unmounted while it was in use: put it back, or restart the server",
        .0.display()
    )]
    Moved(PathBuf),
    /// Another process has the database open.
    #[error(
        "the database is in use by {}, which holds {}",
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")),
        path.display()
    )]
    InUse { path: PathBuf, holder: Option<u32> },
    /// A stored value does not have the form that this version writes.
    #[error("the database holds an invalid value: {0}")]
    Corrupt(&'static str),
    /// The database URL names no database that this build supports.
    #[error("unsupported database URL: {0}")]
    Url(String),
}

impl StoreError {
    pub(crate) fn at(path: &Path, error: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), error: Arc::new(error) }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};
        match error {
            Execute(error) | ExecuteMigration(error, _) => error.into(),
            error => Self::Migration(Arc::new(error)),
        }
    }
}

/// What the operator can act on, where sqlx speaks to who writes migrations.
fn migration_fault(error: &sqlx::migrate::MigrateError) -> String {
    use sqlx::migrate::MigrateError::{Dirty, VersionMismatch, VersionMissing};
    match error {
        VersionMissing(version) => format!(
            "the data was written by a newer throng (migration {version} is unknown to this one)"
        ),
        VersionMismatch(version) => {
            format!("migration {version} was changed after it was applied")
        }
        Dirty(version) => format!("migration {version} did not complete"),
        error => error.to_string(),
    }
}

/// What the database said, without the words that sqlx puts around it.
fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Why a user was not registered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another account has this e-mail, compared by [`crate::email_key`].
    #[error("the e-mail is taken")]
    EmailTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an image was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImageError {
    /// Neither PNG, JPEG, GIF nor WebP by its content.
    #[error("not a PNG, JPEG, GIF or WebP image")]
    Unsupported,
    /// More bytes than [`crate::Options::image_bytes_max`].
    #[error("the image is too large")]
    TooLarge,
    /// More pixels than [`crate::Options::image_pixels_max`].
    #[error("the image has too many pixels")]
    TooManyPixels,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
