//! What Redis holds once everything has settled: exactly the sessions there are, and nothing of others.

use std::collections::{BTreeMap, BTreeSet};

use throng_cluster::Fd;
use throng_cluster::model::Value;

use crate::world::World;

/// Who is where: room or none, user.
type Places = BTreeSet<(u32, u32)>;

impl World {
    pub fn check_mirror(&mut self) {
        let Some(backplane) = &mut self.backplane else { return };
        let keys = backplane.redis.redis.keys(self.now).clone();
        let mut names: BTreeMap<String, (usize, u16)> = BTreeMap::new();
        for (node, process) in backplane.processes.iter().enumerate() {
            let status = process.cluster.status();
            let Some(id) = status.node.filter(|_| status.is_up && status.is_announced) else {
                let text = format!("node {node} has not recovered: {status:?}");
                return self.facts.fail("recovery", text);
            };
            names.insert(status.incarnation, (node, id));
        }
        // A process that is killed before it knows that Redis was emptied may have written once more
        // under a name that nobody can find.
        if backplane.was_emptied && backplane.was_killed {
            return;
        }
        if let Some(text) = self.fault_of_presence(&keys, &names) {
            return self.facts.fail("mirror", text);
        }
        if let Some(text) = self.fault_of_map(&keys, &names) {
            self.facts.fail("fd-map", text);
        }
    }

    /// Rooms and users of the sessions on a node; room 0 stands for all users.
    fn places(&self, node: usize) -> Places {
        let mut places = Places::new();
        for session in self.sessions.iter().filter(|session| session.is_live()) {
            let Some(Some(user)) = session.user else { continue };
            if self.node_of(session.shard) != node {
                continue;
            }
            places.insert((0, user));
            let rooms = 1..=self.scenario.rooms_named;
            places.extend(rooms.filter(|room| session.is_in(*room)).map(|room| (room, user)));
        }
        places
    }

    fn fault_of_presence(
        &self,
        keys: &BTreeMap<String, Value>,
        names: &BTreeMap<String, (usize, u16)>,
    ) -> Option<String> {
        let mut shown: BTreeMap<String, Places> = BTreeMap::new();
        for (key, value) in keys {
            let is_known = |name: &str| names.contains_key(name);
            let is_right = match value {
                Value::Text(_) if key.starts_with("throng:cid:") => true,
                Value::Text(holder) => is_known(holder),
                Value::Hash(hash) if key == "throng:nodes" => {
                    hash.len() == names.len() && hash.keys().all(|name| is_known(name))
                }
                Value::Hash(hash) if key.starts_with("throng:presence:") => {
                    let room = key["throng:presence:".len()..].parse().ok()?;
                    for field in hash.keys() {
                        let (name, user) = field.split_once('/')?;
                        let user = user.parse().ok()?;
                        shown.entry(name.to_owned()).or_default().insert((room, user));
                    }
                    true
                }
                Value::Set(_) if key.starts_with("throng:rooms:") => {
                    is_known(&key["throng:rooms:".len()..])
                }
                Value::Set(_) if key.starts_with("throng:fds:") => {
                    is_known(&key["throng:fds:".len()..])
                }
                Value::Hash(_) | Value::Set(_) | Value::Stream { .. } => true,
            };
            if !is_right {
                return Some(format!("{key} is {value:?}, the nodes are {names:?}"));
            }
        }
        for (name, (node, _)) in names {
            let mut truth = self.places(*node);
            truth.retain(|(room, _)| *room > 0);
            let shown = shown.remove(name).unwrap_or_default();
            if shown != truth {
                return Some(format!("Redis shows {shown:?} of node {node}, there is {truth:?}"));
            }
        }
        (!shown.is_empty()).then(|| format!("Redis shows those who are no more: {shown:?}"))
    }

    /// The original's map: every user with a session, at one of their sessions, in the rooms of it.
    fn fault_of_map(
        &self,
        keys: &BTreeMap<String, Value>,
        names: &BTreeMap<String, (usize, u16)>,
    ) -> Option<String> {
        let node_of =
            |id: u16| names.values().find(|(_, other)| *other == id).map(|(node, _)| *node);
        let mut users: BTreeSet<u32> = BTreeSet::new();
        if let Some(Value::Hash(hash)) = keys.get("socket_id") {
            for (user, fd) in hash {
                let (user, fd) = (user.parse().ok()?, Fd(fd.parse().ok()?));
                let node = node_of(u16::try_from(fd.0 >> Fd::STAMP_BITS).ok()?);
                let is_there = node.is_some_and(|node| self.places(node).contains(&(0, user)));
                if !is_there {
                    return Some(format!("user {user} is said to be at {fd} of {node:?}"));
                }
                users.insert(user);
            }
        }
        let mut truth = Places::new();
        let mut fds = 0;
        for (node, _) in names.values() {
            truth.extend(self.places(*node));
        }
        let missing: Vec<u32> =
            truth.iter().map(|(_, user)| *user).filter(|user| !users.contains(user)).collect();
        if !missing.is_empty() {
            return Some(format!("users {missing:?} are not in socket_id: {users:?}"));
        }
        let mut stays = 0;
        let mut seen = Vec::new();
        for (key, value) in keys {
            let Value::Set(set) = value else { continue };
            if key.starts_with("swoole:rooms:room") {
                stays += set.len();
            } else if let Some(fd) = key.strip_prefix("swoole:fds:") {
                fds += 1;
                seen.push((fd, set));
            }
        }
        let live = self.sessions.iter().filter(|s| s.is_live() && matches!(s.user, Some(Some(_))));
        let rooms = |s: &crate::session::Session| {
            (1..=self.scenario.rooms_named).filter(|room| s.is_in(*room)).count()
        };
        let (sessions, memberships) =
            live.fold((0, 0), |(count, sum), session| (count + 1, sum + rooms(session)));
        if (fds, stays) != (sessions, memberships) {
            return Some(format!(
                "the map has {fds} sessions in {stays} rooms, there are {sessions} in \
                 {memberships}: {seen:?}"
            ));
        }
        None
    }
}
