//! The order of one room's messages, put together from what this node committed, what other nodes
//! sent and what was fetched. Whatever the source, a message is handed on exactly after the one
//! before it.

use std::collections::BTreeMap;

use throng_engine::Now;

use super::numbered_message::NumberedMessage;
use crate::ids::Seq;

/// Messages of other nodes that are kept while one before them is missing. What is beyond comes
/// with the fetch.
pub(super) const AHEAD_MAX: usize = 1024;
/// Two nodes commit at the same time and the later number arrives first: that long is waited
/// before the store is asked.
pub(super) const GAP_GRACE_MS: u64 = 50;
/// The same where messages are not kept: all of them come through Redis, in order, so a later one
/// from there says what is lost. A publisher waits no longer than this for them.
const UNKEPT_GRACE_MS: u64 = 5_000;
/// Until the store is asked again after it did not answer.
pub(super) const FETCH_RETRY_MS: u64 = 500;
/// Numbers live in signed columns; what is beyond this is no message.
pub(super) const SEQ_MAX: Seq = Seq(1 << 53);

/// What became of a message that was offered.
pub(super) enum Offered {
    /// It is the next one and counted as taken.
    Next(NumberedMessage),
    /// It was taken before.
    Known(NumberedMessage),
    /// It waits for the one before it.
    Ahead,
    /// There is no space to keep it; it will be fetched.
    Beyond,
}

pub(super) struct ReorderBuffer {
    /// The last message handed on.
    seq: Seq,
    ahead: BTreeMap<Seq, NumberedMessage>,
    /// How many of those a session of this node waits for.
    own_ahead: usize,
    /// The room has messages up to here.
    last_known: Seq,
    /// The store may have messages up to here without having said so.
    doubted: Seq,
    /// What the store was asked for: messages behind this one, and what was in doubt then.
    fetching: Option<(Seq, Seq)>,
    fetch_at: Now,
    gap_grace_ms: u64,
}

impl ReorderBuffer {
    pub(super) fn new(seq: Seq) -> ReorderBuffer {
        ReorderBuffer {
            seq,
            ahead: BTreeMap::new(),
            own_ahead: 0,
            last_known: seq,
            doubted: Seq(0),
            fetching: None,
            fetch_at: Now::default(),
            gap_grace_ms: GAP_GRACE_MS,
        }
    }

    /// Of a room whose messages are not kept.
    pub(super) fn unkept(seq: Seq) -> ReorderBuffer {
        ReorderBuffer { gap_grace_ms: UNKEPT_GRACE_MS, ..ReorderBuffer::new(seq) }
    }

    pub(super) fn seq(&self) -> Seq {
        self.seq
    }

    /// A session of this node waits for a message that others precede.
    pub(super) fn awaits_own(&self) -> bool {
        self.own_ahead > 0
    }

    fn next(&self) -> Seq {
        Seq(self.seq.0 + 1)
    }

    pub(super) fn offer(&mut self, now: Now, seq: Seq, message: NumberedMessage) -> Offered {
        if seq <= self.seq {
            return Offered::Known(message);
        }
        if seq == self.next() {
            // An own one kept ahead cannot be this one: what is next does not wait.
            self.seq = seq;
            self.last_known = self.last_known.max(seq);
            return Offered::Next(message);
        }
        self.expect(seq, now.plus_ms(self.gap_grace_ms));
        let is_own = message.origin.is_some();
        let is_full = self.ahead.len() - self.own_ahead >= AHEAD_MAX;
        match self.ahead.get_mut(&seq) {
            Some(kept) if is_own && kept.origin.is_none() => {
                *kept = message;
                self.own_ahead += 1;
            }
            // The same message, published twice in one batch: it is durable, and one answer waits for it.
            Some(_) if is_own => return Offered::Known(message),
            Some(_) => {}
            None if !is_own && is_full => return Offered::Beyond,
            None => {
                self.own_ahead += usize::from(is_own);
                self.ahead.insert(seq, message);
            }
        }
        Offered::Ahead
    }

    /// The next message, if it was kept.
    pub(super) fn pop(&mut self) -> Option<NumberedMessage> {
        let message = self.ahead.remove(&self.next())?;
        self.seq = self.next();
        self.own_ahead -= usize::from(message.origin.is_some());
        Some(message)
    }

    /// Nothing before `seq` will come any more. True if that makes a kept message the next one.
    pub(super) fn give_up_before(&mut self, seq: Seq) -> bool {
        match self.ahead.first_key_value() {
            Some((first, _)) if *first <= seq => {
                self.seq = Seq(first.0 - 1);
                true
            }
            _ => false,
        }
    }

