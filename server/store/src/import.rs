//! Takes over the data of the original application: its `users`, `messages` and `counts`.
//!
//! Everything is written in one transaction, into a store without users, messages and marks: an
//! import is whole or did not happen. The source is read in one snapshot, so the original may run
//! meanwhile; what it writes later is not seen.

mod source;
mod target;

use std::collections::{BTreeMap, HashMap};

use crate::clock::{now_ms, wall_clock_ms};
use crate::plan::Stands;
use crate::reads::ReadMarks;
use crate::{NewMessage, Store, StoreError, format_datetime, hash_token};
use source::{LegacyCount, LegacyMessage, LegacyUser, Source};
use target::Target;

/// Ids of rooms, as the server accepts them.
const ROOM_MAX: i64 = 999_999_999;
/// Row ids that a remark names.
const NAMED_MAX: usize = 5;
/// Marks written at once.
const MARKS_CHUNK: usize = 10_000;

/// What is to be imported, and where to.
pub struct Import<'a> {
    /// `mysql://…` of the original's database.
    pub from: &'a str,
    /// Seconds east of UTC of the clock that the original wrote its times by.
    pub utc_offset_s: i32,
    /// `None`: read and judge everything, write nothing.
    pub into: Option<&'a Store>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the source must be a mysql:// or mariadb:// URL")]
    SourceUrl,
    #[error("the source cannot be read: {0}")]
    Source(StoreError),
    #[error("the target is not empty: it has {0} already; import into a new database")]
    NotEmpty(&'static str),
    #[error("the target cannot be written: {0}")]
    Target(#[from] StoreError),
}

/// What was found and what became of it, table by table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    pub users: Tally,
    pub tokens: Tally,
    pub messages: Tally,
    /// Rows of `counts`; written are those that became a read mark.
    pub counts: Tally,
    /// Rooms that exist because of messages or counts.
    pub rooms: u64,
    /// Read marks: one per user and room with messages.
    pub marks: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub read: u64,
    pub written: u64,
    /// Rows that were skipped or changed, by reason.
    pub remarks: BTreeMap<&'static str, Remark>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remark {
    pub rows: u64,
    /// Ids of the first rows, in the original.
    pub ids: Vec<i64>,
}

impl Tally {
    fn remark(&mut self, reason: &'static str, id: i64) {
        let remark = self.remarks.entry(reason).or_default();
        remark.rows += 1;
        if remark.ids.len() < NAMED_MAX {
            remark.ids.push(id);
        }
    }
}

impl Import<'_> {
    /// `progress` hears the name of a table and the rows read of it, every now and then.
    ///
    /// # Errors
    /// [`ImportError`]; then nothing was written.
    pub async fn run(
        &self,
        mut progress: impl FnMut(&'static str, u64),
    ) -> Result<ImportReport, ImportError> {
        let mut source = Source::open(self.from).await?;
        let mut target = match self.into {
            Some(store) => Some(Target::open(store).await?),
            None => None,
        };
        let mut work = Work { utc_offset_s: self.utc_offset_s, ..Work::default() };
        let mut after = 0;
        while let Some(page) = source.users_after(&mut after).await? {
            let users = work.take_users(page);
            if let Some(target) = &mut target {
                target.write_users(&users).await?;
            }
            progress("users", work.report.users.read);
        }
        let mut after = 0;
        while let Some(page) = source.messages_after(&mut after).await? {
            let messages = work.take_messages(page);
            if let Some(target) = &mut target {
                target.write_messages(&messages).await?;
            }
            progress("messages", work.report.messages.read);
        }
        let mut after = 0;
        while let Some(page) = source.counts_after(&mut after).await? {
            work.take_counts(page);
            progress("counts", work.report.counts.read);
        }
        source.close().await;
        work.report.rooms = work.stands.len() as u64;
        if let Some(mut target) = target {
            target.write_rooms(&work.stands).await?;
            let mut marks = ReadMarks::new();
            for (place, seq) in work.marks() {
                marks.insert(place, (seq, false));
                if marks.len() == MARKS_CHUNK {
                    target.write_marks(&marks).await?;
                    marks.clear();
                }
            }
            target.write_marks(&marks).await?;
            target.finish().await?;
        }
        work.report.marks = work.marks().count() as u64;
        Ok(work.report)
    }
}

/// A user ready to be written.
struct User {
    id: u32,
    legacy: LegacyUser,
    email_key: String,
    email_verified_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
    token: Option<[u8; 32]>,
}

/// A message ready to be written.
struct Message {
    room: u32,
    seq: u64,
    created_at: i64,
    message: NewMessage,
}

/// What is known so far.
#[derive(Default)]
struct Work {
    utc_offset_s: i32,
    report: ImportReport,
    /// Account of each spelling-blind e-mail.
    by_email: HashMap<String, u32>,
    /// Account of each of the original's user ids; two of them may be one account.
    accounts: HashMap<i64, u32>,
    stands: Stands,
    unread: HashMap<(u32, u32), u64>,
}

