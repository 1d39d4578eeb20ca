//! The rooms this shard owns: it alone numbers their messages and knows their members.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::frames;
use super::lane::{
    AckId, Batch, Delivery, Hearing, Mark, Publish, Refusal, Request, Sequenced, Ticket,
};
use super::lanes::{Full, Lanes};
use super::maps::{Keyed, Map};
use super::roster::{RESERVED_SLOTS, Roster};
use crate::counters::Counters;
use crate::effect::{Command, LogLine, NewMessage};
use crate::ids::{ConnId, RoomId, Seq, ShardId, UserId};
use crate::input::{Appended, StoreDown, UserCard};
use crate::now::Now;
use crate::settings::{RoomInfo, Settings};

/// Messages in one commit of one room.
const APPEND_MAX: usize = 256;
/// Joins and publishes that wait for one room to be created.
const CREATING_MAX: usize = 1024;
/// A mark that could not be saved is tried again after this.
const SAVE_RETRY_MS: u64 = 1_000;
/// When a full lane is looked at again. Its consumer is awake, so this is short.
const LANE_RETRY_MS: u64 = 1;

/// A publish on its way through the store.
struct Waiting {
    author: Arc<UserCard>,
    publisher: ConnId,
    publish: Box<Publish>,
    ack: AckId,
}

struct Room {
    seq: Seq,
    roster: Roster,
    /// In the store now: the next messages, in order.
    committing: Vec<Waiting>,
    /// Behind them.
    backlog: VecDeque<Waiting>,
    /// Numbered and not yet handed to the edges.
    batch: Option<Batch>,
    /// The edges have not heard of `seq` yet.
    is_tip_due: bool,
    is_dirty: bool,
}

struct PendingJoin {
    conn: ConnId,
    ticket: Ticket,
    user: Arc<UserCard>,
    hearing: Hearing,
    ack: AckId,
}

pub(crate) struct Home {
    settings: Settings,
    keyed: Keyed,
    rooms: Map<RoomId, Room>,
    /// Rooms that have something to tell at the end of the turn.
    dirty: Vec<RoomId>,
    /// Requests about rooms that the store is creating.
    creating: Map<RoomId, Vec<Request>>,
    /// Those whose room the store has decided on; they go through when lanes have room.
    decided: VecDeque<(RoomId, Request, Option<Refusal>)>,
    /// Publishes the store could not take; their answers go out when lanes have room.
    failed: VecDeque<(ConnId, AckId)>,
    /// Where each present user is.
    reading: Map<UserId, SmallVec<[RoomId; 2]>>,
    members: u64,
    /// Marks the store has not confirmed, and whether they are being saved.
    marks: BTreeMap<(UserId, RoomId), Unsaved>,
    unsaved: BTreeSet<(UserId, RoomId)>,
    save_at: Now,
    next_tip_at: Now,
    tips_due: Vec<RoomId>,
    next_id: i64,
    retry_at: Option<Now>,
    scratch: String,
}

struct Unsaved {
    seq: Seq,
    is_reading: bool,
    is_saving: bool,
}

impl Home {
    pub(crate) fn new(settings: Settings, keyed: Keyed) -> Home {
        Home {
            rooms: Map::with_hasher(keyed.clone()),
            creating: Map::with_hasher(keyed.clone()),
            reading: Map::with_hasher(keyed.clone()),
            decided: VecDeque::new(),
            failed: VecDeque::new(),
            members: 0,
            marks: BTreeMap::new(),
            keyed,
            settings,
            dirty: Vec::new(),
            unsaved: BTreeSet::new(),
            save_at: Now::default(),
            next_tip_at: Now::default(),
            tips_due: Vec::new(),
            next_id: 0,
            retry_at: None,
            scratch: String::new(),
        }
    }

    pub(crate) fn add_room(&mut self, info: &RoomInfo) {
        let roster = Roster::new(info.id, self.settings.shards, self.keyed.clone());
        self.rooms.entry(info.id).or_insert(Room {
            seq: info.last_seq,
            roster,
            committing: Vec::new(),
            backlog: VecDeque::new(),
            batch: None,
            is_tip_due: false,
            is_dirty: false,
        });
    }

    /// A request may cause, per edge: the batch so far, an answer, a `Reading`, and what
    /// [`Roster::tell`] keeps free.
    pub(crate) fn takes_requests(&self, lanes: &Lanes) -> bool {
        lanes.delivery_room_min() >= RESERVED_SLOTS
    }

