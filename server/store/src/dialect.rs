//! What differs between the databases. All other SQL is written once, with `?` for its parameters.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

/// A statement whose parameters are bound one by one.
pub(crate) type Statement = Query<'static, Any, AnyArguments>;

/// A family of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// What an `INSERT` does with a row whose key exists.
pub(crate) enum OnConflict {
    Keep,
    Replace {
        column: &'static str,
    },
    /// The larger of both values of each column stays.
    Raise {
        table: &'static str,
        columns: &'static [&'static str],
    },
}

impl Dialect {
    pub fn of(url: &str) -> Option<Self> {
        match url.split_once(':')?.0 {
            "sqlite" => Some(Self::Sqlite),
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::Mysql),
            _ => None,
        }
    }

    /// A statement: constant text, perhaps with repeated groups of parameters, never with a value
    /// inside.
    pub fn query(self, sql: impl Into<Cow<'static, str>>) -> Statement {
        let sql = sql.into();
        sqlx::query(AssertSqlSafe(match self {
            Self::Sqlite | Self::Mysql => sql,
            Self::Postgres => numbered(&sql).into(),
        }))
    }

    /// SQLite's transactions take the write lock when they begin, so that they cannot fail half-way
    /// because another one holds it.
    pub fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres | Self::Mysql => "BEGIN",
        }
    }

    /// First statement on a connection to a server. `limit` bounds how long a statement may take and
    /// how long a transaction may stay idle, so that a node that was suspended inside a transaction
    /// holds its locks no longer than that.
    pub fn session(self, limit: Duration) -> String {
        let ms = limit.as_millis().max(1);
        let seconds = limit.as_secs().max(1);
        match self {
            Self::Sqlite => String::new(),
            Self::Postgres => format!(
                "SET statement_timeout = {ms}; SET idle_in_transaction_session_timeout = {ms}"
            ),
            // Fewer locks than MySQL's default; each of our statements that must see the newest row
            // locks it. Without a limit MySQL waits for the lock of a table for a year, also when nobody waits for
            // the answer. Only MariaDB reads the comment; MySQL does not have these limits.
            Self::Mysql => format!(
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
                 SET SESSION innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds} \
                 /*M! , max_statement_time = {seconds}, idle_transaction_timeout = {seconds} */"
            ),
        }
    }

    /// End of a `SELECT` that locks its rows until the transaction ends.
    pub fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres | Self::Mysql => " FOR UPDATE",
        }
    }

    /// Whether the family supports `INSERT … RETURNING`: MariaDB does, MySQL does not.
    pub fn has_returning(self) -> bool {
        self != Self::Mysql
    }

    /// End of an `INSERT`. `key`: the columns of the unique key, with commas.
    pub fn on_conflict(self, key: &str, then: &OnConflict) -> String {
        let larger = if self == Self::Sqlite { "max" } else { "GREATEST" };
        match (self, then) {
            (Self::Sqlite | Self::Postgres, OnConflict::Keep) => {
                format!(" ON CONFLICT ({key}) DO NOTHING")
            }
            (Self::Sqlite | Self::Postgres, OnConflict::Replace { column }) => {
                format!(" ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column}")
            }
            (Self::Sqlite | Self::Postgres, OnConflict::Raise { table, columns }) => {
                let raise = |column: &&str| {
                    format!("{column} = {larger}({table}.{column}, excluded.{column})")
                };
                let raised = columns.iter().map(raise).collect::<Vec<_>>().join(", ");
                format!(" ON CONFLICT ({key}) DO UPDATE SET {raised}")
            }
            // `IGNORE` would swallow other errors too.
            (Self::Mysql, OnConflict::Keep) => {
                let first = key.split(',').next().unwrap_or(key);
                format!(" ON DUPLICATE KEY UPDATE {first} = VALUES({first})")
            }
            (Self::Mysql, OnConflict::Replace { column }) => {
                format!(" ON DUPLICATE KEY UPDATE {column} = VALUES({column})")
            }
            (Self::Mysql, OnConflict::Raise { table, columns }) => {
                let raise = |column: &&str| {
                    format!("{column} = {larger}({table}.{column}, VALUES({column}))")
                };
                let raised = columns.iter().map(raise).collect::<Vec<_>>().join(", ");
                format!(" ON DUPLICATE KEY UPDATE {raised}")
            }
        }
    }

    /// PostgreSQL has no NUL in text, and one such message would fail the whole batch: as in HTML,
    /// U+FFFD replaces it.
    pub fn text(self, text: &str) -> String {
        if self == Self::Postgres { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
    }
}

/// The text with `$1`, `$2` … for its question marks.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 16);
    let mut parts = sql.split('?');
    text.push_str(parts.next().unwrap_or_default());
    for (index, part) in parts.enumerate() {
        let _ = write!(text, "${}{part}", index + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_for_postgres() {
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
        let sql = "INSERT INTO t VALUES (?, ?), (?, ?) WHERE x = ?";
        assert_eq!(numbered(sql), "INSERT INTO t VALUES ($1, $2), ($3, $4) WHERE x = $5");
    }

    #[test]
    fn the_scheme_names_the_database() {
        let of = Dialect::of;
        assert_eq!(of("sqlite:throng.db"), Some(Dialect::Sqlite));
        assert_eq!(of("postgresql://a@b/c"), Some(Dialect::Postgres));
        assert_eq!(of("mariadb://a@b/c"), Some(Dialect::Mysql));
        assert_eq!(of("mongodb://a@b/c"), None);
        assert_eq!(of("throng.db"), None);
    }

    #[test]
    fn no_text_for_postgres_has_a_nul() {
        assert_eq!(Dialect::Postgres.text("a\0b"), "a\u{fffd}b");
        assert_eq!(Dialect::Sqlite.text("a\0b"), "a\0b");
    }
}
