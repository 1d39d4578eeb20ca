//! The rooms this shard owns: it alone gives their messages an order and knows their members.

mod check;
mod cids;
mod marks;
mod messages;
mod numbered_message;
mod pending_publish;
mod reading;
mod recently_left;
mod remote;
mod reorder_buffer;
mod signals;
mod tips;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use smallvec::SmallVec;

use super::frames;
use super::lane::{
    AckId, Batch, Delivery, Mark, MembershipId, PresenceMode, Publish, Request, Sequenced,
};
use super::refusal::Refusal;
use super::roster::{RESERVED_SLOTS, Roster};
use super::throttle::RosterThrottle;
use crate::Lanes;
use crate::canary::{Canary, is_armed};
use crate::choice::Choice;
use crate::counters::Counters;
use crate::ids::{LoadId, RoomId, Seq, SessionId, ShardId, UserId};
use crate::numbering::Numbering;
use crate::presence::PresenceChange;
use crate::report::LogLine;
use crate::room_info::RoomInfo;
use crate::settings::Settings;
use crate::store::Command;
use crate::store::StoreDown;
use crate::user::UserCard;
use cids::Cids;
use marks::Unsaved;
use messages::{PublishAnswer, refuse_publish};
use pending_publish::PendingPublish;
use reading::READINGS_MAX;
use recently_left::RecentlyLeft;
use reorder_buffer::ReorderBuffer;
use signals::UnsentSignals;
use throng_engine::Now;
use throng_engine::Place;
use throng_engine::{Full, LANE_RETRY_MS};
use throng_engine::{Keyed, Map};

/// Joins and publishes that wait for one room to be created.
const CREATING_MAX: usize = 1024;

struct Room {
    id: RoomId,
    messages: ReorderBuffer,
    roster: Roster,
    /// In the store now: the next messages, in order.
    committing: Vec<PendingPublish>,
    /// Behind them.
    backlog: VecDeque<PendingPublish>,
    /// The last commit has not been sent to other nodes.
    is_commit_unsent: bool,
    /// Numbered and not yet handed to the edges.
    batch: Option<Batch>,
    /// `seq` has not been sent to the edges.
    is_tip_due: bool,
    is_dirty: bool,
}

struct PendingJoin {
    session: SessionId,
    client: Box<IpAddr>,
    membership_id: MembershipId,
    user: Arc<UserCard>,
    presence_mode: PresenceMode,
    ack: AckId,
}

/// What a session that leaves a room asks.
struct Leave {
    session: SessionId,
    client: Box<IpAddr>,
    membership_id: MembershipId,
    answer: Option<AckId>,
}

pub(crate) struct Home {
    pub(crate) now: Now,
    shard: ShardId,
    shards: u8,
    settings: Settings,
    numbering: Numbering,
    keyed: Keyed,
    rooms: Map<RoomId, Room>,
    /// Rooms that joins may still create, of all homes of the process; where the store creates rooms, it counts them.
    rooms_to_create: Arc<AtomicU32>,
    /// Rooms that have something to send at the end of the turn.
    dirty: Vec<RoomId>,
    /// Requests about rooms that the store is creating.
    creating: Map<RoomId, Vec<Request>>,
    /// Those whose room the store has decided on; they go on when lanes have free slots. At most what
    /// `creating` held, and what came about the same rooms while lanes were full.
    ready_requests: VecDeque<(RoomId, Request, Option<Refusal>)>,
    /// Answers to publishes; they go out when lanes have free slots.
    publish_answers: VecDeque<PublishAnswer>,
    /// Messages that may be sent again, where rooms keep none.
    cids: Cids,
    /// Where each present user is.
    reading: Map<UserId, SmallVec<[RoomId; 2]>>,
    members: u64,
    /// Marks the store has not confirmed, and whether they are being saved. While the store is away, one
    /// for each user and room that they entered or left.
    marks: BTreeMap<(UserId, RoomId), Unsaved>,
    unsaved: BTreeSet<(UserId, RoomId)>,
    save_at: Now,
    /// Who began or stopped reading on other nodes, and the edges have not been sent it.
    readings: BTreeMap<(UserId, RoomId), Mark>,
    recently_left: RecentlyLeft,
    /// Pairs of a user and another node that the user is on in a room.
    remote_present: usize,
    online_changed: BTreeSet<RoomId>,
    /// Rooms that other nodes named and the store has not confirmed.
    unknown: BTreeSet<RoomId>,
    loads_due: BTreeSet<RoomId>,
    load_at: Now,
    /// What has not been sent to other nodes.
    unsent: UnsentSignals,
    next_tip_at: Now,
    tips_due: Vec<RoomId>,
    next_id: i64,
    retry_at: Option<Now>,
    /// No room has changed since the last settle.
    is_settled: bool,
    throttle: RosterThrottle,
    scratch: String,
}

