//! Keys and memory in Redis, per user and per room.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use redis::{Commands as _, Connection};

use super::Lab;
use super::member::Member;
use crate::result::{Part, Row};
use crate::users::users;

const USERS: usize = 1_000;
const ROOMS: usize = 500;
const ROOM: u32 = 900;
const TIMEOUT: Duration = Duration::from_secs(20);

/// The keys by what they are for, and how many bytes they take.
type Kept = BTreeMap<String, (u64, u64)>;

pub(super) fn run(lab: &Lab) -> anyhow::Result<Part> {
    let (users_count, rooms) = if lab.is_trial { (20, 10) } else { (USERS, ROOMS) };
    let mut redis = redis::Client::open(lab.redis.as_str())?.get_connection()?;
    let tokens = users(&lab.node, users_count)?;
    let before = kept(&mut redis)?;
    let mut members = Vec::new();
    for token in &tokens {
        members.push(Member::enter(&lab.node, token, ROOM)?);
    }
    wait(&mut redis, &format!("throng:presence:{ROOM}"), users_count as u64)?;
    let with_users = kept(&mut redis)?;
    for (index, member) in members.iter_mut().take(rooms).enumerate() {
        member.join(ROOM + 1 + u32::try_from(index)?)?;
    }
    wait(&mut redis, &format!("throng:presence:{}", ROOM as usize + rooms), 1)?;
    let with_rooms = kept(&mut redis)?;
    let text = format!(
        "{users_count} users with one session each enter one room; then {rooms} of them each enter \
         another room. What the keys take (`MEMORY USAGE`), without the streams of the logs: they \
         hold `redis.log_maxlen` entries each, however many users there are."
    );
    let columns = [("keys", "keys"), ("bytes", "bytes of Redis")];
    let mut part = Part::new("Keys and memory in Redis", text, &columns);
    part.name = "cost".into();
    part.rows = vec![
        each("per user, one session in a room", &before, &with_users, users_count),
        each("per room, with its one member", &with_users, &with_rooms, rooms),
    ];
    Ok(part)
}

/// What is more in `after`, divided.
fn each(name: &str, before: &Kept, after: &Kept, count: usize) -> Row {
    let sum = |kept: &Kept| {
        kept.values().fold((0, 0), |(keys, bytes), each| (keys + each.0, bytes + each.1))
    };
    let (old, new) = (sum(before), sum(after));
    let share = |old: u64, new: u64| new.saturating_sub(old) as f64 / count as f64;
    let mut figures = BTreeMap::from([
        ("keys".to_owned(), share(old.0, new.0)),
        ("bytes".to_owned(), share(old.1, new.1)),
    ]);
    for (what, (_, bytes)) in after {
        let grown = share(before.get(what).map_or(0, |known| known.1), *bytes);
        figures.insert(format!("bytes in {what}"), grown);
    }
    Row { name: name.into(), figures, ..Row::default() }
}

/// This Redis is used by nothing else, so every key in it may be scanned.
fn kept(redis: &mut Connection) -> anyhow::Result<Kept> {
    let keys: Vec<String> = redis.scan()?.collect::<Result<_, _>>()?;
    let mut kept = Kept::new();
    for key in keys {
        let words: Vec<&str> = key.split(':').collect();
        let what = words[..words.len().min(2)].join(":");
        if what == "throng:log" {
            continue;
        }
        let usage: Option<u64> =
            redis::cmd("MEMORY").arg("USAGE").arg(&key).arg("SAMPLES").arg(0).query(redis)?;
        let (keys, bytes) = kept.entry(what).or_default();
        *keys += 1;
        *bytes += usage.unwrap_or(0);
    }
    Ok(kept)
}

/// Presence is written behind, so this waits until the key has `fields` fields.
fn wait(redis: &mut Connection, key: &str, fields: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let found: u64 = redis.hlen(key)?;
        if found >= fields {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{key} has {found} fields instead of {fields}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
