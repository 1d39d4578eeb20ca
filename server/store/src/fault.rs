//! What a failure of the database or of a file means: whether it passes, and what to say of it.

use std::{fmt, io};

use rustix::io::Errno;
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use crate::StoreError;

/// How the storage fails, in words that name no path, statement or value: anyone may read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageFault {
    /// No space, or a quota or a limit on the size of files is used up.
    Full,
    ReadOnly,
    /// The device failed.
    Io,
    /// No file may be opened, because this process or the machine has too many.
    Descriptors,
    OutOfMemory,
    /// What is stored is damaged.
    Damaged,
    /// The file or the server may not be used by this user.
    Denied,
    /// The database refuses a statement of ours for a reason of its own: a trigger, a sequence that gives numbers out
    /// again, a table that was changed.
    Refused,
    /// The database file or its log is no longer under its name.
    Replaced,
    /// The folder of uploads is another one than at the start.
    Moved,
    /// A lock of the database is not released: another program holds it, or a write of our own that the disk
    /// has not finished.
    Locked,
    /// No connection to the database.
    Unreachable,
    Unanswered,
}

impl fmt::Display for StorageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the disk is full",
            Self::ReadOnly => "the storage is read-only",
            Self::Io => "the disk reports an I/O error",
            Self::Descriptors => "the server has too many open files",
            Self::OutOfMemory => "the database is out of memory",
            Self::Damaged => "the database is damaged",
            Self::Replaced => "the database file or its log was removed or replaced",
            Self::Moved => "the folder of uploads was removed, replaced or unmounted: uploads are refused",
            Self::Denied => "access to the storage is denied",
            Self::Refused => "the database refuses what is written: the log has its words",
            Self::Locked => "the database stays locked, by another program or by a write that the disk has not finished",
            Self::Unreachable => "there is no connection to the database",
            Self::Unanswered => "the database does not answer in time",
        })
    }
}

impl StorageFault {
    /// Whether a failed call shows that the storage is down. After the others a probe decides: one
    /// call may have waited for a lock that others do not need, or used a connection that was lost.
    pub(crate) fn is_certain(self) -> bool {
        !matches!(self, Self::Locked | Self::Unreachable | Self::Unanswered)
    }

    /// Of an error of the file system.
    pub(crate) fn of_file(error: &io::Error) -> Self {
        if error.raw_os_error().map(Errno::from_raw_os_error).is_some_and(has_no_descriptor) {
            return Self::Descriptors;
        }
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::OutOfMemory => Self::OutOfMemory,
            _ => Self::Io,
        }
    }

    fn of_database(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                Some(Self::Unreachable)
            }
            sqlx::Error::WorkerCrashed => Some(Self::Io),
            sqlx::Error::PoolTimedOut => Some(Self::Unanswered),
            sqlx::Error::Database(error) => {
                let refused = || is_refusal(error.as_ref()).then_some(Self::Refused);
                Self::of_answer(error.as_ref()).or_else(refused)
            }
            _ => None,
        }
    }

    fn of_answer(error: &dyn DatabaseError) -> Option<Self> {
        if error.try_downcast_ref::<SqliteError>().is_some() {
            let code: u32 = error.code()?.parse().ok()?;
            return Self::of_sqlite(code);
        }
        if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
            return Self::of_mysql(error.number());
        }
        error
            .try_downcast_ref::<PgDatabaseError>()
            .and_then(|error| Self::of_sqlstate(error.code()))
    }

    /// By SQLite's result code; its lowest byte is the class.
    fn of_sqlite(code: u32) -> Option<Self> {
        const IOERR_NOMEM: u32 = 3082;
        Some(match (code, code & 0xff) {
            (IOERR_NOMEM, _) | (_, 7) => Self::OutOfMemory,
            (_, 5 | 6 | 15) => Self::Locked,
            (_, 3 | 23) => Self::Denied,
            (_, 8) => Self::ReadOnly,
            (_, 10) => Self::Io,
            (_, 11 | 26) => Self::Damaged,
            (_, 13) => Self::Full,
            (_, 14) => Self::Unreachable,
            _ => return None,
        })
    }

    fn of_sqlstate(code: &str) -> Option<Self> {
        Some(match code {
            "53100" => Self::Full,
            "53200" => Self::OutOfMemory,
            "53300" | "57P01" | "57P02" | "57P03" => Self::Unreachable,
            "25006" => Self::ReadOnly,
            "58030" => Self::Io,
            "XX001" | "XX002" => Self::Damaged,
            "55P03" => Self::Locked,
            "57014" => Self::Unanswered,
            "42501" => Self::Denied,
            _ if code.starts_with("28") => Self::Denied,
            _ => return None,
        })
    }

    fn of_mysql(number: u16) -> Option<Self> {
        Some(match number {
            1021 | 1114 => Self::Full,
            1037 | 1038 | 1041 => Self::OutOfMemory,
            1040 | 1053 | 1927 => Self::Unreachable,
            1290 | 1792 | 1836 => Self::ReadOnly,
            1026 | 1030 => Self::Io,
            1044 | 1045 | 1142 | 1143 | 1227 | 1698 => Self::Denied,
            1205 => Self::Locked,
            1969 => Self::Unanswered,
            _ => return None,
        })
    }
}

