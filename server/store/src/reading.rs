//! Who is in a room now, by the node he is connected to: when that node ends, he has read to the
//! end of everything that was said.

use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite, SqliteConnection};

use crate::db::statement_lengths;
use crate::reads::ReadMarks;
use crate::{Store, StoreError};

impl Store {
    /// Takes it that whoever was reading on `node` has read every room he was in to its end, and
    /// forgets that he is there. For a node that has ended; a second call changes nothing.
    ///
    /// # Errors
    /// The database failed; nothing was changed.
    pub async fn settle(&self, node: &str) -> Result<(), StoreError> {
        let mut write = self.db().write().await?;
        settle(&mut write, node).await?;
        write.commit().await?;
        Ok(())
    }
}

/// Notes who came and who left, inside the caller's transaction.
pub(crate) async fn note_reading(
    write: &mut SqliteConnection,
    node: &str,
    marks: &ReadMarks,
) -> Result<(), StoreError> {
    let (came, left): (Vec<_>, Vec<_>) = marks.iter().partition(|(_, (_, is_reading))| *is_reading);
    let mut rest = came.iter();
    for length in statement_lengths(came.len()) {
        let mut insert =
            QueryBuilder::<Sqlite>::new("INSERT INTO reading (node, user_id, room_id) ");
        insert.push_values(rest.by_ref().take(length), |mut row, ((user, room), _)| {
            row.push_bind(node).push_bind(i64::from(*user)).push_bind(i64::from(*room));
        });
        insert.push(" ON CONFLICT (node, user_id, room_id) DO NOTHING");
        insert.build().execute(&mut *write).await?;
    }
    let mut rest = left.iter();
    for length in statement_lengths(left.len()) {
        let mut delete = QueryBuilder::<Sqlite>::new("DELETE FROM reading WHERE node = ");
        delete.push_bind(node).push(" AND (");
        let mut alternatives = delete.separated(" OR ");
        for ((user, room), _) in rest.by_ref().take(length) {
            alternatives
                .push("(user_id = ")
                .push_bind_unseparated(i64::from(*user))
                .push_unseparated(" AND room_id = ")
                .push_bind_unseparated(i64::from(*room))
                .push_unseparated(")");
        }
        delete.push(")").build().execute(&mut *write).await?;
    }
    Ok(())
}

pub(crate) async fn settle(write: &mut SqliteConnection, node: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO read_marks (user_id, room_id, seq)
         SELECT r.user_id, r.room_id, o.last_seq
           FROM reading r JOIN rooms o ON o.id = r.room_id WHERE r.node = ?
          ORDER BY r.user_id, r.room_id
         ON CONFLICT (user_id, room_id) DO UPDATE SET seq = max(read_marks.seq, excluded.seq)",
    )
    .bind(node)
    .execute(&mut *write)
    .await?;
    sqlx::query("DELETE FROM reading WHERE node = ?").bind(node).execute(write).await?;
    Ok(())
}
