//! The versions of the schema, one file each in `migrations/`.
//!
//! `sqlx::migrate!` would embed them too, but its macro builds every database driver once more.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe, Executor, Row, SqlStr};

use crate::StoreError;
use crate::dialect::Dialect;

/// The table in which sqlx notes what was applied.
const APPLIED: &str = "_sqlx_migrations";

/// Every database of ours has this one.
const FIRST: i64 = 1;

/// What PostgreSQL may keep texts in: every character has a form in it, or any byte is kept.
const ENCODINGS: [&str; 2] = ["UTF8", "SQL_ASCII"];

/// Version, name, text.
type File = (i64, &'static str, &'static str);

const SQLITE: &[File] = &[
    (1, "initial", include_str!("../migrations/sqlite/0001_initial.sql")),
    (2, "nodes", include_str!("../migrations/sqlite/0002_nodes.sql")),
    (3, "client ids", include_str!("../migrations/sqlite/0003_client_ids.sql")),
    (4, "choices", include_str!("../migrations/sqlite/0004_choices.sql")),
];
const POSTGRES: &[File] = &[
    (1, "initial", include_str!("../migrations/postgres/0001_initial.sql")),
    (2, "client ids", include_str!("../migrations/postgres/0002_client_ids.sql")),
    (3, "choices", include_str!("../migrations/postgres/0003_choices.sql")),
];
const MYSQL: &[File] = &[
    (1, "initial", include_str!("../migrations/mysql/0001_initial.sql")),
    (2, "client ids", include_str!("../migrations/mysql/0002_client_ids.sql")),
    (3, "choices", include_str!("../migrations/mysql/0003_choices.sql")),
];

fn files(dialect: Dialect) -> &'static [File] {
    match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
        Dialect::Mysql => MYSQL,
    }
}

/// All versions of a database's schema.
pub(crate) fn of(dialect: Dialect) -> Migrator {
    let migration = |&(version, name, sql): &File| {
        let text = SqlStr::from_static(sql);
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, text, false)
    };
    Migrator::with_migrations(files(dialect).iter().map(migration).collect())
}

