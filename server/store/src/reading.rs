//! Which users are reading which rooms, by the node they are connected to: when that node ends,
//! they have read every message of those rooms.

use sqlx::{AnyConnection, Row};

use crate::dialect::{Dialect, OnConflict};
use crate::reads::{RAISE_SEQ, ReadMarks};
use crate::statement::{insert_rows, narrow, statement_chunks};
use crate::{Store, StoreError};

impl Store {
    /// The rooms that the user is reading in a session on any node.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reading(&self, user: u32) -> Result<Vec<u32>, StoreError> {
        let select = "SELECT DISTINCT room_id FROM reading WHERE user_id = ? ORDER BY room_id";
        let rows = self.db().rows(self.db().query(select).bind(i64::from(user))).await?;
        rows.iter().map(|row| narrow(row.try_get(0)?, "room id")).collect()
    }

    /// Ends the reading on a node that has ended: raises the read mark of each user who was
    /// reading there to the end of the room, and forgets that they are reading. A second call
    /// changes nothing.
    ///
    /// # Errors
    /// The database failed; nothing was changed.
    pub async fn raise_marks(&self, node: &str) -> Result<(), StoreError> {
        self.db().retried(|| self.try_raise_marks(node)).await
    }

    async fn try_raise_marks(&self, node: &str) -> Result<(), StoreError> {
        let dialect = self.db().dialect;
        let raise = format!(
            "INSERT INTO read_marks (user_id, room_id, seq)
             SELECT r.user_id, r.room_id, o.last_seq
               FROM reading r JOIN rooms o ON o.id = r.room_id WHERE r.node = ?
              ORDER BY r.user_id, r.room_id{}",
            dialect.on_conflict("user_id, room_id", &RAISE_SEQ)
        );
        let mut write = self.db().write().await?;
        dialect.query(raise).bind(node.to_owned()).execute(&mut *write).await?;
        let forget = dialect.query("DELETE FROM reading WHERE node = ?").bind(node.to_owned());
        forget.execute(&mut *write).await?;
        write.commit().await?;
        Ok(())
    }
}

/// Notes who began to read a room and who left it, inside the caller's transaction.
pub(crate) async fn note_reading(
    write: &mut AnyConnection,
    dialect: Dialect,
    node: &str,
    marks: &ReadMarks,
) -> Result<(), StoreError> {
    let (reading, left): (Vec<_>, Vec<_>) = marks.iter().partition(|(_, mark)| mark.is_reading);
    let into = "reading (node, user_id, room_id)";
    let keep = dialect.on_conflict("node, user_id, room_id", &OnConflict::Keep);
    let insert = insert_rows(write, dialect, into, &keep, &reading, |insert, ((user, room), _)| {
        insert.bind(node.to_owned()).bind(i64::from(*user)).bind(i64::from(*room))
    });
    insert.await?;
    for chunk in statement_chunks(&left) {
        let those = vec!["user_id = ? AND room_id = ?"; chunk.len()].join(" OR ");
        let sql = format!("DELETE FROM reading WHERE node = ? AND ({those})");
        let mut delete = dialect.query(sql).bind(node.to_owned());
        for ((user, room), _) in chunk {
            delete = delete.bind(i64::from(*user)).bind(i64::from(*room));
        }
        delete.execute(&mut *write).await?;
    }
    Ok(())
}