impl Home {
    pub(crate) fn new(
        settings: Settings,
        rooms_to_create: Arc<AtomicU32>,
        place: &Place,
        keyed: Keyed,
    ) -> Home {
        Home {
            shard: place.shard,
            shards: place.shards,
            throttle: RosterThrottle::new(&settings),
            now: Now::default(),
            rooms: Map::with_hasher(keyed.clone()),
            rooms_to_create,
            creating: Map::with_hasher(keyed.clone()),
            reading: Map::with_hasher(keyed.clone()),
            ready_requests: VecDeque::new(),
            publish_answers: VecDeque::new(),
            cids: Cids::default(),
            members: 0,
            marks: BTreeMap::new(),
            keyed,
            numbering: settings.numbering(),
            settings,
            dirty: Vec::new(),
            unsaved: BTreeSet::new(),
            save_at: Now::default(),
            readings: BTreeMap::new(),
            recently_left: RecentlyLeft::default(),
            remote_present: 0,
            online_changed: BTreeSet::new(),
            unknown: BTreeSet::new(),
            loads_due: BTreeSet::new(),
            load_at: Now::default(),
            unsent: UnsentSignals::default(),
            next_tip_at: Now::default(),
            tips_due: Vec::new(),
            next_id: 0,
            retry_at: None,
            is_settled: true,
            scratch: String::new(),
        }
    }

    pub(crate) fn add_room(&mut self, info: &RoomInfo) {
        let roster = Roster::new(info.id, self.shards, self.keyed.clone());
        let is_kept = self.numbering.keeps_messages();
        let new = if is_kept { ReorderBuffer::new } else { ReorderBuffer::unkept };
        self.rooms.entry(info.id).or_insert(Room {
            id: info.id,
            messages: new(info.last_seq),
            roster,
            committing: Vec::new(),
            backlog: VecDeque::new(),
            is_commit_unsent: false,
            batch: None,
            is_tip_due: false,
            is_dirty: false,
        });
    }

    /// A request may cause, per edge: the batch so far, an answer, a `Reading`, and what
    /// [`Roster::send_updates`] keeps free.
    pub(crate) fn takes_requests(&self, lanes: &Lanes) -> bool {
        lanes.delivery_slots_min() >= RESERVED_SLOTS && self.readings.len() < READINGS_MAX
    }

    pub(crate) fn request(&mut self, request: Request, lanes: &mut Lanes, counters: &mut Counters) {
        let Some(room) = request.room() else { return self.act(request, lanes, counters) };
        // What is asked about a room stays in order, also while the store creates the room.
        if self.ready_requests.iter().any(|(of, _, _)| *of == room) {
            return self.ready_requests.push_back((room, request, None));
        }
        let Some(waiting) = self.creating.get_mut(&room) else {
            return self.act(request, lanes, counters);
        };
        let is_full = waiting.len() >= CREATING_MAX;
        match request {
            Request::Join { session, membership_id, ack, .. } if is_full => {
                refuse_join(session, membership_id, Refusal::Busy, ack, lanes);
            }
            Request::Publish { session, ack, .. } if is_full => {
                refuse_publish(session, Refusal::Busy, ack, lanes);
            }
            // A leave is never refused: there are no more of them than joins before them.
            request @ (Request::Join { .. } | Request::Publish { .. } | Request::Leave { .. }) => {
                waiting.push(request);
            }
            Request::Follow { .. } | Request::Watch { .. } => {
                unreachable!("they have no place in the order of a room")
            }
        }
    }

    fn act(&mut self, request: Request, lanes: &mut Lanes, counters: &mut Counters) {
        match request {
            Request::Join { room, session, client, membership_id, user, presence_mode, ack } => {
                let join = PendingJoin { session, client, membership_id, user, presence_mode, ack };
                self.join(room, join, lanes, counters);
            }
            Request::Leave { room, session, client, membership_id, answer } => {
                let leave = Leave { session, client, membership_id, answer };
                self.leave(room, leave, lanes, counters);
            }
            Request::Publish { room, session, message, ack } => {
                self.publish(room, session, message, ack, lanes, counters);
            }
            Request::Follow { room, user, choice } => self.follow(&user, room, choice, lanes),
            Request::Watch { user, load, edge } => self.watch(user, load, edge, lanes),
        }
    }

    // ---- membership ---------------------------------------------------------------------------

