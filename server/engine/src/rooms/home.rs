//! Home: the rooms whose names fall on this shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::items::{RoomDelivery, RoomRequest};
use super::kept_member::KeptMember;
use super::outgoing::Outgoing;
use super::room_home::{RoomHome, edges};
use super::settings::{Counters, Settings};
use super::state::RoomState;
use crate::app::Place;
use crate::ids::{SessionId, ShardId};
use crate::maps::{Keyed, Map};

pub(super) struct Home<S> {
    /// A room without members is forgotten.
    rooms: Map<Arc<str>, Record<S>>,
    own: ShardId,
    shards: u8,
    rooms_max: usize,
    members_max: usize,
    /// Members that rooms with state keep.
    members: u64,
    out: Outgoing,
}

struct Record<S> {
    /// Members per shard.
    counts: Box<[u32]>,
    /// Members of a room with state.
    members: BTreeMap<SessionId, KeptMember>,
    state: S,
}

impl<S: RoomState> Record<S> {
    fn new(shards: u8) -> Record<S> {
        let counts = vec![0; usize::from(shards)].into();
        Record { counts, members: BTreeMap::new(), state: S::default() }
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// Calls the state with its room.
    fn call<T>(
        &mut self,
        name: &Arc<str>,
        out: &mut Outgoing,
        call: impl FnOnce(&mut S, &mut RoomHome<'_>) -> T,
    ) -> T {
        let Record { counts, members, state } = self;
        call(state, &mut RoomHome { name, counts, members, out })
    }
}

impl<S: RoomState> Home<S> {
    pub(super) fn new<H>(settings: &Settings<H>, keyed: Keyed, place: &Place) -> Home<S> {
        Home {
            rooms: Map::with_hasher(keyed),
            own: place.shard,
            shards: place.shards,
            rooms_max: settings.rooms_per_shard_max as usize,
            members_max: settings.members_per_room_max as usize,
            members: 0,
            out: Outgoing::new(place.shards, settings.home_bytes_max as usize),
        }
    }

    /// Handles a request. Without state it causes at most one delivery per edge, which goes to
    /// `deliver`. With state all deliveries wait for [`Home::next`], in order.
    pub(super) fn request(
        &mut self,
        request: RoomRequest<S::Message>,
        counters: &mut Counters,
        mut deliver: impl FnMut(ShardId, RoomDelivery),
    ) {
        let out = &mut self.out;
        let mut send = |out: &mut Outgoing, to, delivery| {
            if S::IS_KEPT {
                out.push(to, delivery);
            } else {
                deliver(to, delivery);
            }
        };
        match request {
            RoomRequest::Join { room, session, membership_id, id } => {
                let rooms = self.rooms.len();
                let record = self.rooms.entry(Arc::clone(&room));
                let record = record.or_insert_with(|| Record::new(self.shards));
                if S::IS_KEPT {
                    let is_full = record.members.len() >= self.members_max
                        || (record.is_empty() && rooms >= self.rooms_max);
                    if is_full || !record.call(&room, out, |state, room| state.admits(room, id)) {
                        out.push(session.shard(), RoomDelivery::Refused { session, membership_id });
                        return self.forget_if_empty(&room);
                    }
                    let member = KeptMember { id, membership_id, is_leaving: false };
                    let before = record.members.insert(session, member);
                    assert!(before.is_none(), "a session leaves a room before it joins again");
                    self.members += 1;
                }
                record.counts[usize::from(session.shard().0)] += 1;
                send(out, session.shard(), RoomDelivery::Joined { session, membership_id });
                if S::IS_KEPT {
                    record.call(&room, out, |state, room| state.joined(room, id));
                }
            }
            RoomRequest::Leave { room, session, membership_id } => {
                let record = self.rooms.get_mut(&room);
                let mut left = None;
                if S::IS_KEPT {
                    let members = record.as_ref().map(|record| &record.members);
                    let member = members.and_then(|members| members.get(&session));
                    let is_meant = |member: &&KeptMember| member.membership_id == membership_id;
                    left = member.filter(is_meant).map(|member| member.id);
                    if left.is_none() {
                        // The join was refused, and the client left before it learned that.
                        counters.leaves_late += 1;
                        return;
                    }
                }
                let record = record.expect("a leave follows its join");
                let count = &mut record.counts[usize::from(session.shard().0)];
                *count = count.checked_sub(1).expect("a leave follows its join");
                send(out, session.shard(), RoomDelivery::Left { session, membership_id });
                if let Some(id) = left {
                    record.members.remove(&session);
                    self.members -= 1;
                    record.call(&room, out, |state, room| state.left(room, id));
                }
                self.forget_if_empty(&room);
            }
            RoomRequest::Emit { room, frame, except } => {
                let Some(record) = self.rooms.get(&room) else { return }; // It has no members.
                for to in edges(&record.counts) {
                    let (room, frame) = (Arc::clone(&room), frame.clone());
                    send(out, to, RoomDelivery::Emit { room, frame, except });
                }
            }
            RoomRequest::Ack { id, action, .. } => {
                send(out, id.session().shard(), RoomDelivery::Direct { id, action });
            }
            RoomRequest::Message { room, from, message, ack, .. } => {
                // A room without members gets a state for the length of the call.
                let record = self.rooms.entry(Arc::clone(&room));
                let record = record.or_insert_with(|| Record::new(self.shards));
                record.call(&room, out, |state, room| state.message(room, from, message, ack));
                self.forget_if_empty(&room);
            }
            RoomRequest::RemoveAll { room, is_disconnect } => {
                let Some(record) = self.rooms.get_mut(&room) else { return }; // It has no members.
                record.members.values_mut().for_each(|member| member.is_leaving = true);
                for to in edges(&record.counts) {
                    let room = Arc::clone(&room);
                    send(out, to, RoomDelivery::RemoveAll { room, is_disconnect });
                }
            }
            RoomRequest::Direct { id, action } => {
                send(out, self.own, RoomDelivery::Direct { id, action });
            }
        }
    }

    fn forget_if_empty(&mut self, room: &Arc<str>) {
        if self.rooms.get(room).is_some_and(Record::is_empty) {
            self.rooms.remove(room);
        }
    }

    /// The time of a tick has come.
    pub(super) fn tick(&mut self) {
        for (name, record) in &mut self.rooms {
            record.call(name, &mut self.out, |state, room| state.tick(room));
        }
    }

    /// The next delivery that waits, if its lane has a free slot.
    pub(super) fn next(
        &mut self,
        has_slot: impl FnOnce(ShardId) -> bool,
    ) -> Option<(ShardId, RoomDelivery)> {
        self.out.next(has_slot)
    }

    /// Whether deliveries wait for free slots.
    pub(super) fn is_blocked(&self) -> bool {
        !self.out.is_empty()
    }

    pub(super) fn count(&self, counters: &mut Counters) {
        counters.rooms = self.rooms.len() as u64;
        counters.home_members = self.members;
        counters.home_bytes = self.out.bytes() as u64;
        counters.home_emits_dropped = self.out.dropped();
    }

    pub(super) fn check(&self) {
        let mut members = 0;
        for record in self.rooms.values() {
            assert!(!record.is_empty(), "a room without members is forgotten");
            members += record.members.len() as u64;
            if S::IS_KEPT {
                let counted: u32 = record.counts.iter().sum();
                assert_eq!(
                    counted as usize,
                    record.members.len(),
                    "members kept are members counted"
                );
            }
        }
        assert_eq!(members, self.members, "members are those of all rooms");
        self.out.check();
    }
}
