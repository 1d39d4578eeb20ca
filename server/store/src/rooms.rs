//! The rooms that exist.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::clock::now_ms;
use crate::db::{Asked, narrow, statement_lengths};
use crate::dialect::{Dialect, OnConflict, values};
use crate::messages::widen;
use crate::plan::Stands;
use crate::{Store, StoreError};

/// A room and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    pub id: u32,
    pub name: String,
    /// Seq of the newest message, 0 before the first. Also the number of its messages.
    pub last_seq: u64,
}

impl Store {
    /// All rooms, by id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rooms(&self) -> Result<Vec<RoomRow>, StoreError> {
        self.db()
            .query("SELECT id, name, last_seq FROM rooms ORDER BY id")
            .fetch_all(&self.db().readers)
            .in_time(self.db())
            .await?
            .iter()
            .map(read_room)
            .collect()
    }

    /// Where every room stands, by id: (room, seq of its newest message).
    ///
    /// # Errors
    /// The database failed.
    pub async fn tips(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        self.db()
            .query("SELECT id, last_seq FROM rooms ORDER BY id")
            .fetch_all(&self.db().readers)
            .in_time(self.db())
            .await?
            .iter()
            .map(|row| {
                let room = narrow(row.try_get(0)?, "room id")?;
                Ok((room, narrow(row.try_get(1)?, "last seq of a room")?))
            })
            .collect()
    }

    /// The room with this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn room(&self, id: u32) -> Result<Option<RoomRow>, StoreError> {
        self.db()
            .query("SELECT id, name, last_seq FROM rooms WHERE id = ?")
            .bind(i64::from(id))
            .fetch_optional(&self.db().readers)
            .in_time(self.db())
            .await?
            .map(|row| read_room(&row))
            .transpose()
    }

    /// Makes the configured rooms exist under their configured names. Other rooms stay.
    ///
    /// # Errors
    /// The database failed; no room was changed.
    pub async fn ensure_rooms(&self, rooms: &[(u32, String)]) -> Result<(), StoreError> {
        // In the order in which every node locks them.
        let mut rooms: Vec<_> = rooms.iter().collect();
        rooms.sort_unstable();
        self.db().retried(|| self.try_ensure_rooms(&rooms)).await
    }

    async fn try_ensure_rooms(&self, rooms: &[&(u32, String)]) -> Result<(), StoreError> {
        let rename = OnConflict::Replace { column: "name" };
        let sql = format!(
            "INSERT INTO rooms (id, name, created_at) VALUES (?, ?, ?){}",
            self.db().dialect.on_conflict("id", &rename)
        );
        let mut write = self.db().write().await?;
        for (id, name) in rooms {
            self.db()
                .query(sql.clone())
                .bind(i64::from(*id))
                .bind(self.db().dialect.text(name))
                .bind(now_ms())
                .execute(&mut *write)
                .await?;
        }
        write.commit().await?;
        Ok(())
    }

    /// The room with this id, created as `Room <id>` if it did not exist.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_room(&self, id: u32) -> Result<RoomRow, StoreError> {
        let sql = format!(
            "INSERT INTO rooms (id, name, created_at) VALUES (?, ?, ?){}",
            self.db().dialect.on_conflict("id", &OnConflict::Keep)
        );
        self.db()
            .query(sql)
            .bind(i64::from(id))
            .bind(format!("Room {id}"))
            .bind(now_ms())
            .execute(&self.db().writer)
            .in_time(self.db())
            .await?;
        self.room(id).await?.ok_or(StoreError::Corrupt("a room just created is missing"))
    }
}

/// Notes where rooms stand now, inside the caller's transaction.
pub(crate) async fn raise_rooms(
    write: &mut AnyConnection,
    dialect: Dialect,
    raised: &Stands,
) -> Result<(), StoreError> {
    let mut rest = raised.iter();
    for length in statement_lengths(raised.len()) {
        let chunk: Vec<_> = rest.by_ref().take(length).collect();
        let mut update = dialect.query(format!(
            "UPDATE rooms SET last_seq = CASE id {}END WHERE id IN {}",
            "WHEN ? THEN ? ".repeat(length),
            values(1, length)
        ));
        for (room, last_seq) in &chunk {
            update = update.bind(i64::from(**room)).bind(widen(**last_seq));
        }
        for (room, _) in &chunk {
            update = update.bind(i64::from(**room));
        }
        update.execute(&mut *write).await?;
    }
    Ok(())
}

fn read_room(row: &AnyRow) -> Result<RoomRow, StoreError> {
    Ok(RoomRow {
        id: narrow(row.try_get(0)?, "room id")?,
        name: row.try_get(1)?,
        last_seq: narrow(row.try_get(2)?, "last seq of a room")?,
    })
}
