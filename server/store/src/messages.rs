//! Messages of a room: history by page, and the messages that a node has missed.

use std::collections::{BTreeMap, HashMap};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::dialect::{Dialect, NewIds};
use crate::statement::{narrow, statement_chunks, statement_length, values, widen};
use crate::{Store, StoreError};

/// Messages on a page of history.
pub const PAGE_MESSAGES: u64 = 20;

/// Most messages in the answer of one [`Store::fetch`].
pub const FETCH_MESSAGES_MAX: u64 = 1000;

/// A message to append, validated by the caller. Its seq follows from its place in the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Id of the author.
    pub user: u32,
    /// The text, stored as it is.
    pub msg: String,
    /// Empty, or the path of a stored image.
    pub img: String,
    /// The time as it is broadcast: RFC 3339, UTC.
    pub time: String,
    /// The author's own id for it, if they gave one: a later message of theirs with the same id in
    /// the room is a [`crate::Repeat`] of it.
    pub cid: Option<String>,
}

/// A stored message with the present data of its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Unique among all messages of the database.
    pub id: i64,
    pub room: u32,
    /// Number in the room, from 1, without gaps but for those of [`Store::append_behind`].
    pub seq: u64,
    /// Id of the author. E-mail, name and avatar are empty if there is no such user any more.
    pub user: u32,
    pub email: String,
    pub name: String,
    pub avatar: String,
    /// As in [`NewMessage`], with `img`, `time` and `cid`.
    pub msg: String,
    pub img: String,
    pub time: String,
    pub cid: Option<String>,
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
        // Seqs run from 1 without gaps, so row k is seq k + 1, unless the database was restored.
        let below = page.saturating_sub(1).saturating_mul(PAGE_MESSAGES);
        let newest = total.saturating_sub(below);
        let before_oldest = newest.saturating_sub(PAGE_MESSAGES);
        if page == 0 || newest == 0 {
            return Ok(Some(HistoryPage { rows: Vec::new(), total }));
        }
        let rows = if page == 1 {
            // By rows: where numbers are missing there is a page all the same.
            let mut rows = self.messages_between(room, 0, newest, "DESC", PAGE_MESSAGES).await?;
            rows.reverse();
            rows
        } else {
            self.messages_between(room, before_oldest, newest, "ASC", PAGE_MESSAGES).await?
        };
        Ok(Some(HistoryPage { rows, total }))
    }

    /// Messages of a room with `after` < seq ≤ `upto`, in ascending order: the first
    /// [`FETCH_MESSAGES_MAX`] of them; call again for the others.
    ///
    /// # Errors
    /// The database failed.
    pub async fn fetch(
        &self,
        room: u32,
        after: u64,
        upto: u64,
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.messages_between(room, after, upto, "ASC", FETCH_MESSAGES_MAX).await
    }

    async fn messages_between(
        &self,
        room: u32,
        after: u64,
        upto: u64,
        order: &str,
        most: u64,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let select = self.db().query(format!(
            "SELECT m.id, m.room_id, m.seq, m.user_id, COALESCE(u.email, ''), COALESCE(u.name, ''),
                    COALESCE(u.avatar, ''), m.msg, m.img, m.time, m.cid
             FROM messages m LEFT JOIN users u ON u.id = m.user_id
             WHERE m.room_id = ? AND m.seq > ? AND m.seq <= ? ORDER BY m.seq {order} LIMIT {most}",
        ));
        let select = select.bind(i64::from(room)).bind(widen(after)).bind(widen(upto));
        self.db().rows(select).await?.iter().map(read_message).collect()
    }
}

/// A message with its number in a room, ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct PlacedMessage<'a> {
    /// Id of the room.
    pub room: u32,
    /// Number in the room, from 1 without gaps.
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    pub message: &'a NewMessage,
}

/// What identifies a message that its author may send again: room, author, client id.
pub(crate) type CidKey = (u32, u32, String);

/// The message that was stored under a [`CidKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct First {
    pub seq: u64,
    /// `None` until it is inserted.
    pub id: Option<i64>,
    pub msg: String,
    pub img: String,
    pub time: String,
}

/// Stored messages, by what identifies them.
pub(crate) type Firsts = HashMap<CidKey, First>;

