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
        sqlx::query("SELECT room_id, seq FROM reads WHERE user_id = ? ORDER BY room_id")
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
            QueryBuilder::<Sqlite>::new("INSERT INTO reads (user_id, room_id, seq, is_reading) ");
        upsert.push_values(
            rest.by_ref().take(length),
            |mut row, ((user, room), (seq, is_reading))| {
                row.push_bind(i64::from(*user))
                    .push_bind(i64::from(*room))
                    .push_bind(widen(*seq))
                    .push_bind(*is_reading);
            },
        );
        upsert.push(
            " ON CONFLICT (user_id, room_id) DO UPDATE
              SET seq = max(reads.seq, excluded.seq), is_reading = excluded.is_reading",
        );
        upsert.build().execute(&mut *write).await?;
    }
    Ok(())
}

/// Whoever was in a room when the process ended had read it to its end.
pub(crate) async fn settle_marks(write: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE reads SET is_reading = 0,
                seq = max(seq, coalesce((SELECT last_seq FROM rooms WHERE id = room_id), 0))
          WHERE is_reading <> 0",
    )
    .execute(write)
    .await?;
    Ok(())
}