    fn join(
        &mut self,
        room_id: RoomId,
        join: PendingJoin,
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) {
        if !self.rooms.contains_key(&room_id) {
            return self.create(room_id, join, lanes, counters);
        }
        self.flush_batch(room_id, lanes);
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        let before = room.roster.members();
        let change = room.roster.join(join.session, &join.user, join.presence_mode);
        let entered = (room.roster.members() - before) as u64;
        self.members += entered;
        counters.joins += entered;
        let (seq, online) = (room.messages.seq(), room.roster.online());
        lanes.deliver(
            join.session.shard(),
            Delivery::Joined {
                room: room_id,
                session: join.session,
                membership_id: join.membership_id,
                presence_mode: join.presence_mode,
                seq,
                online,
                ack: join.ack,
            },
        );
        if change.is_new_here {
            let (session, user, room) = (join.session, change.user, room_id);
            let client = *join.client;
            lanes.log(LogLine::Entered { session, client, user, room, online });
            lanes.change(PresenceChange::Entered { user, room, online });
            let mark = Mark { room: room_id, seq, is_reading: true, choice: Choice(0) };
            self.note_reading(&join.user, mark, change.is_new, lanes);
        }
        self.mark_dirty(room_id);
    }

    fn create(
        &mut self,
        room_id: RoomId,
        join: PendingJoin,
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) {
        if self.settings.auto_create_max == 0 {
            return join.refuse(Refusal::UnknownRoom, lanes);
        }
        if self.numbering == Numbering::Home {
            // A room that was created lasts as long as the process, so that nothing is given back.
            let take = |left: u32| left.checked_sub(1);
            if self.rooms_to_create.fetch_update(Relaxed, Relaxed, take).is_err() {
                return join.refuse(Refusal::UnknownRoom, lanes);
            }
            self.found(&RoomInfo { id: room_id, name: Box::default(), last_seq: Seq(0) });
            return self.join(room_id, join, lanes, counters);
        }
        if lanes.command(Command::CreateRoom { room: room_id }).is_err() {
            counters.lane_refusals_store += 1;
            return join.refuse(Refusal::Busy, lanes);
        }
        let PendingJoin { session, client, membership_id, user, presence_mode, ack } = join;
        let room = room_id;
        let request =
            Request::Join { room, session, client, membership_id, user, presence_mode, ack };
        self.creating.insert(room_id, vec![request]);
    }

    pub(crate) fn room_created(
        &mut self,
        room: RoomId,
        outcome: Result<Option<RoomInfo>, StoreDown>,
        counters: &mut Counters,
    ) {
        let waiting = self.creating.remove(&room).unwrap_or_else(|| {
            // The answer to a `LoadRoom` about the same room came first.
            counters.stale_replies += 1;
            Vec::new()
        });
        let refusal = match outcome {
            Ok(Some(info)) => {
                self.found(&info);
                None
            }
            Ok(None) => Some(Refusal::UnknownRoom),
            Err(StoreDown) => Some(Refusal::StorageUnavailable),
        };
        self.ready_requests.extend(waiting.into_iter().map(|request| (room, request, refusal)));
        if self.unknown.contains(&room) {
            self.creating.entry(room).or_default();
        }
    }

    fn leave(&mut self, room_id: RoomId, leave: Leave, lanes: &mut Lanes, counters: &mut Counters) {
        let Leave { session, client, membership_id, answer } = leave;
        if !self.rooms.contains_key(&room_id) {
            if let Some(ack) = answer {
                let refused = Delivery::LeaveRefused { session, why: Refusal::UnknownRoom, ack };
                lanes.deliver(session.shard(), refused);
            }
            return;
        }
        self.flush_batch(room_id, lanes);
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        let card = room.roster.card_of(session).cloned();
        // There is none if the session was no member: a client may leave a room it is not in.
        let change = room.roster.leave(session);
        let left = u64::from(change.is_some());
        self.members -= left;
        counters.leaves += left;
        let (seq, online) = (room.messages.seq(), room.roster.online());
        let wants_frame = answer.is_some_and(|ack| ack.is_none());
        // A client that left and asked for an ack still gets the roster of the room.
        let frame = (answer.is_some() && (wants_frame || change.is_some()))
            .then(|| room.roster.last_roster(seq, change.is_some()));
        lanes.deliver(
            session.shard(),
            Delivery::Left {
                room: room_id,
                session,
                membership_id,
                seq,
                online,
                frame,
                ack: answer.flatten(),
            },
        );
        if let (Some(change), Some(card)) = (change.filter(|change| change.is_new_here), card) {
            let (user, room) = (change.user, room_id);
            lanes.log(LogLine::Left { session, client: *client, user, room, online });
            lanes.change(PresenceChange::Left { user, room, online });
            let mark = Mark { room: room_id, seq, is_reading: false, choice: Choice(0) };
            self.note_reading(&card, mark, change.is_new, lanes);
        }
        self.mark_dirty(room_id);
    }

