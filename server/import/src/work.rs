//! Rows of the original, checked one by one and converted.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use throng_store::{
    LoadedUser, NewMessage, PlacedMessage, email_key, format_datetime, hash_token, is_bcrypt,
};

use crate::report::ImportReport;
use crate::source::{LegacyCount, LegacyMessage, LegacyUser};
use crate::zone::wall_clock_ms;

/// Largest room id that the server accepts.
const ROOM_MAX: i64 = 999_999_999;

/// A message ready to be written.
pub(crate) struct Message {
    room: u32,
    seq: u64,
    created_at_ms: i64,
    message: NewMessage,
}

impl Message {
    pub fn placed(&self) -> PlacedMessage<'_> {
        let Self { room, seq, created_at_ms, message } = self;
        PlacedMessage { room: *room, seq: *seq, created_at_ms: *created_at_ms, message }
    }
}

/// What the rows read so far amount to.
pub(crate) struct Work {
    pub report: ImportReport,
    /// Seq of the newest message of each room.
    pub last_seqs: BTreeMap<u32, u64>,
    utc_offset_s: i32,
    now_ms: i64,
    /// Account by key of the e-mail.
    by_email: HashMap<String, u32>,
    /// Account by the original's user id; two of those may be one account.
    accounts: HashMap<i64, u32>,
    /// Unread messages by user and room.
    unread: HashMap<(u32, u32), u64>,
}

impl Work {
    pub fn new(utc_offset_s: i32) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            report: ImportReport::default(),
            last_seqs: BTreeMap::new(),
            utc_offset_s,
            now_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
            by_email: HashMap::new(),
            accounts: HashMap::new(),
            unread: HashMap::new(),
        }
    }

    pub fn users(&mut self, page: Vec<LegacyUser>) -> Vec<LoadedUser> {
        page.into_iter().filter_map(|user| self.user(user)).collect()
    }

    fn user(&mut self, legacy: LegacyUser) -> Option<LoadedUser> {
        let tally = &mut self.report.users;
        tally.read += 1;
        let Some(id) = u32::try_from(legacy.id).ok().filter(|id| *id > 0) else {
            tally.remark("skipped: the id is out of range", legacy.id);
            return None;
        };
        let key = email_key(&legacy.email);
        if let Some(account) = self.by_email.get(&key) {
            tally.remark(
                "skipped: an earlier account has the e-mail, in another spelling; it gets the \
                 messages, not the password and the token",
                legacy.id,
            );
            self.accounts.insert(legacy.id, *account);
            return None;
        }
        if !is_bcrypt(&legacy.password) {
            tally.remark("written, but cannot log in: the password is no bcrypt hash", legacy.id);
        }
        tally.written += 1;
        self.by_email.insert(key, id);
        self.accounts.insert(legacy.id, id);
        let created_at_ms = self.moment(&legacy.created).unwrap_or(self.now_ms);
        Some(LoadedUser {
            id,
            email_verified_at_ms: self.moment(&legacy.verified),
            created_at_ms,
            updated_at_ms: self.moment(&legacy.updated).unwrap_or(created_at_ms),
            token_hash: legacy.token.and_then(|token| self.token(&token, legacy.id)),
            name: throng_store::plain_name(&legacy.name),
            email: legacy.email,
            password_hash: legacy.password,
            avatar: legacy.avatar,
        })
    }

    fn token(&mut self, token: &str, user: i64) -> Option<[u8; 32]> {
        let tally = &mut self.report.tokens;
        tally.read += 1;
        let hash = hash_token(token);
        match hash {
            Some(_) => tally.written += 1,
            None => tally.remark("skipped: not 60 letters and digits (ids of users)", user),
        }
        hash
    }

    pub fn messages(&mut self, page: Vec<LegacyMessage>) -> Vec<Message> {
        page.into_iter().filter_map(|message| self.message(message)).collect()
    }

    fn message(&mut self, legacy: LegacyMessage) -> Option<Message> {
        let moment = self.moment(&legacy.created);
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
        if moment.is_none() {
            tally.remark("written with the time of the import: it has none", legacy.id);
        }
        let created_at_ms = moment.unwrap_or(self.now_ms);
        tally.written += 1;
        let last_seq = self.last_seqs.entry(room).or_default();
        *last_seq += 1;
        let time = format!("{}Z", format_datetime(created_at_ms).replace(' ', "T"));
        let message = NewMessage { user, msg: legacy.msg, img: legacy.img, time, cid: None };
        Some(Message { room, seq: *last_seq, created_at_ms, message })
    }

    pub fn counts(&mut self, page: &[LegacyCount]) {
        for count in page {
            self.count(count);
        }
    }

    fn count(&mut self, count: &LegacyCount) {
        let tally = &mut self.report.counts;
        tally.read += 1;
        let Some(room) = room_id(count.room) else {
            return tally.remark("skipped: the room id is out of range", count.id);
        };
        let account = self.accounts.get(&count.user).copied();
        let Some(user) = account.filter(|account| i64::from(*account) == count.user) else {
            return tally.remark("skipped: the user does not exist or was not imported", count.id);
        };
        let last_seq = *self.last_seqs.entry(room).or_default();
        if self.unread.contains_key(&(user, room)) {
            return tally.remark(
                "skipped: an earlier row is about the same user and room, and that one was shown",
                count.id,
            );
        }
        let unread = u64::try_from(count.count).unwrap_or(0);
        if unread > last_seq {
            tally.remark("written as all unread: more than the room has messages", count.id);
        }
        tally.written += 1;
        self.unread.insert((user, room), unread.min(last_seq));
    }

    /// Read marks as (user, room) and seq. A user without a row in `counts` has read everything, as
    /// in the original.
    pub fn marks(&self) -> impl Iterator<Item = ((u32, u32), u64)> {
        let mut users: Vec<u32> = self.by_email.values().copied().collect();
        users.sort_unstable();
        users.into_iter().flat_map(move |user| {
            let with_messages = self.last_seqs.iter().filter(|(_, last_seq)| **last_seq > 0);
            with_messages.map(move |(room, last_seq)| {
                let unread = self.unread.get(&(user, *room)).copied().unwrap_or(0);
                ((user, *room), last_seq - unread)
            })
        })
    }

    fn moment(&self, text: &Option<String>) -> Option<i64> {
        text.as_deref().and_then(|text| wall_clock_ms(text, self.utc_offset_s))
    }
}

fn room_id(id: i64) -> Option<u32> {
    (1..=ROOM_MAX).contains(&id).then(|| u32::try_from(id).ok()).flatten()
}
