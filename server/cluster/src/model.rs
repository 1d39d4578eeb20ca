//! A Redis of plain maps for tests and the simulation: the commands behind [`crate::Order`] with
//! time as an argument, and [`server`], which is slow, paused, full or down on demand.

pub mod server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use throng_chat::Seq;
use throng_engine::Now;

pub use server::{Mode, Server};

use crate::entry::unnumbered_json;
use crate::order::{
    Append, EntryId, Failure, Fields, Numbers, Order, Outcome, StreamEntries, Write,
};

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Hash(BTreeMap<String, String>),
    Set(BTreeSet<String>),
    Stream { entries: VecDeque<(EntryId, Fields)>, last: EntryId },
}

/// The data and the commands. Streams are trimmed exactly; a real Redis trims whole blocks and
/// keeps more.
#[derive(Default)]
pub struct Redis {
    keys: BTreeMap<String, Value>,
    expires: BTreeMap<String, Now>,
    /// Commands that need memory are rejected.
    pub is_full: bool,
    /// Its wall clock at [`Now`] zero, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    dice: u64,
}

impl Redis {
    /// Removes everything.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.expires.clear();
    }

    /// All keys, without the expired ones.
    pub fn keys(&mut self, now: Now) -> &BTreeMap<String, Value> {
        self.expire(now);
        &self.keys
    }

    /// Executes an order.
    ///
    /// # Errors
    /// `Refused` when it needs memory and there is none, or is not for Redis.
    pub fn run(&mut self, now: Now, order: &Order) -> Result<Outcome, Failure> {
        self.expire(now);
        match order {
            Order::Claim { key, value, ttl_ms } => {
                self.needs_memory()?;
                let is_free = self.text(key).is_none_or(|holder| holder == value);
                if is_free {
                    self.keys.insert(key.clone(), Value::Text(value.clone()));
                    self.expires.insert(key.clone(), now.plus_ms(*ttl_ms));
                }
                Ok(Outcome::Held(is_free))
            }
            Order::Renew { key, value, ttl_ms } => {
                let is_held = self.text(key) == Some(value);
                if is_held {
                    self.expires.insert(key.clone(), now.plus_ms(*ttl_ms));
                }
                Ok(Outcome::Held(is_held))
            }
            Order::Release { key, value } => {
                if self.text(key) == Some(value) {
                    self.keys.remove(key);
                    self.expires.remove(key);
                }
                Ok(Outcome::Done)
            }
            Order::Values { keys } => {
                Ok(Outcome::Values(keys.iter().map(|key| self.text(key).cloned()).collect()))
            }
            Order::Write { writes } => {
                for write in writes {
                    self.write(write)?;
                }
                Ok(Outcome::Done)
            }
            Order::Members { key } => Ok(Outcome::Members(self.set(key).into_iter().collect())),
            Order::Sample { key, count } => {
                let mut members: Vec<String> = self.set(key).into_iter().collect();
                while members.len() > *count as usize {
                    let index = self.dice(members.len());
                    members.swap_remove(index);
                }
                Ok(Outcome::Members(members))
            }
            Order::Fields { key } => Ok(Outcome::Fields(match self.keys.get(key) {
                Some(Value::Hash(hash)) => hash.clone().into_iter().collect(),
                _ => Fields::new(),
            })),
            Order::Append { maxlen, entries } => {
                for Append { stream, fields } in entries {
                    self.needs_memory()?;
                    self.add(now, stream, *maxlen, fields.clone());
                }
                Ok(Outcome::Done)
            }
            Order::Number {
                counters,
                stream,
                // Nothing is sent twice here.
                answer_key: _,
                room,
                at_least,
                maxlen,
                fields,
                messages,
                cid_ttl_ms,
            } => {
                self.needs_memory()?;
                let field = room.0.to_string();
                let last = self.hash(counters).get(&field).and_then(|text| text.parse().ok());
                let first = last.unwrap_or(0).max(at_least.0) + 1;
                let (mut next, mut repeats, mut new) = (first, Vec::new(), Vec::new());
                for (index, message) in messages.iter().enumerate() {
                    let known = message.cid_key.as_ref().and_then(|key| self.text(key));
                    if let Some(seq) = known.and_then(|text| text.parse().ok()) {
                        repeats.push((index, Seq(seq)));
                        continue;
                    }
                    if let Some(key) = &message.cid_key {
                        self.keys.insert(key.clone(), Value::Text(next.to_string()));
                        self.expires.insert(key.clone(), now.plus_ms(*cid_ttl_ms));
                    }
                    new.push(&*message.json);
                    next += 1;
                }
                if next > first {
                    self.hash(counters).insert(field, (next - 1).to_string());
                    let mut fields = fields.clone();
                    fields.push(("d".into(), unnumbered_json(*room, new.into_iter())));
                    fields.push(("f".into(), first.to_string()));
                    self.add(now, stream, *maxlen, fields);
                }
                Ok(Outcome::Numbered(Numbers { first: Seq(first), repeats }))
            }
            Order::Read { from, count, .. } => Ok(Outcome::Entries(self.read(from, *count))),
            Order::Tails { streams } => {
                let last = |stream| match self.keys.get(stream) {
                    Some(Value::Stream { last, .. }) => Some(*last),
                    _ => None,
                };
                Ok(Outcome::Tails(streams.iter().map(last).collect()))
            }
            Order::Tips | Order::Card { .. } | Order::RaiseMarks { .. } => {
                Err(Failure::Refused { why: "not for redis" })
            }
        }
    }

    fn write(&mut self, write: &Write) -> Result<(), Failure> {
        match write {
            Write::HashSet { key, pairs } => {
                self.needs_memory()?;
                self.hash(key).extend(pairs.iter().cloned());
            }
            Write::HashDelete { key, fields } => {
                self.hash(key).retain(|field, _| !fields.contains(field));
            }
            Write::HashDeletePrefix { key, prefix } => {
                self.hash(key).retain(|field, _| !field.starts_with(prefix));
            }
            Write::SetAdd { key, members } => {
                self.needs_memory()?;
                let empty = || Value::Set(BTreeSet::new());
                if let Value::Set(set) = self.keys.entry(key.clone()).or_insert_with(empty) {
                    set.extend(members.iter().cloned());
                }
            }
            Write::SetRemove { key, members } => {
                if let Some(Value::Set(set)) = self.keys.get_mut(key) {
                    set.retain(|member| !members.contains(member));
                }
            }
            Write::Delete { key } => {
                self.keys.remove(key);
            }
            Write::Bind { key, user, fd } => {
                self.needs_memory()?;
                let field = user.0.to_string();
                let bound = self.hash(key).get(&field).and_then(|text| text.parse().ok());
                let bound = bound.map(crate::Fd);
                if bound.is_none_or(|bound| bound.age_order() < fd.age_order()) {
                    self.hash(key).insert(field, fd.to_string());
                }
            }
            Write::Unbind { key, user, fd } => {
                let field = user.0.to_string();
                if self.hash(key).get(&field) == Some(&fd.to_string()) {
                    self.hash(key).remove(&field);
                }
            }
        }
        // Redis keeps no empty collections.
        let is_empty = match self.keys.get(write.key()) {
            Some(Value::Hash(hash)) => hash.is_empty(),
            Some(Value::Set(set)) => set.is_empty(),
            Some(Value::Text(_) | Value::Stream { .. }) | None => false,
        };
        if is_empty {
            self.keys.remove(write.key());
        }
        Ok(())
    }

    fn add(&mut self, now: Now, stream: &str, maxlen: u64, fields: Fields) {
        let empty = || Value::Stream { entries: VecDeque::new(), last: EntryId::ZERO };
        let stream = self.keys.entry(stream.to_owned()).or_insert_with(empty);
        let Value::Stream { entries, last } = stream else {
            unreachable!("no other command writes to a log")
        };
        let ms = self.started_unix_ms + now.0 / 1_000_000;
        *last = if ms > last.ms {
            EntryId { ms, n: 0 }
        } else {
            EntryId { ms: last.ms, n: last.n + 1 }
        };
        entries.push_back((*last, fields));
        while entries.len() as u64 > maxlen {
            entries.pop_front();
        }
    }

    fn read(&self, from: &[(String, EntryId)], count: u32) -> Vec<StreamEntries> {
        let mut read = Vec::new();
        for (stream, after) in from {
            if let Some(Value::Stream { entries, .. }) = self.keys.get(stream) {
                let behind = entries.partition_point(|(id, _)| id <= after);
                let entries: Vec<_> =
                    entries.range(behind..).take(count as usize).cloned().collect();
                if !entries.is_empty() {
                    read.push(StreamEntries { stream: stream.clone(), entries });
                }
            }
        }
        read
    }

    fn needs_memory(&self) -> Result<(), Failure> {
        if self.is_full { Err(Failure::Refused { why: "oom" }) } else { Ok(()) }
    }

    fn text(&self, key: &str) -> Option<&String> {
        match self.keys.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn set(&self, key: &str) -> BTreeSet<String> {
        match self.keys.get(key) {
            Some(Value::Set(set)) => set.clone(),
            _ => BTreeSet::new(),
        }
    }

    fn hash(&mut self, key: &str) -> &mut BTreeMap<String, String> {
        let value = self.keys.entry(key.to_owned()).or_insert_with(|| Value::Hash(BTreeMap::new()));
        if !matches!(value, Value::Hash(_)) {
            *value = Value::Hash(BTreeMap::new());
        }
        let Value::Hash(hash) = value else { unreachable!("it was replaced by a hash above") };
        hash
    }

    fn expire(&mut self, now: Now) {
        let over: Vec<String> =
            self.expires.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.expires.remove(&key);
            self.keys.remove(&key);
        }
    }

    fn dice(&mut self, sides: usize) -> usize {
        // A linear congruential generator is random enough to pick members.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.dice >> 33) as usize % sides
    }
}