    pub(crate) fn rename(&mut self, card: &Arc<UserCard>) {
        let mut changed = Vec::new();
        for (id, room) in &mut self.rooms {
            if room.roster.rename(card) {
                changed.push(*id);
                if self.settings.cluster
                    && let Some(card) = room.roster.card_here(card.id)
                {
                    self.unsent.repeat(*id, card, room.messages.seq());
                }
            }
        }
        for room in changed {
            self.mark_dirty(room);
        }
    }

    // ---- end of turn --------------------------------------------------------------------------

    fn mark_dirty(&mut self, room_id: RoomId) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        if !std::mem::replace(&mut room.is_dirty, true) {
            self.dirty.push(room_id);
            if is_armed(Canary::ListRoomTwice) {
                self.dirty.push(room_id);
            }
        }
        self.is_settled = false;
    }

    fn retry(&mut self, at: Now) {
        self.retry_at = Some(self.retry_at.map_or(at, |old| old.min(at)));
    }

    pub(crate) fn settle(&mut self, now: Now, lanes: &mut Lanes, counters: &mut Counters) {
        self.retry_at = None;
        self.settle_replies(now, lanes, counters);
        self.send_signals(now, lanes, counters);
        self.send_readings(now, lanes);
        let mut dirty = std::mem::take(&mut self.dirty);
        if dirty.len() > 1 {
            // A room that always has something to send must not always be the first.
            dirty.rotate_left(1);
        }
        for room_id in dirty {
            let room = self.rooms.get_mut(&room_id).expect("a dirty room is known");
            room.is_dirty = false;
            if room.batch.is_some() {
                if lanes.delivery_slots_min() == 0 {
                    counters.lane_refusals_delivery += 1;
                    self.mark_dirty(room_id);
                    self.retry(now.plus_ms(LANE_RETRY_MS));
                    continue;
                }
                self.flush_batch(room_id, lanes);
            }
            self.start_append(room_id, now, lanes);
            self.start_fetch(room_id, now, lanes, counters);
            let room = self.rooms.get_mut(&room_id).expect("a dirty room is known");
            let seq = room.messages.seq();
            if let Some(at) =
                room.roster.send_updates(now, seq, &mut self.throttle, lanes, counters)
            {
                self.mark_dirty(room_id);
                self.retry(at);
            }
        }
        self.save_marks(now, lanes);
        self.load_rooms(now, lanes);
        self.send_online(lanes);
        self.send_tips(now, lanes);
        counters.rooms = self.rooms.len() as u64;
        counters.members = self.members;
        self.cids.forget_old(now);
        counters.cids_kept = self.cids.len() as u64;
        self.is_settled = true;
    }

    fn settle_replies(&mut self, now: Now, lanes: &mut Lanes, counters: &mut Counters) {
        while self.takes_requests(lanes) {
            if let Some(PublishAnswer { origin, outcome }) = self.publish_answers.pop_front() {
                let (session, ack) = (origin.publisher, origin.ack);
                match outcome {
                    Ok((id, seq)) => {
                        let accepted = Delivery::PublishAccepted { session, ack, id, seq };
                        lanes.deliver(session.shard(), accepted);
                    }
                    Err(why) => refuse_publish(session, why, ack, lanes),
                }
            } else if let Some((_, request, refusal)) = self.ready_requests.pop_front() {
                match (request, refusal) {
                    (Request::Join { session, membership_id, ack, .. }, Some(why)) => {
                        refuse_join(session, membership_id, why, ack, lanes);
                    }
                    (request, _) => {
                        // One before it may have had the room created anew.
                        let creating = request.room().and_then(|room| self.creating.get_mut(&room));
                        match creating {
                            Some(waiting) => waiting.push(request),
                            None => self.act(request, lanes, counters),
                        }
                    }
                }
            } else {
                return;
            }
        }
        if !(self.publish_answers.is_empty() && self.ready_requests.is_empty()) {
            self.retry(now.plus_ms(LANE_RETRY_MS));
        }
    }

    /// A room that changed after the turn has settled is settled at once.
    pub(crate) fn next_deadline(&self) -> Option<Now> {
        if self.is_settled { self.retry_at } else { Some(self.now) }
    }
}

impl PendingJoin {
    fn refuse(&self, why: Refusal, lanes: &mut Lanes) {
        refuse_join(self.session, self.membership_id, why, self.ack, lanes);
    }
}

fn refuse_join(
    session: SessionId,
    membership_id: MembershipId,
    why: Refusal,
    ack: AckId,
    lanes: &mut Lanes,
) {
    lanes.deliver(session.shard(), Delivery::JoinRefused { session, membership_id, why, ack });
}

#[cfg(test)]
mod tests;
