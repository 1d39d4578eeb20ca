//! Messages of a room: history by page, and what a node has missed.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::db::{Asked, narrow, statement_length, statement_lengths};
use crate::dialect::{Dialect, values};
use crate::plan::MessageIds;
use crate::{Store, StoreError};

/// Messages on a page of history.
pub const PAGE_MESSAGES: u64 = 20;

/// Messages that one [`Store::fetch`] answers at most.
pub const FETCH_MESSAGES_MAX: u64 = 1000;

/// A message to append: validated by the caller; its seq follows from its place in the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    pub user: u32,
    pub msg: String,
    /// Empty, or the path of a stored image.
    pub img: String,
    /// The time string as it is broadcast.
    pub time: String,
}

/// A stored message with its author as he is today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    pub id: i64,
    pub room: u32,
    pub seq: u64,
    pub user: u32,
    pub email: String,
    pub name: String,
    pub avatar: String,
    pub msg: String,
    pub img: String,
    pub time: String,
}

/// One page of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// In ascending order of seq.
    pub rows: Vec<MessageRow>,
    /// The anchor of this page; asking for the next page with it keeps pages disjoint while new
    /// messages arrive.
    pub total: u64,
}

impl Store {
    /// Page `page` (from 1, the newest) of a room's messages below the anchor: the rows
    /// `[T − 20·page, T − 20·(page − 1))`, where `T` is `anchor_total`, or the number of messages
    /// if that is 0 or more than there are. `None` if the room does not exist.
    ///
    /// # Errors
    /// The database failed.
    pub async fn history(
        &self,
        room: u32,
        page: u64,
        anchor_total: u64,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let Some(last_seq) = self.room(room).await?.map(|room| room.last_seq) else {
            return Ok(None);
        };
        let total =
            if anchor_total == 0 || anchor_total > last_seq { last_seq } else { anchor_total };
        // Seqs run from 1 without gaps, so row k is seq k + 1.
        let below = page.saturating_sub(1).saturating_mul(PAGE_MESSAGES);
        let newest = total.saturating_sub(below);
        let before_oldest = newest.saturating_sub(PAGE_MESSAGES);
        if page == 0 || newest == 0 {
            return Ok(Some(HistoryPage { rows: Vec::new(), total }));
        }
        let rows = self.messages_between(room, before_oldest, newest).await?;
        Ok(Some(HistoryPage { rows, total }))
    }

    /// Messages of a room with `after` < seq ≤ `upto`, in ascending order: the first
    /// [`FETCH_MESSAGES_MAX`] of them, so that a caller who wants more asks again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn fetch(
        &self,
        room: u32,
        after: u64,
        upto: u64,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let upto = upto.min(after.saturating_add(FETCH_MESSAGES_MAX));
        self.messages_between(room, after, upto).await
    }

    async fn messages_between(
        &self,
        room: u32,
        after: u64,
        upto: u64,
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.db().query(
            "SELECT m.id, m.room_id, m.seq, m.user_id, COALESCE(u.email, ''), COALESCE(u.name, ''),
                    COALESCE(u.avatar, ''), m.msg, m.img, m.time
             FROM messages m LEFT JOIN users u ON u.id = m.user_id
             WHERE m.room_id = ? AND m.seq > ? AND m.seq <= ? ORDER BY m.seq",
        )
        .bind(i64::from(room))
        .bind(widen(after))
        .bind(widen(upto))
        .fetch_all(&self.db().readers)
        .in_time(self.db())
        .await?
        .iter()
        .map(read_message)
        .collect()
    }
}

/// A message with its place, ready to be written.
#[derive(Debug)]
pub(crate) struct PlacedMessage<'a> {
    pub room: u32,
    pub seq: u64,
    pub created_at: i64,
    pub message: &'a NewMessage,
}

/// Text in one statement: database servers bound the length of a packet.
const STATEMENT_BYTES: usize = 1 << 20;

