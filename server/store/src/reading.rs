//! Who is in a room now, by the node he is connected to: when that node ends, he has read to the
//! end of everything that was said.

use sqlx::{AnyConnection, Row};

use crate::db::{Asked, narrow, statement_lengths};
use crate::dialect::{Dialect, OnConflict, values};
use crate::reads::{RAISE_MARK, ReadMarks};
use crate::{Store, StoreError};

impl Store {
    /// The rooms that the user is in by a session of any node.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reading(&self, user: u32) -> Result<Vec<u32>, StoreError> {
        self.db()
            .query("SELECT DISTINCT room_id FROM reading WHERE user_id = ? ORDER BY room_id")
            .bind(i64::from(user))
            .fetch_all(&self.db().readers)
            .in_time(self.db())
            .await?
            .iter()
            .map(|row| narrow(row.try_get(0)?, "room id"))
            .collect()
    }

    /// Takes it that whoever was reading on `node` has read every room he was in to its end, and
    /// forgets that he is there. For a node that has ended; a second call changes nothing.
    ///
    /// # Errors
    /// The database failed; nothing was changed.
    pub async fn settle(&self, node: &str) -> Result<(), StoreError> {
        self.db().retried(|| self.try_settle(node)).await
    }

    async fn try_settle(&self, node: &str) -> Result<(), StoreError> {
        let dialect = self.db().dialect;
        let raise = format!(
            "INSERT INTO read_marks (user_id, room_id, seq)
             SELECT r.user_id, r.room_id, o.last_seq
               FROM reading r JOIN rooms o ON o.id = r.room_id WHERE r.node = ?
              ORDER BY r.user_id, r.room_id{}",
            dialect.on_conflict("user_id, room_id", &RAISE_MARK)
        );
        let mut write = self.db().write().await?;
        dialect.query(raise).bind(node.to_owned()).execute(&mut *write).await?;
        let forget = dialect.query("DELETE FROM reading WHERE node = ?").bind(node.to_owned());
        forget.execute(&mut *write).await?;
        write.commit().await?;
        Ok(())
    }
}

/// Notes who came and who left, inside the caller's transaction.
pub(crate) async fn note_reading(
    write: &mut AnyConnection,
    dialect: Dialect,
    node: &str,
    marks: &ReadMarks,
) -> Result<(), StoreError> {
    let (came, left): (Vec<_>, Vec<_>) = marks.iter().partition(|(_, (_, is_reading))| *is_reading);
    let mut rest = came.iter();
    for length in statement_lengths(came.len()) {
        let mut insert = dialect.query(format!(
            "INSERT INTO reading (node, user_id, room_id) VALUES {}{}",
            values(length, 3),
            dialect.on_conflict("node, user_id, room_id", &OnConflict::Keep)
        ));
        for ((user, room), _) in rest.by_ref().take(length) {
            insert = insert.bind(node.to_owned()).bind(i64::from(*user)).bind(i64::from(*room));
        }
        insert.execute(&mut *write).await?;
    }
    let mut rest = left.iter();
    for length in statement_lengths(left.len()) {
        let those = vec!["user_id = ? AND room_id = ?"; length].join(" OR ");
        let sql = format!("DELETE FROM reading WHERE node = ? AND ({those})");
        let mut delete = dialect.query(sql).bind(node.to_owned());
        for ((user, room), _) in rest.by_ref().take(length) {
            delete = delete.bind(i64::from(*user)).bind(i64::from(*room));
        }
        delete.execute(&mut *write).await?;
    }
    Ok(())
}
