//! What can go wrong, told apart by whose fault it is and what to do next.

use std::sync::Arc;

/// The store could not do its work; nothing of the failed call was kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A bounded queue is full. Try again later.
    #[error("the store is busy")]
    Busy,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The database refused or failed. Shared, since one failed commit answers many callers.
    #[error("database: {0}")]
    Database(#[from] Arc<sqlx::Error>),
    /// The database did not answer in time: see `Options::answer_timeout`. Whether what was asked
    /// has been done is open.
    #[error("the database does not answer")]
    Unanswered,
    /// The migrations of the database could not be applied.
    #[error("migration: {0}")]
    Migration(Arc<sqlx::migrate::MigrateError>),
    /// The data directory could not be read or written.
    #[error("file: {0}")]
    File(Arc<std::io::Error>),
    /// A stored value does not have the shape this version writes.
    #[error("the database holds a value that cannot be right: {0}")]
    Corrupt(&'static str),
    /// The database URL names no database that this build supports.
    #[error("unsupported database URL: {0}")]
    Url(String),
}

impl StoreError {
    /// The database itself said no.
    pub(crate) fn is_answer(&self) -> bool {
        let Self::Database(error) = self else { return false };
        matches!(error.as_ref(), sqlx::Error::Database(_))
    }

    /// A unique key is there already.
    pub(crate) fn is_taken(&self) -> bool {
        let Self::Database(error) = self else { return false };
        matches!(error.as_ref(), sqlx::Error::Database(error) if error.is_unique_violation())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migration(Arc::new(error))
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::File(Arc::new(error))
    }
}

/// Why a user was not registered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another account has this e-mail, in whatever spelling.
    #[error("the e-mail is taken")]
    EmailTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why messages were not appended; none of the call's messages was kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the room does not exist")]
    UnknownRoom,
    /// The first seq is not the one after the room's last: the caller's counter is wrong, usually
    /// because an earlier append failed. `last_seq` is where the room stands.
    #[error("the room stands at seq {last_seq}")]
    OutOfSequence { last_seq: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why bytes were not taken as an image.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImageError {
    /// Neither PNG, JPEG, GIF nor WebP by its content.
    #[error("not a PNG, JPEG, GIF or WebP image")]
    Unsupported,
    /// More bytes than `Options::image_bytes_max`.
    #[error("the image is too large")]
    TooLarge,
    /// Larger, in pixels, than a browser should be asked to decode.
    #[error("the image has too many pixels")]
    TooManyPixels,
    #[error(transparent)]
    Store(#[from] StoreError),
}
