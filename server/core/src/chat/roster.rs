//! Who is in one room: members by session, users by presence, and what must still be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::bucket::Budget;
use super::frames::{self, Meta};
use super::lane::{Delivery, Hearing};
use super::lanes::Lanes;
use super::maps::Map;
use super::pace::Pace;
use crate::cluster::NodeIx;
use crate::counters::Counters;
use crate::ids::{ConnId, RoomId, Seq, ShardId, UserId};
use crate::input::UserCard;
use crate::now::Now;

/// What one send costs at least, in bytes of budget: a join storm in a large room must not become
/// a storm of small events.
const SEND_BYTES: u64 = 1024;
/// Lane slots that roster traffic leaves free for requests.
pub(crate) const RESERVED_SLOTS: u32 = 8;

struct Member {
    user: UserId,
    hearing: Hearing,
    /// In [`Roster::waiting`].
    is_waiting: bool,
}

struct Present {
    card: Arc<UserCard>,
    /// Members of this node.
    sessions: u32,
    /// Other nodes that have members of the user.
    nodes: SmallVec<[NodeIx; 1]>,
}

/// What the last broadcast did not say yet.
#[derive(Default)]
struct Untold {
    /// For members who hear whole rosters: changed at all, and did anybody join.
    full: bool,
    joined_any: bool,
    /// For members who hear changes: each user is in at most one of the two.
    joined: BTreeSet<UserId>,
    left: BTreeSet<UserId>,
    count: bool,
}

pub(crate) struct Roster {
    room: RoomId,
    members: Map<ConnId, Member>,
    users: BTreeMap<UserId, Present>,
    /// Pairs of a user and another node that has him.
    remote: usize,
    /// Members per edge.
    edges: Vec<u32>,
    /// Members by how they hear, indexed by `Hearing as usize`.
    hearing: [u32; 3],
    version: u64,
    untold: Untold,
    /// Members who wait for their first roster, or asked again.
    waiting: VecDeque<ConnId>,
    broadcast_budget: Budget,
    snapshot_budget: Budget,
    /// Roster JSON of `version`, while it is used more than once.
    cached: Option<(u64, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The set of present users changed.
    pub(crate) is_new: bool,
    /// The set of users with members of this node changed.
    pub(crate) is_new_here: bool,
    pub(crate) user: UserId,
}

impl Roster {
    pub(crate) fn new(room: RoomId, shards: u8, keyed: super::maps::Keyed) -> Roster {
        Roster {
            room,
            members: Map::with_hasher(keyed),
            users: BTreeMap::new(),
            remote: 0,
            edges: vec![0; usize::from(shards)],
            hearing: [0; 3],
            version: 0,
            untold: Untold::default(),
            waiting: VecDeque::new(),
            broadcast_budget: Budget::default(),
            snapshot_budget: Budget::default(),
            cached: None,
        }
    }

