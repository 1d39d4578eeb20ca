//! Read marks: the last seq that a user has read in each room, and whether they follow it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{AnyConnection, Row};

use crate::dialect::{Dialect, OnConflict};
use crate::statement::{LOOKUP_KEYS_MAX, insert_rows, narrow, padded, values, widen};
use crate::{Store, StoreError};

/// What a batch says of one user in one room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadMark {
    /// The highest of the batch.
    pub seq: u64,
    /// Whether the user is in the room after the batch.
    pub is_reading: bool,
    /// The highest of the batch.
    pub choice: u32,
}

/// What is stored of one user in one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedMark {
    pub room: u32,
    /// The last one that they have read.
    pub seq: u64,
    /// Whether they follow the room: it grows with each choice, and an odd one means no.
    pub choice: u32,
}

/// The marks of a batch, by user and room.
pub(crate) type ReadMarks = BTreeMap<(u32, u32), ReadMark>;

impl Store {
    /// The user's marks as (room, seq), by room; a room without a mark was never read.
    ///
    /// # Errors
    /// The database failed.
    pub async fn reads(&self, user: u32) -> Result<Vec<(u32, u64)>, StoreError> {
        let marks = self.marks_all(&[user]).await?.pop();
        let marks = marks.expect("each user asked about has an answer");
        Ok(marks.into_iter().map(|mark| (mark.room, mark.seq)).collect())
    }

    /// The marks of many users, in the order of the users.
    ///
    /// # Errors
    /// The database failed.
    pub async fn marks_all(&self, users: &[u32]) -> Result<Vec<Vec<SavedMark>>, StoreError> {
        let mut found: HashMap<u32, Vec<SavedMark>> = HashMap::new();
        let distinct: Vec<u32> = BTreeSet::from_iter(users.iter().copied()).into_iter().collect();
        for asked in distinct.chunks(LOOKUP_KEYS_MAX) {
            let keys = padded(asked);
            let mut select = self.db().query(format!(
                "SELECT user_id, room_id, seq, choice FROM read_marks WHERE user_id IN {}
                 ORDER BY user_id, room_id",
                values(1, keys.len())
            ));
            for user in keys {
                select = select.bind(i64::from(user));
            }
            for row in self.db().rows(select).await? {
                let user = narrow(row.try_get(0)?, "user id")?;
                let mark = SavedMark {
                    room: narrow(row.try_get(1)?, "room id")?,
                    seq: narrow(row.try_get(2)?, "seq")?,
                    choice: narrow(row.try_get(3)?, "choice")?,
                };
                found.entry(user).or_default().push(mark);
            }
        }
        Ok(users.iter().map(|user| found.get(user).cloned().unwrap_or_default()).collect())
    }
}

/// What becomes of an existing mark: it never falls.
const RAISE_MARK: OnConflict =
    OnConflict::Raise { table: "read_marks", columns: &["seq", "choice"] };
/// The same, of a mark that says nothing of a choice.
pub(crate) const RAISE_SEQ: OnConflict =
    OnConflict::Raise { table: "read_marks", columns: &["seq"] };

/// Raises marks inside the caller's transaction.
pub(crate) async fn raise_marks(
    write: &mut AnyConnection,
    dialect: Dialect,
    marks: &ReadMarks,
) -> Result<(), StoreError> {
    let into = "read_marks (user_id, room_id, seq, choice)";
    let raise = dialect.on_conflict("user_id, room_id", &RAISE_MARK);
    let marks: Vec<_> = marks.iter().collect();
    let insert =
        insert_rows(write, dialect, into, &raise, &marks, |insert, ((user, room), mark)| {
            let key = insert.bind(i64::from(*user)).bind(i64::from(*room));
            key.bind(widen(mark.seq)).bind(i64::from(mark.choice))
        });
    insert.await
}