    pub(crate) fn request(&mut self, request: Request, lanes: &mut Lanes, counters: &mut Counters) {
        let Some(room) = request.room() else { return self.act(request, lanes, counters) };
        // What is asked about a room stays in order, also while the store creates the room.
        if self.decided.iter().any(|(decided, _, _)| *decided == room) {
            return self.decided.push_back((room, request, None));
        }
        let Some(waiting) = self.creating.get_mut(&room) else {
            return self.act(request, lanes, counters);
        };
        let is_full = waiting.len() >= CREATING_MAX;
        match request {
            Request::Join { conn, ticket, ack, .. } if is_full => {
                refuse_join(conn, ticket, Refusal::Busy, ack, lanes);
            }
            Request::Publish { conn, ack, .. } if is_full => {
                refuse_publish(conn, Refusal::Busy, ack, lanes);
            }
            // Leaves are never refused: there are no more than joins before them.
            request => waiting.push(request),
        }
    }

    fn act(&mut self, request: Request, lanes: &mut Lanes, counters: &mut Counters) {
        match request {
            Request::Join { room, conn, ticket, user, hearing, ack } => {
                let join = PendingJoin { conn, ticket, user, hearing, ack };
                self.join(room, join, lanes, counters);
            }
            Request::Leave { room, conn, ticket, answer } => {
                self.leave(room, conn, ticket, answer, lanes, counters);
            }
            Request::Publish { room, conn, message, ack } => {
                self.publish(room, conn, message, ack, lanes);
            }
            Request::Watch { user, edge } => self.watch(user, edge, lanes),
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
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        let before = room.roster.members();
        let change = room.roster.join(join.conn, &join.user, join.hearing);
        self.members += (room.roster.members() - before) as u64;
        let (seq, online) = (room.seq, room.roster.online());
        lanes.deliver(
            join.conn.shard(),
            Delivery::Joined {
                room: room_id,
                conn: join.conn,
                ticket: join.ticket,
                hearing: join.hearing,
                seq,
                online,
                ack: join.ack,
            },
        );
        if change.is_new {
            counters.joins += 1;
            lanes.log(LogLine::Entered {
                conn: join.conn,
                user: change.user,
                room: room_id,
                online,
            });
            self.note_reading(change.user, room_id, seq, true, lanes);
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
        let max = self.settings.rooms_auto_create_max;
        if max == 0 {
            return join.refuse(Refusal::UnknownRoom, lanes);
        }
        if self.settings.ephemeral {
            if self.rooms.len() >= (max / u32::from(self.settings.shards)).max(1) as usize {
                return join.refuse(Refusal::UnknownRoom, lanes);
            }
            self.add_created(room_id, Seq(0));
            return self.join(room_id, join, lanes, counters);
        }
        if lanes.command(Command::CreateRoom { room: room_id }).is_err() {
            counters.lane_refusals_store += 1;
            return join.refuse(Refusal::Busy, lanes);
        }
        let PendingJoin { conn, ticket, user, hearing, ack } = join;
        let request = Request::Join { room: room_id, conn, ticket, user, hearing, ack };
        self.creating.insert(room_id, vec![request]);
    }

    fn add_created(&mut self, room: RoomId, last_seq: Seq) {
        self.add_room(&RoomInfo { id: room, name: Box::default(), last_seq });
        self.note_tip(room);
    }

    pub(crate) fn room_created(
        &mut self,
        room: RoomId,
        outcome: Result<Option<RoomInfo>, StoreDown>,
    ) {
        let waiting = self.creating.remove(&room).unwrap_or_default();
        let refusal = match outcome {
            Ok(Some(info)) => {
                self.add_created(room, info.last_seq);
                None
            }
            Ok(None) => Some(Refusal::UnknownRoom),
            Err(StoreDown) => Some(Refusal::StorageUnavailable),
        };
        self.decided.extend(waiting.into_iter().map(|request| (room, request, refusal)));
    }

    fn leave(
        &mut self,
        room_id: RoomId,
        conn: ConnId,
        ticket: Ticket,
        answer: Option<AckId>,
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) {
        if !self.rooms.contains_key(&room_id) {
            if let Some(ack) = answer {
                let refused = Delivery::LeaveRefused { conn, why: Refusal::UnknownRoom, ack };
                lanes.deliver(conn.shard(), refused);
            }
            return;
        }
        self.flush_batch(room_id, lanes);
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        let change = room.roster.leave(conn);
        self.members -= u64::from(change.is_some());
        let (seq, online) = (room.seq, room.roster.online());
        let wants_frame = answer.is_some_and(|ack| ack.is_none());
        // A leaver that asked for an ack still hears the roster it leaves behind.
        let frame = (answer.is_some() && (wants_frame || change.is_some()))
            .then(|| room.roster.farewell(seq, change.is_none()));
        lanes.deliver(
            conn.shard(),
            Delivery::Left {
                room: room_id,
                conn,
                ticket,
                seq,
                online,
                frame,
                ack: answer.flatten(),
            },
        );
        if let Some(change) = change.filter(|change| change.is_new) {
            counters.leaves += 1;
            lanes.log(LogLine::Left { conn, user: change.user, room: room_id, online });
            self.note_reading(change.user, room_id, seq, false, lanes);
        }
        self.mark_dirty(room_id);
    }

    pub(crate) fn rename(&mut self, card: &Arc<UserCard>) {
        let mut changed = Vec::new();
        for (id, room) in &mut self.rooms {
            if room.roster.rename(card) {
                changed.push(*id);
            }
        }
        for room in changed {
            self.mark_dirty(room);
        }
    }

    // ---- reading ------------------------------------------------------------------------------

    /// The user's first session entered, or the last one left.
    fn note_reading(
        &mut self,
        user: UserId,
        room: RoomId,
        seq: Seq,
        is_reading: bool,
        lanes: &mut Lanes,
    ) {
        for to in lanes.shards() {
            lanes.deliver(to, Delivery::Reading { user, room, seq, is_reading });
        }
        if is_reading {
            self.reading.entry(user).or_default().push(room);
        } else if let Some(rooms) = self.reading.get_mut(&user) {
            rooms.retain(|other| *other != room);
            if rooms.is_empty() {
                self.reading.remove(&user);
            }
        }
        if !self.settings.ephemeral {
            self.marks.insert((user, room), Unsaved { seq, is_reading, is_saving: false });
            self.unsaved.insert((user, room));
        }
    }

    fn watch(&mut self, user: UserId, edge: ShardId, lanes: &mut Lanes) {
        let reading = self.reading.get(&user).into_iter().flatten();
        let mut marks: Vec<Mark> = reading
            .filter_map(|room| {
                let seq = self.rooms.get(room)?.seq;
                Some(Mark { room: *room, seq, is_reading: true })
            })
            .collect();
        let unsaved = self.marks.range((user, RoomId(0))..=(user, RoomId(u32::MAX)));
        for ((_, room), mark) in unsaved {
            if !marks.iter().any(|known| known.room == *room) {
                marks.push(Mark { room: *room, seq: mark.seq, is_reading: false });
            }
        }
        lanes.deliver(edge, Delivery::Watched { user, marks: marks.into() });
    }

    pub(crate) fn read_saved(
        &mut self,
        now: Now,
        user: UserId,
        saved: Mark,
        outcome: Result<(), StoreDown>,
    ) {
        let room = saved.room;
        let Some(mark) = self.marks.get_mut(&(user, room)) else { return };
        let is_latest = mark.seq == saved.seq && mark.is_reading == saved.is_reading;
        if is_latest && outcome.is_ok() {
            self.marks.remove(&(user, room));
            return;
        }
        if mark.is_saving {
            mark.is_saving = false;
            self.unsaved.insert((user, room));
        }
        if outcome.is_err() {
            self.save_at = now.plus_ms(SAVE_RETRY_MS);
        }
    }

    fn save_marks(&mut self, now: Now, lanes: &mut Lanes) {
        while let Some((user, room)) = self.unsaved.first().copied() {
            if self.save_at > now {
                return self.retry(self.save_at);
            }
            let Some(mark) = self.marks.get_mut(&(user, room)) else {
                self.unsaved.pop_first();
                continue;
            };
            let (seq, is_reading) = (mark.seq, mark.is_reading);
            let command = Command::SaveRead { user, room, seq, is_reading };
            if lanes.command(command).is_err() {
                return self.retry(now.plus_ms(LANE_RETRY_MS));
            }
            mark.is_saving = true;
            self.unsaved.pop_first();
        }
    }

    // ---- messages -----------------------------------------------------------------------------

    fn publish(
        &mut self,
        room_id: RoomId,
        conn: ConnId,
        publish: Box<Publish>,
        ack: AckId,
        lanes: &mut Lanes,
    ) {
        let Some(room) = self.rooms.get_mut(&room_id) else {
            return refuse_publish(conn, Refusal::UnknownRoom, ack, lanes);
        };
        let Some(author) = room.roster.card_of(conn).cloned() else {
            return refuse_publish(conn, Refusal::NotMember, ack, lanes);
        };
        let waiting = Waiting { author, publisher: conn, publish, ack };
        if self.settings.ephemeral {
            self.next_id += 1;
            let shards = i64::from(self.settings.shards);
            let id = self.next_id * shards + i64::from(self.settings.shard.0);
            room.sequence(room_id, waiting, id, &mut self.scratch);
        } else if room.backlog.len() >= self.settings.room_backlog_max as usize {
            return refuse_publish(conn, Refusal::Busy, ack, lanes);
        } else {
            room.backlog.push_back(waiting);
        }
        self.mark_dirty(room_id);
    }

    /// The store has committed the room's batch, or could not.
    pub(crate) fn appended(&mut self, room_id: RoomId, outcome: Result<Appended, StoreDown>) {
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        let committed = std::mem::take(&mut room.committing);
        match outcome {
            Ok(Appended { ids, .. }) => {
                for (waiting, id) in committed.into_iter().zip(ids) {
                    room.sequence(room_id, waiting, id, &mut self.scratch);
                }
            }
            // Nobody has seen these numbers: the next batch takes them.
            Err(StoreDown) => {
                self.failed
                    .extend(committed.iter().map(|waiting| (waiting.publisher, waiting.ack)));
            }
        }
        self.mark_dirty(room_id);
    }

    /// Hands the room's numbered messages to every edge with members.
    fn flush_batch(&mut self, room_id: RoomId, lanes: &mut Lanes) {
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        let Some(batch) = room.batch.take() else { return };
        let messages = Arc::new(batch);
        for to in lanes.shards() {
            // A publisher may have left meanwhile; its edge still owes it the ack.
            let owes_ack = || messages.messages.iter().any(|m| m.publisher.shard() == to);
            if room.roster.has_edge(to) || owes_ack() {
                lanes.deliver(to, Delivery::FanOut { room: room_id, messages: messages.clone() });
            }
        }
        self.note_tip(room_id);
    }

    fn note_tip(&mut self, room_id: RoomId) {
        if let Some(room) = self.rooms.get_mut(&room_id)
            && !room.is_tip_due
        {
            room.is_tip_due = true;
            self.tips_due.push(room_id);
        }
    }

    fn start_append(&mut self, room_id: RoomId, now: Now, lanes: &mut Lanes) {
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        if !room.committing.is_empty() || room.backlog.is_empty() {
            return;
        }
        let count = room.backlog.len().min(APPEND_MAX);
        let batch = room.backlog.iter().take(count).map(Waiting::row).collect();
        let first_seq = (!self.settings.cluster).then_some(Seq(room.seq.0 + 1));
        match lanes.command(Command::Append { room: room_id, first_seq, batch }) {
            Ok(()) => room.committing.extend(room.backlog.drain(..count)),
            Err(Full(_)) => {
                self.mark_dirty(room_id);
                self.retry(now.plus_ms(LANE_RETRY_MS));
            }
        }
    }

    // ---- end of turn --------------------------------------------------------------------------

    fn mark_dirty(&mut self, room_id: RoomId) {
        if let Some(room) = self.rooms.get_mut(&room_id)
            && !room.is_dirty
        {
            room.is_dirty = true;
            self.dirty.push(room_id);
        }
    }

    fn retry(&mut self, at: Now) {
        self.retry_at = Some(self.retry_at.map_or(at, |old| old.min(at)));
    }

    pub(crate) fn settle(&mut self, now: Now, lanes: &mut Lanes, counters: &mut Counters) {
        self.retry_at = None;
        self.settle_replies(now, lanes, counters);
        let budget = self.settings.roster_budget_bytes_per_s;
        for room_id in std::mem::take(&mut self.dirty) {
            let Some(room) = self.rooms.get_mut(&room_id) else { continue };
            room.is_dirty = false;
            if room.batch.is_some() {
                if lanes.delivery_room_min() == 0 {
                    counters.lane_refusals_delivery += 1;
                    self.mark_dirty(room_id);
                    self.retry(now.plus_ms(LANE_RETRY_MS));
                    continue;
                }
                self.flush_batch(room_id, lanes);
            }
            self.start_append(room_id, now, lanes);
            let Some(room) = self.rooms.get_mut(&room_id) else { continue };
            let seq = room.seq;
            if let Some(at) = room.roster.tell(now, seq, budget, lanes, counters) {
                self.mark_dirty(room_id);
                self.retry(at);
            }
        }
        self.save_marks(now, lanes);
        self.send_tips(now, lanes);
        counters.rooms = self.rooms.len() as u64;
        counters.members = self.members;
    }

    fn settle_replies(&mut self, now: Now, lanes: &mut Lanes, counters: &mut Counters) {
        while self.takes_requests(lanes) {
            if let Some((publisher, ack)) = self.failed.pop_front() {
                refuse_publish(publisher, Refusal::StorageUnavailable, ack, lanes);
            } else if let Some((_, request, refusal)) = self.decided.pop_front() {
                match (request, refusal) {
                    (Request::Join { conn, ticket, ack, .. }, Some(why)) => {
                        refuse_join(conn, ticket, why, ack, lanes);
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
        if !(self.failed.is_empty() && self.decided.is_empty()) {
            self.retry(now.plus_ms(LANE_RETRY_MS));
        }
    }

    fn send_tips(&mut self, now: Now, lanes: &mut Lanes) {
        if self.tips_due.is_empty() {
            return;
        }
        if self.next_tip_at > now {
            return self.retry(self.next_tip_at);
        }
        while let Some(room_id) = self.tips_due.pop() {
            if lanes.delivery_room_min() <= RESERVED_SLOTS {
                self.tips_due.push(room_id);
                return self.retry(now.plus_ms(LANE_RETRY_MS));
            }
            let Some(room) = self.rooms.get_mut(&room_id) else { continue };
            room.is_tip_due = false;
            let seq = room.seq;
            for to in lanes.shards() {
                lanes.deliver(to, Delivery::Tip { room: room_id, seq });
            }
        }
        self.next_tip_at = now.plus_ms(u64::from(self.settings.unread_window_ms) / 2);
    }

    pub(crate) fn next_deadline(&self) -> Option<Now> {
        self.retry_at
    }
}

impl Room {
    /// Gives the message its number and its frames.
    fn sequence(&mut self, room_id: RoomId, waiting: Waiting, id: i64, scratch: &mut String) {
        self.seq = Seq(self.seq.0 + 1);
        let key = (room_id, self.seq, id);
        let batch =
            self.batch.get_or_insert_with(|| Batch { messages: Vec::new(), shared: Vec::new() });
        let Waiting { author, publisher, publish, ack } = waiting;
        let start = batch.shared.len();
        frames::put_message(&mut batch.shared, scratch, &author, false, &publish, key);
        let shared = start..batch.shared.len();
        let mut own = Vec::with_capacity(shared.len() + author.email.len());
        frames::put_message(&mut own, scratch, &author, true, &publish, key);
        batch.messages.push(Sequenced {
            author: author.id,
            own: Bytes::from(own),
            shared,
            seq: self.seq,
            id,
            publisher,
            ack,
        });
    }
}

impl Waiting {
    fn row(&self) -> NewMessage {
        NewMessage {
            user: self.author.id,
            msg: self.publish.msg.clone(),
            img: self.publish.img.clone(),
            time: self.publish.time.clone(),
        }
    }
}

impl PendingJoin {
    fn refuse(&self, why: Refusal, lanes: &mut Lanes) {
        refuse_join(self.conn, self.ticket, why, self.ack, lanes);
    }
}

fn refuse_join(conn: ConnId, ticket: Ticket, why: Refusal, ack: AckId, lanes: &mut Lanes) {
    lanes.deliver(conn.shard(), Delivery::JoinRefused { conn, ticket, why, ack });
}

fn refuse_publish(conn: ConnId, why: Refusal, ack: AckId, lanes: &mut Lanes) {
    lanes.deliver(conn.shard(), Delivery::PublishRefused { conn, why, ack });
}
