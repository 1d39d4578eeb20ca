//! The rooms that exist.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::clock::now_ms;
use crate::dialect::{Dialect, OnConflict};
use crate::statement::{narrow, statement_chunks, values, widen};
use crate::{Store, StoreError};

/// Seqs of the newest messages, by room.
pub(crate) type LastSeqs = BTreeMap<u32, u64>;

/// A room.
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
        let select = self.db().query("SELECT id, name, last_seq FROM rooms ORDER BY id");
        self.db().rows(select).await?.iter().map(read_room).collect()
    }

    /// The last seq of every room, by id: (room, seq of its newest message).
    ///
    /// # Errors
    /// The database failed.
    pub async fn tips(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        Ok(self.rooms().await?.into_iter().map(|room| (room.id, room.last_seq)).collect())
    }

    /// The room with this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn room(&self, id: u32) -> Result<Option<RoomRow>, StoreError> {
        let select = self.db().query("SELECT id, name, last_seq FROM rooms WHERE id = ?");
        let row = self.db().row(select.bind(i64::from(id))).await?;
        row.map(|row| read_room(&row)).transpose()
    }

    /// Creates the configured rooms, and renames those that exist. Other rooms stay.
    ///
    /// # Errors
    /// The database failed; no room was changed.
    pub async fn ensure_rooms(&self, rooms: &[(u32, String)]) -> Result<(), StoreError> {
        // In the order in which every node locks them.
        let mut rooms: Vec<_> = rooms.iter().collect();
        rooms.sort_unstable();
        // A disk that is full is no reason not to start.
        let there = self.rooms().await?;
        let is_there = |(id, name): &(u32, String)| {
            let name = self.db().dialect.text(name);
            there.iter().any(|room| room.id == *id && room.name == name)
        };
        if rooms.iter().all(|room| is_there(room)) {
            return Ok(());
        }
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
        let insert = self.db().query(sql).bind(i64::from(id)).bind(default_name(id));
        self.db().execute(insert.bind(now_ms())).await?;
        self.room(id).await?.ok_or(StoreError::Corrupt("a room just created is missing"))
    }
}

/// Name of a room that was not configured.
pub(crate) fn default_name(id: u32) -> String {
    format!("Room {id}")
}

/// Writes the new last seqs of rooms, inside the caller's transaction.
pub(crate) async fn raise_rooms(
    write: &mut AnyConnection,
    dialect: Dialect,
    raised: &LastSeqs,
) -> Result<(), StoreError> {
    let raised: Vec<_> = raised.iter().collect();
    for chunk in statement_chunks(&raised) {
        let mut update = dialect.query(format!(
            "UPDATE rooms SET last_seq = CASE id {}END WHERE id IN {}",
            "WHEN ? THEN ? ".repeat(chunk.len()),
            values(1, chunk.len())
        ));
        for (room, last_seq) in chunk {
            update = update.bind(i64::from(**room)).bind(widen(**last_seq));
        }
        for (room, _) in chunk {
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