    pub(crate) fn online(&self) -> u32 {
        self.users.len() as u32
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn has_edge(&self, shard: ShardId) -> bool {
        self.edges[usize::from(shard.0)] > 0
    }

    pub(crate) fn card_of(&self, conn: ConnId) -> Option<&Arc<UserCard>> {
        let user = self.members.get(&conn)?.user;
        self.users.get(&user).map(|present| &present.card)
    }

    fn meta(&self, seq: Seq) -> Meta {
        Meta { room: self.room, seq, online: self.online(), version: self.version }
    }

    /// Adds a member. A member that is one already only gets the roster again.
    pub(crate) fn join(&mut self, conn: ConnId, card: &Arc<UserCard>, hearing: Hearing) -> Change {
        let user = card.id;
        if let Some(member) = self.members.get_mut(&conn) {
            self.hearing[member.hearing as usize] -= 1;
            self.hearing[hearing as usize] += 1;
            member.hearing = hearing;
            let user = member.user;
            if !member.is_waiting {
                member.is_waiting = true;
                self.waiting.push_back(conn);
            }
            return Change { is_new: false, is_new_here: false, user };
        }
        self.members.insert(conn, Member { user, hearing, is_waiting: true });
        self.edges[usize::from(conn.shard().0)] += 1;
        self.hearing[hearing as usize] += 1;
        let present = self.users.entry(user).or_insert_with(|| Present::new(card));
        present.sessions += 1;
        let is_new_here = present.sessions == 1;
        let is_new = is_new_here && present.nodes.is_empty();
        if is_new {
            self.appeared(user);
        } else if is_new_here {
            // Other nodes do not know his e-mail.
            self.rename(card);
        }
        self.waiting.push_back(conn);
        Change { is_new, is_new_here, user }
    }

    /// Removes a member; `None` if it was none.
    pub(crate) fn leave(&mut self, conn: ConnId) -> Option<Change> {
        let member = self.members.remove(&conn)?;
        self.edges[usize::from(conn.shard().0)] -= 1;
        self.hearing[member.hearing as usize] -= 1;
        let user = member.user;
        let present = self.users.get_mut(&user).expect("a member's user is present");
        present.sessions -= 1;
        let is_new_here = present.sessions == 0;
        let is_new = is_new_here && present.nodes.is_empty();
        if is_new {
            self.vanished(user);
        }
        Some(Change { is_new, is_new_here, user })
    }

    fn appeared(&mut self, user: UserId) {
        self.version += 1;
        self.untold.full = true;
        self.untold.joined_any = true;
        self.untold.count = true;
        self.untold.left.remove(&user);
        self.untold.joined.insert(user);
    }

    fn vanished(&mut self, user: UserId) {
        self.users.remove(&user);
        self.version += 1;
        self.untold.full = true;
        self.untold.count = true;
        self.untold.joined.remove(&user);
        self.untold.left.insert(user);
    }

    /// A present user changed name or avatar. True if he is present.
    pub(crate) fn rename(&mut self, card: &Arc<UserCard>) -> bool {
        let Some(present) = self.users.get_mut(&card.id) else { return false };
        let is_seen = present.card.name != card.name || present.card.avatar != card.avatar;
        present.card = card.knowing(&present.card);
        if is_seen {
            self.version += 1;
            self.untold.full = true;
            self.untold.joined_any = true;
            self.untold.joined.insert(card.id);
        }
        true
    }

    // ---- other nodes --------------------------------------------------------------------------

    pub(crate) fn remote(&self) -> usize {
        self.remote
    }

    /// The card of a user with members of this node.
    pub(crate) fn card_here(&self, user: UserId) -> Option<&Arc<UserCard>> {
        self.users.get(&user).filter(|present| present.sessions > 0).map(|present| &present.card)
    }

    /// Users with members of this node.
    pub(crate) fn users_here(&self) -> impl Iterator<Item = &Arc<UserCard>> {
        self.users.values().filter(|present| present.sessions > 0).map(|present| &present.card)
    }

    pub(crate) fn has(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = UserId> {
        self.users.keys().copied()
    }

    /// The node has the user. True if nobody had him before.
    pub(crate) fn enter_elsewhere(&mut self, node: NodeIx, card: &Arc<UserCard>) -> bool {
        let present = self.users.entry(card.id).or_insert_with(|| Present::new(card));
        let is_new = present.sessions == 0 && present.nodes.is_empty();
        if !present.nodes.contains(&node) {
            present.nodes.push(node);
            self.remote += 1;
        }
        if is_new {
            self.appeared(card.id);
        } else if self.card_here(card.id).is_none() {
            self.rename(card);
        }
        is_new
    }

    /// The node has the user no longer. True if nobody else has him.
    pub(crate) fn leave_elsewhere(&mut self, node: NodeIx, user: UserId) -> bool {
        let Some(present) = self.users.get_mut(&user) else { return false };
        let Some(place) = present.nodes.iter().position(|other| *other == node) else {
            return false;
        };
        present.nodes.swap_remove(place);
        self.remote -= 1;
        let is_new = present.sessions == 0 && present.nodes.is_empty();
        if is_new {
            self.vanished(user);
        }
        is_new
    }

    /// Whom the node has.
    pub(crate) fn users_of(&self, node: NodeIx) -> Vec<UserId> {
        if self.remote == 0 {
            return Vec::new();
        }
        let users = self.users.iter();
        users.filter(|(_, present)| present.nodes.contains(&node)).map(|(user, _)| *user).collect()
    }

    fn json(&mut self) -> &str {
        if self.cached.as_ref().is_none_or(|(version, _)| *version != self.version) {
            let mut json = String::with_capacity(self.users.len() * 96 + 2);
            json.push('{');
            for (index, (user, present)) in self.users.iter().enumerate() {
                if index > 0 {
                    json.push(',');
                }
                json.push('"');
                json.push_str(&user.0.to_string());
                json.push_str("\":");
                json.push_str(&frames::entry(&present.card));
            }
            json.push('}');
            self.cached = Some((self.version, json));
        }
        self.cached.as_ref().map_or("{}", |(_, json)| json)
    }

    /// `roomout` with the present roster, for a leaver or a stranger.
    pub(crate) fn farewell(&mut self, seq: Seq, is_stranger: bool) -> Bytes {
        let meta = self.meta(seq);
        let json = if is_stranger { "{}" } else { self.json() };
        frames::roster("roomout", json, meta)
    }

    /// Tells members what they have not been told, as far as lanes and budget allow. Returns when
    /// to come back if something remains.
    pub(crate) fn tell(
        &mut self,
        now: Now,
        seq: Seq,
        pace: &mut Pace,
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) -> Option<Now> {
        let mut again: Option<Now> = None;
        let mut come_back = |at: Now| again = Some(again.map_or(at, |old| old.min(at)));
        let half = pace.room_bytes_per_s / 2;
        if self.untold.is_any() {
            if self.members.is_empty() {
                self.untold = Untold::default();
            } else if lanes.delivery_room_min() < RESERVED_SLOTS + 3 {
                come_back(now.plus_ms(1));
            } else if !self.broadcast_budget.is_open(now) {
                come_back(self.broadcast_budget.open_at());
            } else if !pace.is_open(now) {
                counters.rosters_put_off += 1;
                come_back(pace.open_at());
            } else {
                let bytes = self.broadcast(now, seq, pace, lanes, counters);
                self.broadcast_budget.spend(now, bytes, half);
            }
        }
        while let Some(conn) = self.waiting.front().copied() {
            let Some(member) = self.members.get_mut(&conn).filter(|m| m.is_waiting) else {
                self.waiting.pop_front();
                continue;
            };
            if lanes.delivery_room(conn.shard()) < RESERVED_SLOTS + 1 {
                come_back(now.plus_ms(1));
                break;
            }
            if !self.snapshot_budget.is_open(now) {
                come_back(self.snapshot_budget.open_at());
                break;
            }
            if !pace.is_open(now) {
                come_back(pace.open_at());
                break;
            }
            let hearing = member.hearing;
            member.is_waiting = false;
            self.waiting.pop_front();
            let meta = self.meta(seq);
            let frame = match hearing {
                Hearing::Full | Hearing::Delta => frames::roster("room", self.json(), meta),
                Hearing::Count => frames::presence_count(meta),
            };
            counters.roster_bytes += frame.len() as u64;
            self.snapshot_budget.spend(now, frame.len() as u64, half);
            pace.spend(now, frame.len() as u64, 1);
            lanes.deliver(conn.shard(), Delivery::Snapshot { room: self.room, conn, frame });
        }
        if self.waiting.is_empty() && self.users.len() > 64 {
            self.cached = None;
        }
        again
    }

    /// One frame for each way of hearing; returns what it costs of the budget.
    fn broadcast(
        &mut self,
        now: Now,
        seq: Seq,
        pace: &mut Pace,
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) -> u64 {
        let meta = self.meta(seq);
        let untold = std::mem::take(&mut self.untold);
        let mut bytes = 0;
        if untold.full && self.hearing[Hearing::Full as usize] > 0 {
            let name = if untold.joined_any { "room" } else { "roomout" };
            let frame = frames::roster(name, self.json(), meta);
            bytes += self.send(Hearing::Full, frame, (now, pace), lanes, counters);
            // The broadcast is the first roster of everybody who still waits for a whole one.
            self.stop_waiting(Hearing::Full);
        }
        if !(untold.joined.is_empty() && untold.left.is_empty())
            && self.hearing[Hearing::Delta as usize] > 0
        {
            let mut entries = String::new();
            for user in &untold.joined {
                let Some(present) = self.users.get(user) else { continue };
                if !entries.is_empty() {
                    entries.push(',');
                }
                entries.push_str(&frames::entry(&present.card));
            }
            let left: Vec<String> = untold.left.iter().map(|user| user.0.to_string()).collect();
            let frame = frames::presence_delta(meta, &entries, &left.join(","));
            bytes += self.send(Hearing::Delta, frame, (now, pace), lanes, counters);
        }
        if untold.count && self.hearing[Hearing::Count as usize] > 0 {
            let frame = frames::presence_count(meta);
            bytes += self.send(Hearing::Count, frame, (now, pace), lanes, counters);
            self.stop_waiting(Hearing::Count);
        }
        bytes
    }

    fn stop_waiting(&mut self, hearing: Hearing) {
        for conn in &self.waiting {
            if let Some(member) = self.members.get_mut(conn)
                && member.hearing == hearing
            {
                member.is_waiting = false;
            }
        }
    }

    fn send(
        &self,
        hearing: Hearing,
        frame: Bytes,
        (now, pace): (Now, &mut Pace),
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) -> u64 {
        let listeners = u64::from(self.hearing[hearing as usize]);
        pace.spend(now, frame.len() as u64 * listeners, listeners);
        counters.roster_broadcasts += 1;
        counters.roster_bytes += frame.len() as u64 * listeners;
        for to in lanes.shards() {
            if self.has_edge(to) {
                let delivery = Delivery::Roster { room: self.room, hearing, frame: frame.clone() };
                lanes.deliver(to, delivery);
            }
        }
        listeners * (frame.len() as u64).max(SEND_BYTES)
    }
}

impl Present {
    fn new(card: &Arc<UserCard>) -> Present {
        Present { card: card.clone(), sessions: 0, nodes: SmallVec::new() }
    }
}

impl Untold {
    fn is_any(&self) -> bool {
        self.full || self.count || !self.joined.is_empty() || !self.left.is_empty()
    }
}
