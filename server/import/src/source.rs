//! The original application's tables, page by page.

use std::str::FromStr;

use sqlx::any::{AnyConnectOptions, AnyRow};
use sqlx::{AnyConnection, ConnectOptions, Connection, Executor, Row};

use throng_store::StoreError;

use crate::ImportError;

pub(crate) struct LegacyUser {
    pub id: i64,
    pub name: String,
    pub email: String,
    pub password: String,
    pub avatar: String,
    pub token: Option<String>,
    pub verified: Option<String>,
    pub created: Option<String>,
    pub updated: Option<String>,
}

pub(crate) struct LegacyMessage {
    pub id: i64,
    pub user: i64,
    pub room: i64,
    pub msg: String,
    pub img: String,
    pub created: Option<String>,
}

pub(crate) struct LegacyCount {
    pub id: i64,
    pub user: i64,
    pub room: i64,
    pub count: i64,
}

/// The source, in one snapshot. Each table is read page by page, in the order of its ids.
pub(crate) struct Source {
    connection: AnyConnection,
    users: Table,
    messages: Table,
    counts: Table,
}

/// A table and how far it was read.
#[derive(Clone, Copy)]
struct Table {
    /// Selects the rows after an id; the first column is the id.
    select: &'static str,
    /// Id of the last row read.
    after: i64,
}

const USERS: &str = "\
    SELECT CAST(id AS SIGNED), name, email, password, avatar, api_token,
           DATE_FORMAT(email_verified_at, '%Y-%m-%d %H:%i:%s'),
           DATE_FORMAT(created_at, '%Y-%m-%d %H:%i:%s'),
           DATE_FORMAT(updated_at, '%Y-%m-%d %H:%i:%s')
      FROM users WHERE id > ? ORDER BY id LIMIT 1000";
const MESSAGES: &str = "\
    SELECT CAST(id AS SIGNED), CAST(user_id AS SIGNED), CAST(room_id AS SIGNED), msg, img,
           DATE_FORMAT(created_at, '%Y-%m-%d %H:%i:%s')
      FROM messages WHERE id > ? ORDER BY id LIMIT 1000";
const COUNTS: &str = "\
    SELECT CAST(id AS SIGNED), CAST(user_id AS SIGNED), CAST(room_id AS SIGNED),
           CAST(count AS SIGNED)
      FROM counts WHERE id > ? ORDER BY id LIMIT 1000";

impl Source {
    pub async fn open(url: &str) -> Result<Self, ImportError> {
        if !["mysql:", "mariadb:"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(ImportError::SourceUrl);
        }
        sqlx::any::install_default_drivers();
        let connect = AnyConnectOptions::from_str(url).map_err(unreadable)?;
        let mut connection = connect.connect().await.map_err(unreadable)?;
        // Times must be read as the application wrote them: in the server's own zone. sqlx sets UTC.
        for statement in [
            "SET SESSION time_zone = @@GLOBAL.time_zone",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ] {
            connection.execute(statement).await.map_err(unreadable)?;
        }
        let table = |select| Table { select, after: 0 };
        let (users, messages, counts) = (table(USERS), table(MESSAGES), table(COUNTS));
        Ok(Self { connection, users, messages, counts })
    }

    pub async fn users(&mut self) -> Result<Option<Vec<LegacyUser>>, ImportError> {
        page(&mut self.connection, &mut self.users, |row| {
            Ok(LegacyUser {
                id: row.try_get(0)?,
                name: row.try_get(1)?,
                email: row.try_get(2)?,
                password: row.try_get(3)?,
                avatar: row.try_get(4)?,
                token: row.try_get(5)?,
                verified: row.try_get(6)?,
                created: row.try_get(7)?,
                updated: row.try_get(8)?,
            })
        })
        .await
    }

    pub async fn messages(&mut self) -> Result<Option<Vec<LegacyMessage>>, ImportError> {
        page(&mut self.connection, &mut self.messages, |row| {
            Ok(LegacyMessage {
                id: row.try_get(0)?,
                user: row.try_get(1)?,
                room: row.try_get(2)?,
                msg: row.try_get(3)?,
                img: row.try_get(4)?,
                created: row.try_get(5)?,
            })
        })
        .await
    }

    pub async fn counts(&mut self) -> Result<Option<Vec<LegacyCount>>, ImportError> {
        page(&mut self.connection, &mut self.counts, |row| {
            Ok(LegacyCount {
                id: row.try_get(0)?,
                user: row.try_get(1)?,
                room: row.try_get(2)?,
                count: row.try_get(3)?,
            })
        })
        .await
    }

    pub async fn close(self) {
        // Nothing was changed, so a failure to close does no harm.
        let _ = self.connection.close().await;
    }
}

/// The next rows of a table; `None` after the last.
async fn page<T>(
    connection: &mut AnyConnection,
    table: &mut Table,
    read: impl Fn(&AnyRow) -> Result<T, sqlx::Error>,
) -> Result<Option<Vec<T>>, ImportError> {
    let query = sqlx::query(table.select).bind(table.after);
    let rows = query.fetch_all(connection).await.map_err(unreadable)?;
    let Some(last) = rows.last() else { return Ok(None) };
    table.after = last.try_get(0).map_err(unreadable)?;
    rows.iter().map(read).collect::<Result<_, _>>().map(Some).map_err(unreadable)
}

fn unreadable(error: sqlx::Error) -> ImportError {
    ImportError::Source(StoreError::from(error))
}
