//! Read marks: how far a user has read each room.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{AnyConnection, Row};

use crate::db::{Asked, LOOKUP_KEYS_MAX, narrow, padded, statement_lengths};
use crate::dialect::{Dialect, OnConflict, values};
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
        self.db()
            .query("SELECT room_id, seq FROM read_marks WHERE user_id = ? ORDER BY room_id")
            .bind(i64::from(user))
            .fetch_all(&self.db().readers)
            .in_time(self.db())
            .await?
            .iter()
            .map(|row| Ok((narrow(row.try_get(0)?, "room id")?, narrow(row.try_get(1)?, "seq")?)))
            .collect()
    }

    /// [`Store::reads`] of many users, in their order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reads_all(&self, users: &[u32]) -> Result<Vec<Vec<(u32, u64)>>, StoreError> {
        let mut found: HashMap<u32, Vec<(u32, u64)>> = HashMap::new();
        let distinct: Vec<u32> = BTreeSet::from_iter(users.iter().copied()).into_iter().collect();
        for asked in distinct.chunks(LOOKUP_KEYS_MAX) {
            let keys = padded(asked);
            let mut query = self.db().query(format!(
                "SELECT user_id, room_id, seq FROM read_marks WHERE user_id IN {}
                 ORDER BY user_id, room_id",
                values(1, keys.len())
            ));
            for user in keys {
                query = query.bind(i64::from(user));
            }
            for row in query.fetch_all(&self.db().readers).in_time(self.db()).await? {
                let user = narrow(row.try_get(0)?, "user id")?;
                let mark = (narrow(row.try_get(1)?, "room id")?, narrow(row.try_get(2)?, "seq")?);
                found.entry(user).or_default().push(mark);
            }
        }
        Ok(users.iter().map(|user| found.get(user).cloned().unwrap_or_default()).collect())
    }
}

/// What becomes of a mark that is there already: it never falls.
pub(crate) const RAISE_MARK: OnConflict = OnConflict::Raise { table: "read_marks", column: "seq" };

/// Raises marks inside the caller's transaction.
pub(crate) async fn raise_marks(
    write: &mut AnyConnection,
    dialect: Dialect,
    marks: &ReadMarks,
) -> Result<(), StoreError> {
    let mut rest = marks.iter();
    for length in statement_lengths(marks.len()) {
        let mut upsert = dialect.query(format!(
            "INSERT INTO read_marks (user_id, room_id, seq) VALUES {}{}",
            values(length, 3),
            dialect.on_conflict("user_id, room_id", &RAISE_MARK)
        ));
        for ((user, room), (seq, _)) in rest.by_ref().take(length) {
            upsert = upsert.bind(i64::from(*user)).bind(i64::from(*room)).bind(widen(*seq));
        }
        upsert.execute(&mut *write).await?;
    }
    Ok(())
}