    /// A node reported that the room has messages up to `seq`.
    pub(super) fn expect(&mut self, seq: Seq, fetch_at: Now) {
        if seq <= self.seq {
            return;
        }
        let is_new_gap = self.last_known <= self.seq;
        self.last_known = self.last_known.max(seq);
        self.fetch_at = if is_new_gap { fetch_at } else { self.fetch_at.min(fetch_at) };
    }

    /// The store may have kept `count` messages more, and does not know: it is asked soon, and until it
    /// answers.
    pub(super) fn doubt(&mut self, now: Now, count: usize) {
        let at = now.plus_ms(FETCH_RETRY_MS);
        self.fetch_at = self.fetch_at().map_or(at, |old| old.min(at));
        // Behind what was in doubt before: that may have been kept as well.
        self.doubted = Seq(self.last_known.max(self.doubted).0 + count as u64);
    }

    /// The store has not said yet what became of a batch.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted > self.seq
    }

    /// The room has no members here: what is missing is not needed. Returns the own messages among what was
    /// kept, which are still owed their acks.
    pub(super) fn skip_all(&mut self) -> Vec<(Seq, NumberedMessage)> {
        self.seq = self.seq.max(self.last_known);
        self.own_ahead = 0;
        let ahead = std::mem::take(&mut self.ahead);
        ahead.into_iter().filter(|(_, message)| message.origin.is_some()).collect()
    }

    pub(super) fn is_missing(&self) -> bool {
        self.last_known > self.seq
    }

    /// When to ask for what is missing, unless that is asked for already.
    pub(super) fn fetch_at(&self) -> Option<Now> {
        let is_due = self.is_missing() || self.is_doubted();
        (is_due && self.fetching.is_none()).then_some(self.fetch_at)
    }

    /// The range to ask for. The first that is kept is among it: an answer that begins with it says that there is
    /// nothing before.
    pub(super) fn missing(&self) -> (Seq, Seq) {
        let first_kept = self.ahead.first_key_value().map(|(seq, _)| *seq);
        let last = self.last_known.max(self.doubted);
        (self.seq, first_kept.unwrap_or(last).min(last))
    }

    pub(super) fn asked(&mut self) {
        self.fetching = Some((self.seq, self.doubted));
    }

    /// The first message that the store has behind what was asked for. What is missing before it does not exist: the
    /// store was restored from a copy, and numbers go on behind those that had been sent. True if there is such a hole.
    pub(super) fn skip_hole(&mut self, first: Seq) -> bool {
        let (after, _) = self.fetching.expect("an answer follows a question");
        let is_hole = self.seq == after && self.next() < first && first <= SEQ_MAX;
        if is_hole {
            self.seq = Seq(first.0 - 1);
            self.last_known = self.last_known.max(self.seq);
        }
        is_hole
    }

    /// The store did not answer.
    pub(super) fn not_fetched(&mut self, now: Now) {
        self.fetching.take().expect("an answer follows a question");
        self.fetch_at = now.plus_ms(FETCH_RETRY_MS);
    }

    /// The store has answered and its messages were offered. If it had nothing, what is missing
    /// does not exist: a number that only other nodes reported is forgotten, and messages that are certain
    /// wait no longer.
    pub(super) fn fetched(&mut self, now: Now, is_kept: bool) {
        let (after, doubted) = self.fetching.take().expect("an answer follows a question");
        self.fetch_at = now;
        if self.seq > after {
            return;
        }
        if self.doubted == doubted {
            self.doubted = Seq(0);
        }
        if !self.is_missing() {
            return;
        }
        let first_kept = self.ahead.keys().next().copied();
        match first_kept {
            Some(first) if self.own_ahead > 0 || !is_kept => self.seq = Seq(first.0 - 1),
            _ => {
                self.ahead.clear();
                self.last_known = self.seq;
            }
        }
    }
}

impl ReorderBuffer {
    /// Asserts that what is kept ahead is ahead, counted and bounded.
    pub(super) fn check(&self) {
        assert!(self.last_known >= self.seq, "what was handed on is known");
        if let (Some((first, _)), Some((last, _))) =
            (self.ahead.first_key_value(), self.ahead.last_key_value())
        {
            assert!(*first > self.next(), "a message that is next is handed on");
            assert!(*last <= self.last_known, "a kept message is known");
        }
        let own = self.ahead.values().filter(|message| message.origin.is_some()).count();
        assert_eq!(own, self.own_ahead, "own messages kept ahead are counted");
        assert!(self.ahead.len() - own <= AHEAD_MAX, "messages kept ahead are bounded");
    }
}

#[cfg(test)]
mod tests;