impl Work {
    fn take_users(&mut self, page: Vec<LegacyUser>) -> Vec<User> {
        page.into_iter().filter_map(|user| self.take_user(user)).collect()
    }

    fn take_user(&mut self, mut legacy: LegacyUser) -> Option<User> {
        let tally = &mut self.report.users;
        tally.read += 1;
        let Some(id) = u32::try_from(legacy.id).ok().filter(|id| *id > 0) else {
            tally.remark("skipped: the id is out of range", legacy.id);
            return None;
        };
        let email_key = crate::users::email_key(&legacy.email);
        if let Some(account) = self.by_email.get(&email_key) {
            tally.remark(
                "skipped: an earlier account has the e-mail, in another spelling; it gets the \
                 messages, not the password and the token",
                legacy.id,
            );
            self.accounts.insert(legacy.id, *account);
            return None;
        }
        if !crate::password::is_bcrypt(&legacy.password) {
            tally.remark("written, but cannot log in: the password is no bcrypt hash", legacy.id);
        }
        tally.written += 1;
        self.by_email.insert(email_key.clone(), id);
        self.accounts.insert(legacy.id, id);
        let token = legacy.token.take().and_then(|token| {
            self.report.tokens.read += 1;
            let hash = hash_token(&token);
            match hash {
                Some(_) => self.report.tokens.written += 1,
                None => self
                    .report
                    .tokens
                    .remark("skipped: not 60 letters and digits (ids of users)", legacy.id),
            }
            hash
        });
        let now = now_ms();
        let moment = |text: &Option<String>| {
            text.as_deref().and_then(|text| wall_clock_ms(text, self.utc_offset_s))
        };
        let created_at = moment(&legacy.created).unwrap_or(now);
        Some(User {
            id,
            email_key,
            email_verified_at: moment(&legacy.verified),
            created_at,
            updated_at: moment(&legacy.updated).unwrap_or(created_at),
            token,
            legacy,
        })
    }

    fn take_messages(&mut self, page: Vec<LegacyMessage>) -> Vec<Message> {
        page.into_iter().filter_map(|message| self.take_message(message)).collect()
    }

    fn take_message(&mut self, legacy: LegacyMessage) -> Option<Message> {
        let tally = &mut self.report.messages;
        tally.read += 1;
        let Some(room) = room_id(legacy.room) else {
            tally.remark("skipped: the room id is out of range", legacy.id);
            return None;
        };
        let Some(&user) = self.accounts.get(&legacy.user) else {
            tally.remark("skipped: its author does not exist", legacy.id);
            return None;
        };
        let moment =
            legacy.created.as_deref().and_then(|text| wall_clock_ms(text, self.utc_offset_s));
        if moment.is_none() {
            tally.remark("written with the time of the import: it has none", legacy.id);
        }
        let created_at = moment.unwrap_or_else(now_ms);
        tally.written += 1;
        let last_seq = self.stands.entry(room).or_default();
        *last_seq += 1;
        let time = format!("{}Z", format_datetime(created_at).replace(' ', "T"));
        let message = NewMessage { user, msg: legacy.msg, img: legacy.img, time };
        Some(Message { room, seq: *last_seq, created_at, message })
    }

    fn take_counts(&mut self, page: Vec<LegacyCount>) {
        for count in page {
            self.take_count(&count);
        }
    }

    fn take_count(&mut self, count: &LegacyCount) {
        let tally = &mut self.report.counts;
        tally.read += 1;
        let Some(room) = room_id(count.room) else {
            return tally.remark("skipped: the room id is out of range", count.id);
        };
        let account = self.accounts.get(&count.user).copied();
        let Some(user) = account.filter(|account| i64::from(*account) == count.user) else {
            return tally
                .remark("skipped: the user does not exist or was not taken over", count.id);
        };
        let stand = *self.stands.entry(room).or_default();
        if self.unread.contains_key(&(user, room)) {
            return tally.remark(
                "skipped: an earlier row is about the same user and room, and that one was shown",
                count.id,
            );
        }
        let unread = u64::try_from(count.count).unwrap_or(0);
        if unread > stand {
            tally.remark("written as all unread: more than the room has messages", count.id);
        }
        tally.written += 1;
        self.unread.insert((user, room), unread.min(stand));
    }

    /// As (user, room) and seq: who has no row in `counts` has read everything, as in the original.
    fn marks(&self) -> impl Iterator<Item = ((u32, u32), u64)> {
        let mut users: Vec<u32> = self.by_email.values().copied().collect();
        users.sort_unstable();
        users.into_iter().flat_map(move |user| {
            let spoken_in = self.stands.iter().filter(|(_, last_seq)| **last_seq > 0);
            spoken_in.map(move |(room, last_seq)| {
                let unread = self.unread.get(&(user, *room)).copied().unwrap_or(0);
                ((user, *room), last_seq - unread)
            })
        })
    }
}

fn room_id(id: i64) -> Option<u32> {
    (1..=ROOM_MAX).contains(&id).then(|| u32::try_from(id).ok()).flatten()
}