/// Whether all migrations are applied. Refuses what [`Migrator::run`] would refuse, and the tables of another program
/// before a migration meets them. Changes nothing.
///
/// # Errors
/// [`StoreError::Encoding`], [`StoreError::Foreign`], [`StoreError::Migration`], or the database failed.
pub(crate) async fn judge(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<bool, StoreError> {
    if dialect == Dialect::Postgres {
        let encoding = "SELECT CAST(getdatabaseencoding() AS TEXT)";
        let encoding: String = connection.fetch_one(encoding).await?.try_get(0)?;
        if !ENCODINGS.contains(&encoding.as_str()) {
            return Err(StoreError::Encoding(encoding));
        }
    }
    // One statement: where another node is migrating, a table of ours comes with the row of its migration.
    let found = dialect.query(count_of_tables(dialect)).fetch_one(&mut *connection).await?;
    let (lists, tables): (i64, i64) = (found.try_get(0)?, found.try_get(1)?);
    let applied = match lists {
        0 => Vec::new(),
        _ => connection.list_applied_migrations(APPLIED).await?,
    };
    if !applied.iter().any(|row| row.version == FIRST) {
        let is_empty = tables == 0 && applied.is_empty();
        return if is_empty { Ok(false) } else { Err(StoreError::Foreign) };
    }
    if let Some(version) = connection.dirty_version(APPLIED).await? {
        return Err(MigrateError::Dirty(version).into());
    }
    let migrator = of(dialect);
    let is_applied = |version| applied.iter().any(|row| row.version == version);
    let is_current = migrator.iter().all(|migration| is_applied(migration.version));
    for row in applied {
        let migration = migrator.iter().find(|migration| migration.version == row.version);
        let migration = migration.ok_or(MigrateError::VersionMissing(row.version))?;
        if migration.checksum != row.checksum {
            return Err(MigrateError::VersionMismatch(row.version).into());
        }
    }
    Ok(is_current)
}

/// Whether the user of this connection has the rights on our tables that [`try_writing`] does not need.
///
/// # Errors
/// Which not.
pub(crate) async fn has_rights(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<(), StoreError> {
    // One statement for all tables: this is asked twice a second, and the server may be far away.
    match dialect {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => {
            let has = |right| format!("has_table_privilege(name, '{right}')");
            let rights = ["SELECT", "INSERT", "UPDATE"].map(has).join(" AND ");
            let names = tables(dialect).join("', '");
            let lacking = format!(
                "SELECT name FROM unnest(ARRAY['{names}']) AS name WHERE NOT ({rights}) LIMIT 1"
            );
            match dialect.query(lacking).fetch_optional(&mut *connection).await? {
                None => Ok(()),
                Some(row) => {
                    let table: String = row.try_get(0)?;
                    Err(StoreError::Rights(format!("read, insert into and change {table}")))
                }
            }
        }
        Dialect::Mysql => {
            let insert =
                |table: &str| format!("INSERT INTO {table} SELECT * FROM {table} WHERE 1 = 0");
            let inserts: Vec<String> = tables(dialect).into_iter().map(insert).collect();
            connection.execute(AssertSqlSafe(inserts.join("; "))).await?;
            Ok(())
        }
    }
}

/// Whether the user of this connection may write to our tables, and whether the server takes any writing. Changes
/// nothing.
///
/// # Errors
/// Why not.
pub(crate) async fn try_writing(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<(), StoreError> {
    // Several statements at once are one transaction. What waits for a lock must not wait on when nobody waits for it.
    let mut statements = match dialect {
        // It locks the file, not tables, and has no users: the beginning of a transaction shows both.
        Dialect::Sqlite => return Ok(()),
        Dialect::Postgres => vec!["SET LOCAL lock_timeout = 600".to_owned()],
        Dialect::Mysql => vec!["SET SESSION sql_safe_updates = 0".to_owned()],
    };
    statements.push(format!("UPDATE {APPLIED} SET execution_time = execution_time WHERE 1 = 0"));
    let delete = |table: &str| format!("DELETE FROM {table} WHERE 1 = 0");
    statements.extend(tables(dialect).into_iter().map(delete));
    connection.execute(AssertSqlSafe(statements.join("; "))).await?;
    Ok(())
}

/// Whether the user of this connection may create tables. Creates none.
///
/// # Errors
/// Why not.
pub(crate) async fn may_create(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<(), StoreError> {
    match dialect {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => {
            let create = "BEGIN; CREATE TABLE throng_check (id INT PRIMARY KEY); ROLLBACK";
            connection.execute(create).await?;
            Ok(())
        }
        // It ends every transaction before it creates a table, so it is only asked.
        Dialect::Mysql => {
            let rows = connection.fetch_all("SHOW GRANTS").await?;
            let grants =
                rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
            if grants.iter().any(|grant| grants_create(grant)) {
                return Ok(());
            }
            Err(StoreError::Rights("create tables".to_owned()))
        }
    }
}

/// Whether a line of `SHOW GRANTS` has the right to create tables, or a role, which may have it.
fn grants_create(grant: &str) -> bool {
    let Some(rights) = grant.strip_prefix("GRANT ") else { return false };
    match rights.split_once(" ON ") {
        Some((rights, _)) => {
            rights.split(", ").any(|right| ["CREATE", "ALL PRIVILEGES"].contains(&right))
        }
        None => true,
    }
}

/// A `SELECT` of two numbers: tables named [`APPLIED`], and tables with a name of ours.
fn count_of_tables(dialect: Dialect) -> String {
    let (name, from) = match dialect {
        Dialect::Sqlite => ("lower(name)", "sqlite_master WHERE type IN ('table', 'view')"),
        Dialect::Postgres => (
            "c.relname",
            "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = current_schema()",
        ),
        Dialect::Mysql => {
            ("table_name", "information_schema.tables WHERE table_schema = DATABASE()")
        }
    };
    let ours = tables(dialect).join("', '");
    format!(
        "SELECT COUNT(CASE WHEN {name} = '{APPLIED}' THEN 1 END), \
         COUNT(CASE WHEN {name} IN ('{ours}') THEN 1 END) FROM {from}"
    )
}

/// The tables that the migrations create, and what they rename them to.
fn tables(dialect: Dialect) -> Vec<&'static str> {
    let lines = files(dialect).iter().flat_map(|(_, _, sql)| sql.lines());
    let named = lines.filter_map(|line| {
        let renamed = line.split_once(" RENAME TO ").map(|(_, name)| name);
        line.strip_prefix("CREATE TABLE ").or(renamed)?.split([' ', ';']).next()
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sqlx::migrate::Migrator;

    use super::{of, tables};
    use crate::dialect::Dialect;

    #[test]
    fn a_grant_of_mysql_has_the_right_to_create_tables_or_not() {
        for (grant, has) in [
            ("GRANT USAGE ON *.* TO `app`@`localhost`", false),
            (
                "GRANT SELECT, INSERT, CREATE TEMPORARY TABLES ON `chat`.* TO `app`@`localhost`",
                false,
            ),
            ("GRANT SELECT, INSERT, CREATE, DROP ON `chat`.* TO `app`@`localhost`", true),
            ("GRANT ALL PRIVILEGES ON `chat`.* TO `app`@`localhost` WITH GRANT OPTION", true),
            ("GRANT `owner` TO `app`@`localhost`", true),
            ("SET DEFAULT ROLE NONE FOR `app`@`localhost`", false),
        ] {
            assert_eq!(super::grants_create(grant), has, "{grant}");
        }
    }

    #[test]
    fn the_tables_of_ours_are_those_of_the_migrations() {
        let first = ["users", "tokens", "rooms", "messages"];
        let sqlite = [&first[..], &["reads", "files", "reading", "read_marks"]].concat();
        assert_eq!(tables(Dialect::Sqlite), sqlite);
        let server = [&first[..], &["read_marks", "reading", "files"]].concat();
        assert_eq!(tables(Dialect::Postgres), server);
        assert_eq!(tables(Dialect::Mysql), server);
    }

    #[tokio::test]
    async fn the_list_is_what_is_in_the_folders() {
        for (dir, dialect) in [
            ("sqlite", Dialect::Sqlite),
            ("postgres", Dialect::Postgres),
            ("mysql", Dialect::Mysql),
        ] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dir);
            let files = Migrator::new(dir).await.expect("the folder");
            let parts = |migrator: &Migrator| -> Vec<_> {
                let all = migrator.iter();
                all.map(|m| (m.version, m.description.clone(), m.checksum.clone())).collect()
            };
            assert_eq!(parts(&of(dialect)), parts(&files));
        }
    }
}