/// Inserts messages inside the caller's transaction.
pub(crate) async fn insert_messages(
    write: &mut AnyConnection,
    dialect: Dialect,
    messages: &[PlacedMessage<'_>],
) -> Result<MessageIds, StoreError> {
    let mut ids = MessageIds::with_capacity(messages.len());
    let mut rest = messages;
    while let Some(length) = statement_length(fitting(rest)) {
        let (chunk, later) = rest.split_at(length);
        rest = later;
        let mut insert = dialect.query(format!(
            "INSERT INTO messages (room_id, seq, user_id, msg, img, time, created_at) VALUES {}{}",
            values(length, 7),
            if dialect.has_returning() { " RETURNING id, room_id, seq" } else { "" }
        ));
        for PlacedMessage { room, seq, created_at, message } in chunk {
            insert = insert
                .bind(i64::from(*room))
                .bind(widen(*seq))
                .bind(i64::from(message.user))
                .bind(dialect.text(&message.msg))
                .bind(dialect.text(&message.img))
                .bind(dialect.text(&message.time))
                .bind(*created_at);
        }
        // The order of returned rows is not promised, hence the room and seq beside each id.
        read_ids(&insert.fetch_all(&mut *write).await?, &mut ids)?;
    }
    if !dialect.has_returning() {
        ask_ids(write, dialect, messages, &mut ids).await?;
    }
    Ok(ids)
}

/// How many messages one statement takes; at least one, if there are any.
fn fitting(messages: &[PlacedMessage<'_>]) -> usize {
    let mut bytes = 0;
    let fitting = messages.iter().take_while(|placed| {
        bytes += placed.message.msg.len() + placed.message.img.len();
        bytes <= STATEMENT_BYTES
    });
    fitting.count().max(messages.len().min(1))
}

/// Asks for the ids of messages just inserted, by the range of seqs of each room.
async fn ask_ids(
    write: &mut AnyConnection,
    dialect: Dialect,
    messages: &[PlacedMessage<'_>],
    ids: &mut MessageIds,
) -> Result<(), StoreError> {
    let mut ranges = BTreeMap::new();
    for placed in messages {
        let range = ranges.entry(placed.room).or_insert((placed.seq, placed.seq));
        *range = (range.0.min(placed.seq), range.1.max(placed.seq));
    }
    let mut rest = ranges.iter();
    for length in statement_lengths(ranges.len()) {
        let those = vec!["room_id = ? AND seq BETWEEN ? AND ?"; length].join(" OR ");
        let mut select =
            dialect.query(format!("SELECT id, room_id, seq FROM messages WHERE {those}"));
        for (room, (first, last)) in rest.by_ref().take(length) {
            select = select.bind(i64::from(*room)).bind(widen(*first)).bind(widen(*last));
        }
        read_ids(&select.fetch_all(&mut *write).await?, ids)?;
    }
    Ok(())
}

fn read_ids(rows: &[AnyRow], ids: &mut MessageIds) -> Result<(), StoreError> {
    for row in rows {
        let room = narrow(row.try_get(1)?, "room id")?;
        let seq = narrow(row.try_get(2)?, "seq")?;
        ids.insert((room, seq), row.try_get(0)?);
    }
    Ok(())
}

/// Seqs count single messages and never come near the sign bit.
pub(crate) fn widen(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn read_message(row: &AnyRow) -> Result<MessageRow, StoreError> {
    Ok(MessageRow {
        id: row.try_get(0)?,
        room: narrow(row.try_get(1)?, "room id")?,
        seq: narrow(row.try_get(2)?, "seq")?,
        user: narrow(row.try_get(3)?, "user id")?,
        email: row.try_get(4)?,
        name: row.try_get(5)?,
        avatar: row.try_get(6)?,
        msg: row.try_get(7)?,
        img: row.try_get(8)?,
        time: row.try_get(9)?,
    })
}
