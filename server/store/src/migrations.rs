//! The versions of the schema, one file each in `migrations/`.
//!
//! `sqlx::migrate!` would embed them too, but its macro builds every database driver once more.

use std::borrow::Cow;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::dialect::Dialect;

/// Version, name, text.
type File = (i64, &'static str, &'static str);

const SQLITE: &[File] = &[
    (1, "initial", include_str!("../migrations/sqlite/0001_initial.sql")),
    (2, "nodes", include_str!("../migrations/sqlite/0002_nodes.sql")),
    (3, "client ids", include_str!("../migrations/sqlite/0003_client_ids.sql")),
];
const POSTGRES: &[File] = &[
    (1, "initial", include_str!("../migrations/postgres/0001_initial.sql")),
    (2, "client ids", include_str!("../migrations/postgres/0002_client_ids.sql")),
];
const MYSQL: &[File] = &[
    (1, "initial", include_str!("../migrations/mysql/0001_initial.sql")),
    (2, "client ids", include_str!("../migrations/mysql/0002_client_ids.sql")),
];

/// All versions of a database's schema.
pub(crate) fn of(dialect: Dialect) -> Migrator {
    let files = match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
        Dialect::Mysql => MYSQL,
    };
    let migration = |&(version, name, sql): &File| {
        let text = SqlStr::from_static(sql);
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, text, false)
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sqlx::migrate::Migrator;

    use super::of;
    use crate::dialect::Dialect;

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