impl StoreError {
    /// The unique key exists already.
    pub(crate) fn is_taken(&self) -> bool {
        let Self::Database(error) = self else { return false };
        matches!(error.as_ref(), sqlx::Error::Database(error) if is_taken(error.as_ref()))
    }

    /// How the storage failed, if that is what failed.
    #[must_use]
    pub fn storage_fault(&self) -> Option<StorageFault> {
        match self {
            Self::Database(error) => StorageFault::of_database(error),
            Self::File { error, .. } => Some(StorageFault::of_file(error)),
            Self::Unanswered => Some(StorageFault::Unanswered),
            Self::LowDisk => Some(StorageFault::Full),
            Self::Replaced(_) => Some(StorageFault::Replaced),
            Self::Moved(_) => Some(StorageFault::Moved),
            Self::Refused(_) => Some(StorageFault::Refused),
            Self::Rights(_) => Some(StorageFault::Denied),
            Self::Busy(_)
            | Self::Closed
            | Self::Migration(_)
            | Self::Encoding(_)
            | Self::Foreign
            | Self::Corrupt(_)
            | Self::Url(_)
            | Self::Emptied(_)
            | Self::InUse { .. } => None,
        }
    }
}

fn has_no_descriptor(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE)
}

/// Whether a connection that failed so must not be used again. What the database says of a statement
/// says nothing against the connection.
pub(crate) fn breaks_connection(error: &StoreError) -> bool {
    match error {
        StoreError::Database(error) if matches!(error.as_ref(), sqlx::Error::Database(_)) => {
            let fault = StorageFault::of_database(error);
            fault.is_some_and(|fault| fault != StorageFault::Refused)
        }
        // The connection may be all that keeps the file.
        StoreError::Corrupt(_) | StoreError::Replaced(_) => false,
        StoreError::Database(_)
        | StoreError::Busy(_)
        | StoreError::Closed
        | StoreError::LowDisk
        | StoreError::Unanswered
        | StoreError::Migration(_)
        | StoreError::Encoding(_)
        | StoreError::Rights(_)
        | StoreError::Foreign
        | StoreError::File { .. }
        | StoreError::Emptied(_)
        | StoreError::Moved(_)
        | StoreError::Refused(_)
        | StoreError::InUse { .. }
        | StoreError::Url(_) => true,
    }
}

/// Whether the answer to a COMMIT leaves open what became of the transaction. It does not if another
/// transaction has won, or a constraint was broken.
pub(crate) fn leaves_doubt(error: &StoreError) -> bool {
    let error = match error {
        StoreError::Database(error) => error,
        // Found before the COMMIT was sent.
        StoreError::Replaced(_) => return false,
        _ => return true,
    };
    match error.as_ref() {
        sqlx::Error::Database(error) => {
            !is_conflict(error.as_ref()) && matches!(error.kind(), ErrorKind::Other)
        }
        _ => true,
    }
}

