//! Read marks: how far a user has read each room.

use std::collections::BTreeMap;

use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{QueryBuilder, Row};

use crate::db::{narrow, statement_lengths};
use crate::messages::widen;
use crate::{Store, StoreError};

/// The highest mark of each (user, room) of a batch, and whether the user is in the room now.
pub(crate) type ReadMarks = BTreeMap<(u32, u32), (u64, bool)>;

impl Store {
    /// The user's marks as (room, seq); a room without one was never read.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reads(&self, user: u32) -> Result<Vec<(u32, u64)>, StoreError> {
        sqlx::query("SELECT room_id, seq FROM read_marks WHERE user_id = ? ORDER BY room_id")
            .bind(i64::from(user))
            .fetch_all(&self.db().readers)
            .await?
            .iter()
            .map(|row| Ok((narrow(row.try_get(0)?, "room id")?, narrow(row.try_get(1)?, "seq")?)))
            .collect()
    }
}

/// Raises marks inside the caller's transaction; a mark never falls.
pub(crate) async fn raise_marks(
    write: &mut SqliteConnection,
    marks: &ReadMarks,
) -> Result<(), StoreError> {
    let mut rest = marks.iter();
    for length in statement_lengths(marks.len()) {
        let mut upsert =
            QueryBuilder::<Sqlite>::new("INSERT INTO read_marks (user_id, room_id, seq) ");
        upsert.push_values(rest.by_ref().take(length), |mut row, ((user, room), (seq, _))| {
            row.push_bind(i64::from(*user)).push_bind(i64::from(*room)).push_bind(widen(*seq));
        });
        upsert.push(
            " ON CONFLICT (user_id, room_id) DO UPDATE SET seq = max(read_marks.seq, excluded.seq)",
        );
        upsert.build().execute(&mut *write).await?;
    }
    Ok(())
}