/// Finds which of the messages are stored, inside the caller's transaction, which has locked their
/// rooms.
pub(crate) async fn find_firsts(
    write: &mut AnyConnection,
    dialect: Dialect,
    keys: &[CidKey],
) -> Result<Firsts, StoreError> {
    let mut firsts = Firsts::new();
    for chunk in statement_chunks(keys) {
        let those = vec!["(room_id = ? AND user_id = ? AND cid = ?)"; chunk.len()].join(" OR ");
        let mut select = dialect.query(format!(
            "SELECT room_id, user_id, cid, seq, id, msg, img, time FROM messages WHERE {those}"
        ));
        for (room, user, cid) in chunk {
            select =
                select.bind(i64::from(*room)).bind(i64::from(*user)).bind(cid.as_bytes().to_vec());
        }
        for row in select.fetch_all(&mut *write).await? {
            let key = (
                narrow(row.try_get(0)?, "room id")?,
                narrow(row.try_get(1)?, "user id")?,
                read_cid(row.try_get(2)?)?,
            );
            let first = First {
                seq: narrow(row.try_get(3)?, "seq")?,
                id: Some(row.try_get(4)?),
                msg: row.try_get(5)?,
                img: row.try_get(6)?,
                time: row.try_get(7)?,
            };
            firsts.insert(key, first);
        }
    }
    Ok(firsts)
}

impl Store {
    /// The image of the user's message in the room that has this client id, empty if it has none; `None`
    /// if there is no such message.
    ///
    /// # Errors
    /// The database failed.
    pub async fn image_of_first(
        &self,
        room: u32,
        user: u32,
        cid: &str,
    ) -> Result<Option<String>, StoreError> {
        let select = self
            .db()
            .query("SELECT img FROM messages WHERE room_id = ? AND user_id = ? AND cid = ?")
            .bind(i64::from(room))
            .bind(i64::from(user))
            .bind(cid.as_bytes().to_vec());
        let row = self.db().row(select).await?;
        row.map(|row| row.try_get(0)).transpose().map_err(StoreError::from)
    }
}

/// Ids of inserted messages by room and seq.
pub(crate) type MessageIds = HashMap<(u32, u64), i64>;

/// Text in one statement: database servers limit the size of a packet.
const STATEMENT_BYTES_MAX: usize = 1 << 20;

/// Inserts messages inside the caller's transaction.
pub(crate) async fn insert_messages(
    write: &mut AnyConnection,
    dialect: Dialect,
    messages: &[PlacedMessage<'_>],
) -> Result<MessageIds, StoreError> {
    let new_ids = dialect.new_ids();
    let mut ids = MessageIds::with_capacity(messages.len());
    let mut rest = messages;
    while let Some(length) = statement_length(fitting(rest)) {
        let (chunk, later) = rest.split_at(length);
        rest = later;
        let mut insert = dialect.query(format!(
            "INSERT INTO messages (room_id, seq, user_id, msg, img, time, created_at, cid)
             VALUES {}{}",
            values(length, 8),
            if new_ids == NewIds::Returned { " RETURNING id, room_id, seq" } else { "" }
        ));
        for PlacedMessage { room, seq, created_at_ms, message } in chunk {
            insert = insert
                .bind(i64::from(*room))
                .bind(widen(*seq))
                .bind(i64::from(message.user))
                .bind(dialect.text(&message.msg))
                .bind(dialect.text(&message.img))
                .bind(dialect.text(&message.time))
                .bind(*created_at_ms)
                .bind(message.cid.as_ref().map(|cid| cid.as_bytes().to_vec()));
        }
        if new_ids == NewIds::Returned {
            // The order of returned rows is not promised, hence the room and seq with each id.
            read_ids(&insert.fetch_all(&mut *write).await?, &mut ids)?;
        } else {
            insert.execute(&mut *write).await?;
        }
    }
    match new_ids {
        NewIds::Returned => {}
        NewIds::Selected => select_ids(write, dialect, messages, &mut ids).await?,
        NewIds::UpToLast if messages.is_empty() => {}
        NewIds::UpToLast => {
            let row = dialect.query("SELECT last_insert_rowid()").fetch_one(&mut *write).await?;
            let last: i64 = row.try_get(0)?;
            let places = messages.iter().rev().map(|placed| (placed.room, placed.seq));
            ids.extend(places.zip((1..=last).rev()));
        }
    }
    Ok(ids)
}

/// Number of messages whose text fits one statement; at least one, if there are any.
fn fitting(messages: &[PlacedMessage<'_>]) -> usize {
    let mut bytes = 0;
    let fitting = messages.iter().take_while(|placed| {
        bytes += placed.message.msg.len() + placed.message.img.len();
        bytes <= STATEMENT_BYTES_MAX
    });
    fitting.count().max(messages.len().min(1))
}

/// Selects the ids of messages just inserted, by the range of seqs of each room.
async fn select_ids(
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
    let ranges: Vec<_> = ranges.into_iter().collect();
    for chunk in statement_chunks(&ranges) {
        let those = vec!["room_id = ? AND seq BETWEEN ? AND ?"; chunk.len()].join(" OR ");
        let mut select =
            dialect.query(format!("SELECT id, room_id, seq FROM messages WHERE {those}"));
        for (room, (first, last)) in chunk {
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
        cid: row.try_get::<Option<Vec<u8>>, _>(10)?.map(read_cid).transpose()?,
    })
}

fn read_cid(bytes: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(bytes).map_err(|_| StoreError::Corrupt("client id of a message"))
}
