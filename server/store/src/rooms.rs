//! The rooms that exist.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::clock::now_ms;
use crate::dialect::{Dialect, OnConflict};
use crate::statement::{LOOKUP_KEYS_MAX, narrow, padded, values, widen};
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

/// Locks the rooms that exist and reads their last seqs, inside the caller's transaction. They are locked in the order of
/// their ids, so that two nodes cannot wait for each other.
pub(crate) async fn lock_rooms(
    write: &mut AnyConnection,
    dialect: Dialect,
    rooms: &BTreeSet<u32>,
) -> Result<LastSeqs, StoreError> {
    let mut last_seqs = LastSeqs::new();
    let rooms: Vec<u32> = rooms.iter().copied().collect();
    for chunk in rooms.chunks(LOOKUP_KEYS_MAX) {
        let keys = padded(chunk);
        let those = values(1, keys.len());
        let sql = match dialect {
            // Each row that it returns wakes a thread.
            Dialect::Sqlite => {
                format!("SELECT group_concat(id || ' ' || last_seq) FROM rooms WHERE id IN {those}")
            }
            Dialect::Postgres | Dialect::Mysql => {
                format!("SELECT id, last_seq FROM rooms WHERE id IN {those} ORDER BY id FOR UPDATE")
            }
        };
        let select =
            keys.iter().fold(dialect.query(sql), |select, room| select.bind(i64::from(*room)));
        let rows = select.fetch_all(&mut *write).await?;
        if dialect == Dialect::Sqlite {
            // NULL where no room exists.
            let joined = rows.first().map(|row| row.try_get::<Option<String>, _>(0)).transpose()?;
            last_seqs.extend(parse_last_seqs(joined.flatten().as_deref().unwrap_or_default())?);
        } else {
            for row in rows {
                let room = narrow(row.try_get(0)?, "room id")?;
                last_seqs.insert(room, narrow(row.try_get(1)?, "last seq of a room")?);
            }
        }
    }
    Ok(last_seqs)
}

/// `1 17,2 0`: rooms and their last seqs.
fn parse_last_seqs(joined: &str) -> Result<LastSeqs, StoreError> {
    let pairs = joined.split_terminator(',').map(|pair| {
        let (room, seq) = pair.split_once(' ')?;
        Some((room.parse().ok()?, seq.parse().ok()?))
    });
    pairs.collect::<Option<_>>().ok_or(StoreError::Corrupt("last seq of a room"))
}

/// Writes the new last seqs of rooms, inside the caller's transaction.
pub(crate) async fn raise_rooms(
    write: &mut AnyConnection,
    dialect: Dialect,
    raised: &LastSeqs,
) -> Result<(), StoreError> {
    let raised: Vec<_> = raised.iter().collect();
    for chunk in raised.chunks(LOOKUP_KEYS_MAX) {
        let rooms = padded(chunk);
        let mut update = dialect.query(format!(
            "UPDATE rooms SET last_seq = CASE id {}END WHERE id IN {}",
            "WHEN ? THEN ? ".repeat(rooms.len()),
            values(1, rooms.len())
        ));
        for (room, last_seq) in &rooms {
            update = update.bind(i64::from(**room)).bind(widen(**last_seq));
        }
        for (room, _) in &rooms {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_seqs_in_one_row_are_parsed() {
        assert_eq!(parse_last_seqs("").unwrap(), LastSeqs::new());
        assert_eq!(parse_last_seqs("1 17,20 0").unwrap(), LastSeqs::from([(1, 17), (20, 0)]));
        for wrong in ["1", "1 -1", "1 x", "4294967296 1", "1 1,,2 1"] {
            assert!(parse_last_seqs(wrong).is_err(), "{wrong}");
        }
    }
}
