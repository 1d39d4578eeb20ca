//! Who is in one room: members by session, users by presence, and what has not been sent to them yet.

mod block;
mod budgets;
mod changes;
mod check;
mod rates;
mod sending;
mod updates;
mod whole;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::frames::{self, Meta};
use super::lane::PresenceMode;
use crate::cluster::NodeIx;
use crate::ids::{RoomId, Seq, SessionId, ShardId, UserId};
use crate::user::UserCard;
use throng_engine::Map;
use updates::Updates;

/// Lane slots that roster traffic leaves free for requests.
pub(crate) const RESERVED_SLOTS: u32 = 8;

struct Member {
    user: UserId,
    presence_mode: PresenceMode,
    /// For its first roster, or because it asked again.
    is_waiting: bool,
}

struct Present {
    card: Arc<UserCard>,
    /// Members of this node.
    sessions: u32,
    /// Other nodes that have members of the user.
    nodes: SmallVec<[NodeIx; 1]>,
    /// As it is in whole rosters, once one was encoded: each leave of a member is answered with one.
    entry: OnceCell<Box<str>>,
}

pub(crate) struct Roster {
    room: RoomId,
    members: Map<SessionId, Member>,
    users: BTreeMap<UserId, Present>,
    /// Pairs of a user and another node that the user is on.
    remote: usize,
    /// Members per edge.
    edges: Vec<u32>,
    /// Members per presence mode, indexed by `PresenceMode as usize`.
    presence_mode: [u32; 3],
    version: u64,
    updates: Updates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RosterChange {
    /// The set of present users changed.
    pub(crate) is_new: bool,
    /// The set of users with members of this node changed.
    pub(crate) is_new_here: bool,
    pub(crate) user: UserId,
}

impl Roster {
    pub(crate) fn new(room: RoomId, shards: u8, keyed: throng_engine::Keyed) -> Roster {
        Roster {
            room,
            members: Map::with_hasher(keyed),
            users: BTreeMap::new(),
            remote: 0,
            edges: vec![0; usize::from(shards)],
            presence_mode: [0; 3],
            version: 0,
            updates: Updates::default(),
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

    pub(crate) fn card_of(&self, session: SessionId) -> Option<&Arc<UserCard>> {
        let user = self.members.get(&session)?.user;
        Some(&self.users.get(&user).expect("a member's user is present").card)
    }

    fn meta(&self, seq: Seq) -> Meta {
        Meta { room: self.room, seq, online: self.online(), version: self.version }
    }

    /// Adds a member. A member that is one already only gets the roster again.
    pub(crate) fn join(
        &mut self,
        session: SessionId,
        card: &Arc<UserCard>,
        presence_mode: PresenceMode,
    ) -> RosterChange {
        let user = card.id;
        if let Some(member) = self.members.get_mut(&session) {
            let user = member.user;
            self.updates.left(session, member);
            self.presence_mode[member.presence_mode as usize] -= 1;
            self.presence_mode[presence_mode as usize] += 1;
            *member = Member { user, presence_mode, is_waiting: true };
            self.updates.entered(session, presence_mode, self.version);
            return RosterChange { is_new: false, is_new_here: false, user };
        }
        self.members.insert(session, Member { user, presence_mode, is_waiting: true });
        self.edges[usize::from(session.shard().0)] += 1;
        self.presence_mode[presence_mode as usize] += 1;
        let present = self.users.entry(user).or_insert_with(|| Present::new(card));
        present.sessions += 1;
        let is_new_here = present.sessions == 1;
        let is_new = is_new_here && present.nodes.is_empty();
        if is_new {
            self.appeared(user);
        } else if is_new_here {
            // Other nodes do not know the e-mail.
            self.rename(card);
        }
        self.updates.entered(session, presence_mode, self.version);
        RosterChange { is_new, is_new_here, user }
    }

    /// Removes a member; `None` if it was none.
    pub(crate) fn leave(&mut self, session: SessionId) -> Option<RosterChange> {
        let member = self.members.remove(&session)?;
        self.edges[usize::from(session.shard().0)] -= 1;
        self.presence_mode[member.presence_mode as usize] -= 1;
        self.updates.left(session, &member);
        let user = member.user;
        let present = self.users.get_mut(&user).expect("a member's user is present");
        present.sessions -= 1;
        let is_new_here = present.sessions == 0;
        let is_new = is_new_here && present.nodes.is_empty();
        if is_new {
            self.vanished(user);
        }
        Some(RosterChange { is_new, is_new_here, user })
    }

    fn appeared(&mut self, user: UserId) {
        self.version += 1;
        self.updates.unsent.full = true;
        self.updates.unsent.joined_any = true;
        self.updates.unsent.count = true;
        self.updates.unsent.left.remove(&user);
        self.updates.unsent.joined.insert(user);
    }

    fn vanished(&mut self, user: UserId) {
        self.users.remove(&user);
        self.version += 1;
        self.updates.unsent.full = true;
        self.updates.unsent.count = true;
        self.updates.unsent.joined.remove(&user);
        self.updates.unsent.left.insert(user);
    }

    /// A present user changed name or avatar. True if the user is present.
    pub(crate) fn rename(&mut self, card: &Arc<UserCard>) -> bool {
        let Some(present) = self.users.get_mut(&card.id) else { return false };
        let is_seen = present.card.name != card.name || present.card.avatar != card.avatar;
        if is_seen {
            present.entry = OnceCell::new();
        }
        present.card = card.knowing(&present.card);
        if is_seen {
            self.version += 1;
            self.updates.unsent.full = true;
            self.updates.unsent.joined_any = true;
            self.updates.unsent.joined.insert(card.id);
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

    /// The user is on the node. True if they were not present before.
    pub(crate) fn add_remote(&mut self, node: NodeIx, card: &Arc<UserCard>) -> bool {
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

    /// The user is on the node no longer. True if they are not present any more.
    pub(crate) fn remove_remote(&mut self, node: NodeIx, user: UserId) -> bool {
        // Entries of logs are repeated after a snapshot of the node's users, and an arrival beyond
        // `remote_present_max` was refused, and counted.
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

    /// The users on the node.
    pub(crate) fn users_of(&self, node: NodeIx) -> Vec<UserId> {
        if self.remote == 0 {
            return Vec::new();
        }
        let users = self.users.iter();
        users.filter(|(_, present)| present.nodes.contains(&node)).map(|(user, _)| *user).collect()
    }

    fn json(&self) -> String {
        let entries = || self.users.values().map(Present::entry);
        let mut json =
            String::with_capacity(entries().map(|entry| entry.len() + 1).sum::<usize>() + 2);
        json.push('{');
        for (index, entry) in entries().enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push_str(entry);
        }
        json.push('}');
        json
    }

    /// `roomout` with the present roster for a client that left; with an empty one for a client that was no
    /// member.
    pub(crate) fn last_roster(&mut self, seq: Seq, was_member: bool) -> Bytes {
        if !was_member {
            return frames::roster("roomout", "{}", self.meta(seq));
        }
        self.take_block();
        self.block_frame("roomout", seq)
    }
}

impl Present {
    fn new(card: &Arc<UserCard>) -> Present {
        let (nodes, entry) = (SmallVec::new(), OnceCell::new());
        Present { card: card.clone(), sessions: 0, nodes, entry }
    }

    /// With its key.
    fn entry(&self) -> &str {
        let card = &self.card;
        self.entry.get_or_init(|| format!("\"{}\":{}", card.id.0, frames::entry(card)).into())
    }
}
