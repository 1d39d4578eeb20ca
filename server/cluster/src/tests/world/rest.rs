//! The state that must hold at rest.

use super::*;
use crate::keys::parse_owned_pair;
use crate::model::Value;
use crate::order::Fd;

impl World {
    /// `None` when the state is correct, else the first fault.
    pub fn fault(&mut self) -> Option<String> {
        let live: Vec<usize> = (0..self.nodes.len()).filter(|i| self.nodes[*i].is_some()).collect();
        for index in &live {
            let status = self.status(*index);
            if !status.is_up || !status.is_announced {
                return Some(format!("node {index} is not up: {status:?}"));
            }
            let mut seen: Vec<Facts> = self.node(*index).views.values().cloned().collect();
            let others = live.iter().filter(|other| *other != index);
            let mut expected: Vec<Facts> = others.map(|other| self.truth(*other)).collect();
            for facts in [&mut seen, &mut expected] {
                facts.retain(|facts| !facts.is_empty());
                facts.sort();
            }
            if seen != expected {
                return Some(format!("node {index} shows {seen:?}, the truth is {expected:?}"));
            }
            let (heard, tips) = (&self.nodes[*index].as_ref()?.heard, &self.sql.tips);
            if heard != tips {
                return Some(format!("node {index} knows {heard:?} of {tips:?}"));
            }
        }
        self.fault_in_redis(&live)
    }

    fn fault_in_redis(&mut self, live: &[usize]) -> Option<String> {
        let mut names = BTreeMap::new();
        for index in live {
            let status = self.status(*index);
            names.insert(status.incarnation, (*index, status.node?));
        }
        let now = self.now;
        let keys = self.redis.redis.keys(now).clone();
        let mut map = Map::default();
        let mut shown: BTreeMap<String, Facts> = BTreeMap::new();
        for (key, value) in &keys {
            let is_correct = match value {
                Value::Text(holder) if key.starts_with("throng:node:") => {
                    names.contains_key(holder)
                }
                Value::Hash(hash) if key == "throng:nodes" => {
                    hash.keys().all(|name| names.contains_key(name)) && hash.len() == names.len()
                }
                Value::Hash(hash) if key.starts_with("throng:presence:") => {
                    let room = RoomId(key["throng:presence:".len()..].parse().ok()?);
                    for field in hash.keys() {
                        let (name, user) = field.split_once('/')?;
                        let facts = shown.entry(name.to_owned()).or_default();
                        facts.insert((room, UserId(user.parse().ok()?)));
                    }
                    true
                }
                Value::Set(_) if key.starts_with("throng:rooms:") => {
                    names.contains_key(&key["throng:rooms:".len()..])
                }
                Value::Set(set) if key.starts_with("throng:fds:") => {
                    map.owned.extend(set.iter().filter_map(|member| {
                        let (fd, name) = parse_owned_pair(member)?;
                        Some((fd, name.to_owned()))
                    }));
                    names.contains_key(&key["throng:fds:".len()..])
                }
                Value::Set(set) if key.starts_with("swoole:rooms:") => {
                    let name = &key["swoole:rooms:".len()..];
                    let pair = |fd: &String| (Fd(fd.parse().expect("a number")), name.to_owned());
                    map.by_room.extend(set.iter().map(pair));
                    true
                }
                Value::Set(set) if key.starts_with("swoole:fds:") => {
                    let fd = Fd(key["swoole:fds:".len()..].parse().ok()?);
                    map.by_fd.extend(set.iter().map(|name| (fd, name.clone())));
                    true
                }
                Value::Hash(hash) if key == "socket_id" => {
                    map.users = hash.clone();
                    true
                }
                Value::Stream { .. } => true,
                _ => false,
            };
            if !is_correct {
                return Some(format!("{key} is wrong: {value:?}, with {names:?}"));
            }
        }
        for (name, (index, _)) in &names {
            let (shown, truth) = (shown.remove(name).unwrap_or_default(), self.truth(*index));
            if shown != truth {
                return Some(format!("the hashes show {shown:?} for node {index}: {truth:?}"));
            }
        }
        if !shown.is_empty() {
            return Some(format!("the hashes show dead nodes: {shown:?}"));
        }
        map.fault(self, &names)
    }
}

/// The original's map as found in Redis.
#[derive(Default)]
struct Map {
    owned: BTreeSet<(Fd, String)>,
    by_room: BTreeSet<(Fd, String)>,
    by_fd: BTreeSet<(Fd, String)>,
    users: BTreeMap<String, String>,
}

impl Map {
    fn fault(&self, world: &World, names: &BTreeMap<String, (usize, u16)>) -> Option<String> {
        if self.by_room != self.by_fd || self.by_room != self.owned {
            return Some(format!("{:?} {:?} {:?}", self.by_room, self.by_fd, self.owned));
        }
        let mut counts = BTreeMap::<(u16, String), usize>::new();
        for (fd, name) in &self.by_room {
            let node = u16::try_from(fd.0 >> Fd::STAMP_BITS).expect("ten bits");
            *counts.entry((node, name.clone())).or_default() += 1;
        }
        let mut expected_counts = BTreeMap::<(u16, String), usize>::new();
        let mut newest = BTreeMap::<String, (Now, Vec<u16>)>::new();
        for (index, id) in names.values() {
            for (state, since) in world.nodes[*index].as_ref()?.sessions.values() {
                let user = state.user.0.to_string();
                *expected_counts.entry((*id, format!("uid_{user}"))).or_default() += 1;
                for room in &state.rooms {
                    *expected_counts.entry((*id, format!("room{}", room.0))).or_default() += 1;
                }
                let entry = newest.entry(user).or_insert((*since, Vec::new()));
                if *since > entry.0 {
                    *entry = (*since, Vec::new());
                }
                if *since == entry.0 {
                    entry.1.push(*id);
                }
            }
        }
        if counts != expected_counts {
            return Some(format!("the map counts {counts:?}, there are {expected_counts:?}"));
        }
        if self.users.keys().ne(newest.keys()) {
            return Some(format!("socket_id is {:?}, users {newest:?}", self.users));
        }
        for (user, fd) in &self.users {
            let fd = Fd(fd.parse().expect("a number"));
            let node = u16::try_from(fd.0 >> Fd::STAMP_BITS).expect("ten bits");
            let is_known = self.by_room.contains(&(fd, format!("uid_{user}")));
            if !is_known || !newest[user].1.contains(&node) {
                return Some(format!("user {user} is bound to {fd} of {node}: {newest:?}"));
            }
        }
        None
    }
}