/// Whether the same transaction may succeed when it is repeated at once: it lost against another
/// transaction, or lost its connection. A timeout of the pool is not such a failure.
pub(crate) fn is_transient(error: &StoreError) -> bool {
    let StoreError::Database(error) = error else { return false };
    match error.as_ref() {
        sqlx::Error::Io(error) => error.kind() != io::ErrorKind::NotFound,
        sqlx::Error::Database(error) => is_conflict(error.as_ref()) || is_shutdown(error.as_ref()),
        _ => false,
    }
}

/// Serialization failure, deadlock, or lock timeout.
fn is_conflict(error: &dyn DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("40001" | "40P01"))
        || matches!(mysql_number(error), Some(1205 | 1213))
}

/// A row with this unique key exists already, which a caller may have asked for. That of a number which the database
/// gave itself is no such key.
fn is_taken(error: &dyn DatabaseError) -> bool {
    const SQLITE_CONSTRAINT_UNIQUE: &str = "2067";
    let is_numbered = if error.try_downcast_ref::<SqliteError>().is_some() {
        error.code().as_deref() != Some(SQLITE_CONSTRAINT_UNIQUE)
    } else if mysql_number(error).is_some() {
        error.message().ends_with("PRIMARY'")
    } else {
        error.constraint().is_some_and(|name| name.ends_with("_pkey"))
    };
    error.is_unique_violation() && !is_numbered
}

/// Whether the database refuses a statement although nothing that a caller sent, and no other transaction, is why.
fn is_refusal(error: &dyn DatabaseError) -> bool {
    /// Values that do not fit, and transactions that lost.
    const OF_CALLERS: [&str; 2] = ["22", "40"];
    const SQLITE_TOO_BIG: u32 = 18;
    let code = error.code().unwrap_or_default();
    let is_of_caller = match error.try_downcast_ref::<SqliteError>() {
        Some(_) => code.parse().is_ok_and(|code: u32| code & 0xff == SQLITE_TOO_BIG),
        None => OF_CALLERS.iter().any(|class| code.starts_with(class)),
    };
    !is_of_caller && !is_conflict(error) && !is_shutdown(error) && !is_taken(error)
}

/// The server or its operator closed the connection.
fn is_shutdown(error: &dyn DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03"))
        || matches!(mysql_number(error), Some(1053 | 1927))
}

fn mysql_number(error: &dyn DatabaseError) -> Option<u16> {
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_sqlites_code_says_what_is_wrong() {
        use StorageFault as F;
        // The codes are those of sqlite3.h.
        for (code, fault) in [
            (5, Some(F::Locked)),
            (517, Some(F::Locked)),
            (7, Some(F::OutOfMemory)),
            (3082, Some(F::OutOfMemory)),
            (8, Some(F::ReadOnly)),
            (1032, Some(F::ReadOnly)),
            (778, Some(F::Io)),
            (13, Some(F::Full)),
            (26, Some(F::Damaged)),
            (267, Some(F::Damaged)),
            (1, None),
            (2067, None),
        ] {
            assert_eq!(F::of_sqlite(code), fault, "{code}");
        }
    }

    #[test]
    fn too_many_open_files_are_not_called_a_failure_of_the_disk() {
        for (errno, fault) in [
            (Errno::MFILE, StorageFault::Descriptors),
            (Errno::NFILE, StorageFault::Descriptors),
            (Errno::IO, StorageFault::Io),
            (Errno::NOSPC, StorageFault::Full),
            (Errno::DQUOT, StorageFault::Full),
            (Errno::ROFS, StorageFault::ReadOnly),
        ] {
            assert_eq!(StorageFault::of_file(&errno.into()), fault, "{errno}");
        }
    }

    #[test]
    fn a_violated_constraint_says_nothing_against_the_storage() {
        assert_eq!(StorageFault::of_sqlstate("23505"), None);
        assert_eq!(StorageFault::of_mysql(1062), None);
        assert!(!StorageFault::Locked.is_certain() && StorageFault::Full.is_certain());
    }
}
