//! Which failures of a database are transient.

use std::io;

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use crate::StoreError;

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

/// The server or its operator closed the connection.
fn is_shutdown(error: &dyn DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03"))
        || matches!(mysql_number(error), Some(1053 | 1927))
}

fn mysql_number(error: &dyn DatabaseError) -> Option<u16> {
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}
