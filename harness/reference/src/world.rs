//! All state of the reference server.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use throng_codec::engine::{Kind, Packet, Protocol};
use throng_codec::socket as sio;

use crate::defect::Defect;
use crate::options::Options;
use crate::rate::Allowance;
use crate::rule::{self, Rule, Sent};

pub const ROOM_ID_MAX: u64 = 999_999_999;
/// Rooms that exist from the start; others are created by their first join.
const FIRST_ROOMS: [u64; 2] = [1, 2];
/// After so long without an event some defects show.
const REST: Duration = Duration::from_secs(6);
/// When the defect sends a CONNECT that belongs into the first answer.
const CONNECT_LATE: Duration = Duration::from_millis(20);
/// Every session is looked at so often.
const HEARTBEATS_EVERY: Duration = Duration::from_millis(20);
const NODE_DIED: &str = "node_died";

/// Packets to be sent to one client.
#[derive(Default)]
pub struct Outgoing {
    pub queue: Vec<Packet>,
    /// Bytes of packets that were queued and are not sent yet.
    pub bytes: usize,
    /// A GET is held for this session.
    pub held: bool,
    /// The held GET must be answered now, with a noop if the queue is empty.
    pub released: bool,
    /// The end of the session: close code, reason.
    pub closed: Option<(u16, &'static str)>,
    /// The client ended the session, so no close packet is sent.
    pub by_client: bool,
    /// What a rule sends behind the next packet.
    behind: Option<Packet>,
    /// What a rule sends later.
    late: VecDeque<(Instant, Packet)>,
}

impl Outgoing {
    fn add(&mut self, packet: Packet) {
        self.bytes += packet.data.bytes();
        self.queue.push(packet);
    }
}

#[derive(Default)]
pub struct Pipe {
    state: Mutex<Outgoing>,
    pub wake: Condvar,
    rule: Option<Arc<Rule>>,
}

impl Pipe {
    pub fn lock(&self) -> MutexGuard<'_, Outgoing> {
        match self.state.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    pub fn push(&self, packet: Packet) {
        self.push_as(None, packet);
    }

    /// Sends a packet that a rule knows by this name, or by what it is.
    pub fn push_as(&self, name: Option<&str>, packet: Packet) {
        let mut out = self.lock();
        match &self.rule {
            None => out.add(packet),
            Some(rule) => {
                let name = name.map_or_else(|| rule::name_of(&packet), str::to_owned);
                match rule.send(&name, packet) {
                    Sent::Now(packets) => {
                        packets.into_iter().for_each(|packet| out.add(packet));
                        if let Some(packet) = out.behind.take() {
                            out.add(packet);
                        }
                    }
                    Sent::Later(by, packet) => out.late.push_back((Instant::now() + by, packet)),
                    Sent::Behind(packet) => {
                        if let Some(earlier) = out.behind.replace(packet) {
                            out.add(earlier);
                        }
                    }
                }
            }
        }
        drop(out);
        self.wake.notify_all();
    }

    /// Sends what a rule has put off until now.
    fn send_late(&self, now: Instant) {
        let mut out = self.lock();
        while let Some((_, packet)) = out.late.pop_front_if(|(at, _)| *at <= now) {
            out.add(packet);
        }
        drop(out);
        self.wake.notify_all();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Full,
    Delta,
    Count,
}

pub struct Session {
    /// The node it connected to; only the defects between nodes use it.
    pub node: usize,
    pub sid: String,
    pub protocol: Protocol,
    pub b64: bool,
    pub pipe: Arc<Pipe>,
    pub on_websocket: bool,
    pub upgrading: bool,
    pub posting: bool,
    pub socket_id: String,
    pub connected: bool,
    pub was_connected: bool,
    pub connect_due: Option<Instant>,
    pub user: Option<u64>,
    pub token: Option<String>,
    pub last_packet_at: Instant,
    pub ping_due: Instant,
    pub pong_due: Option<Instant>,
    /// A binary packet and the number of its missing attachments.
    pub awaiting: Option<(sio::Packet, u64)>,
    pub counts_pending: BTreeSet<u64>,
    pub counts_sent: Option<Instant>,
    pub left_before: BTreeSet<u64>,
    pub acks: u64,
    pub last_event: Option<Packet>,
    /// Ack ids that were answered.
    pub acked: HashSet<u64>,
    /// An event that a defect handles before the next one.
    pub waiting: Option<(String, Option<Value>, Option<u64>)>,
    pub events: u64,
    pub last_text: String,
    /// The last event of the client.
    pub acted_at: Instant,
    pub logged_in: bool,
    pub deltas: u64,
    /// Its rooms in the order of the joins.
    pub joined: Vec<u64>,
    /// An upgrade was given up.
    pub gave_up: bool,
}

pub struct User {
    pub id: u64,
    pub name: String,
    pub email: String,
    pub password: String,
    pub avatar: String,
    pub created_at: String,
}

#[derive(Clone)]
pub struct Message {
    pub id: u64,
    pub seq: u64,
    pub user: u64,
    pub username: String,
    pub src: String,
    pub msg: String,
    pub img: String,
    pub time: String,
    pub cid: Option<String>,
}

/// What a repeated message has in common with the first: the author, or as far as defects go, more
/// or less.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CidKey {
    pub room: Option<u64>,
    pub user: Option<u64>,
    pub session: Option<String>,
    pub node: Option<usize>,
    pub cid: String,
}

#[derive(Default)]
pub struct Room {
    /// The roster before the last change, when that was.
    pub before: Option<(Value, Instant)>,
    pub last_text_is_equal: bool,
    /// When each message was stored.
    pub stored_at: Vec<Instant>,
    pub members: BTreeMap<String, Mode>,
    pub version: u64,
    pub messages: Vec<Message>,
    pub seq: u64,
    pub joins: u64,
    pub deliveries: u64,
    pub left_at: Option<Instant>,
    pub held_back: Option<(String, Vec<Value>)>,
}

pub struct World {
    pub options: Options,
    pub sessions: BTreeMap<String, Session>,
    pub users: Vec<User>,
    pub tokens: HashMap<String, u64>,
    pub rooms: BTreeMap<u64, Room>,
    /// Read marks by user and room.
    pub reads: HashMap<(u64, u64), u64>,
    /// Stored files by path: content type and bytes.
    pub files: HashMap<String, (&'static str, Vec<u8>)>,
    /// Wrong passwords by name, and when the next attempt is admitted.
    pub guesses: HashMap<String, (u32, Instant)>,
    /// What users may still send and join, by user and event.
    pub allowances: HashMap<(u64, &'static str), Allowance>,
    /// Requests that the one client of this server may still make.
    pub api_allowance: Option<Allowance>,
    /// Uploads that are being received, where they take turns.
    pub uploads: usize,
    pub messages_made: u64,
    /// For the defect that counts sids.
    sids: u64,
    /// Messages that may be sent again.
    pub firsts: BTreeMap<CidKey, Message>,
    /// Users and rooms where one session left while another stayed.
    pub tab_left: BTreeSet<(u64, u64)>,
    pub last_identity: Option<(u64, Option<String>)>,
    pub late: Vec<(Instant, String, Packet)>,
    /// The event that is being handled.
    pub acting: String,
    /// The node that gave each token, and the one that created each room.
    pub token_nodes: HashMap<String, usize>,
    pub room_nodes: HashMap<u64, usize>,
    /// The node that answers a request.
    pub serving: usize,
    /// Sids of sessions that ended.
    pub closed: HashSet<String>,
    /// An event that is handled behind the present one.
    pub after: Option<(String, Option<Value>, Option<u64>)>,
    /// Values of `t`, by session.
    pub timestamps: HashSet<(String, String)>,
    heartbeats_due: Instant,
}

impl World {
    pub fn new(options: Options) -> World {
        let is_other = options.defect == Some(Defect::OtherFirstRooms);
        let shift = if is_other { 2 } else { 0 };
        let rooms = FIRST_ROOMS.iter().map(|&id| (id + shift, Room::default())).collect();
        World {
            messages_made: options.first_message_id - 1,
            options,
            sessions: BTreeMap::new(),
            users: Vec::new(),
            tokens: HashMap::new(),
            rooms,
            reads: HashMap::new(),
            files: HashMap::new(),
            guesses: HashMap::new(),
            allowances: HashMap::new(),
            api_allowance: None,
            uploads: 0,
            sids: 0,
            firsts: BTreeMap::new(),
            tab_left: BTreeSet::new(),
            last_identity: None,
            late: Vec::new(),
            acting: String::new(),
            token_nodes: HashMap::new(),
            room_nodes: HashMap::new(),
            serving: 0,
            closed: HashSet::new(),
            after: None,
            timestamps: HashSet::new(),
            heartbeats_due: Instant::now(),
        }
    }

    pub fn has(&self, defect: Defect) -> bool {
        self.options.defect == Some(defect)
    }

    pub fn open_session(
        &mut self,
        node: usize,
        protocol: Protocol,
        on_websocket: bool,
        b64: bool,
    ) -> String {
        let sid = if self.has(Defect::SequentialSids) {
            self.sids += 1;
            format!("{:020}", self.sids)
        } else {
            random_id()
        };
        let now = Instant::now();
        let is_eio3 = protocol == Protocol::Eio3;
        let has_sid = self.has(Defect::SocketIdIsSid);
        let first_ping =
            if self.has(Defect::PingAtOnce) { now } else { now + self.options.ping_interval };
        let session = Session {
            node,
            socket_id: if is_eio3 || has_sid { sid.clone() } else { random_id() },
            sid: sid.clone(),
            protocol,
            b64,
            pipe: Arc::new(Pipe { rule: self.options.rule.clone(), ..Pipe::default() }),
            on_websocket,
            upgrading: false,
            posting: false,
            connected: is_eio3,
            was_connected: is_eio3,
            connect_due: (!is_eio3).then(|| now + self.options.connect_timeout),
            user: None,
            token: None,
            last_packet_at: now,
            ping_due: first_ping,
            pong_due: None,
            awaiting: None,
            counts_pending: BTreeSet::new(),
            counts_sent: None,
            left_before: BTreeSet::new(),
            acks: 0,
            last_event: None,
            acked: HashSet::new(),
            waiting: None,
            events: 0,
            last_text: String::new(),
            acted_at: now,
            logged_in: false,
            deltas: 0,
            joined: Vec::new(),
            gave_up: false,
        };
        let offers_none = on_websocket || self.has(Defect::UpgradeNotOffered);
        let upgrades: &[&str] = if offers_none { &[] } else { &["websocket"] };
        let open = serde_json::json!({
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": self.options.ping_interval.as_millis() as u64,
            "pingTimeout": self.options.ping_timeout.as_millis() as u64,
            "maxPayload": self.options.max_payload,
        });
        session.pipe.push(Packet::text(Kind::Open, open.to_string()));
        if is_eio3 && self.has(Defect::ConnectInNextPoll) {
            self.late.push((now + CONNECT_LATE, sid.clone(), Packet::message("0")));
        } else if is_eio3 {
            session.pipe.push(Packet::message("0"));
        }
        self.sessions.insert(sid.clone(), session);
        if is_eio3 {
            self.greet(&sid);
        }
        sid
    }

    /// Called when Socket.IO is connected.
    pub fn greet(&mut self, sid: &str) {
        if self.has(Defect::GreetingConnect) {
            self.emit(sid, "connect", &[Value::from("welcome")]);
        }
        if self.has(Defect::StaleIdentity)
            && let Some((user, token)) = self.last_identity.clone()
            && let Some(session) = self.sessions.get_mut(sid)
            && session.user.is_none()
        {
            session.user = Some(user);
            session.token = token;
        }
    }

    /// Ends a session: memberships, then the transport.
    pub fn end_session(&mut self, sid: &str, code: u16, reason: &'static str) {
        let Some(session) = self.sessions.get(sid) else {
            return;
        };
        if session.user.is_some() {
            self.last_identity = Some((session.user.unwrap_or(0), session.token.clone()));
        }
        let (code, reason) = match &self.options.rule {
            Some(rule) => match rule.close(code, reason) {
                Some(end) => end,
                None => return,
            },
            None => (code, reason),
        };
        let is_protocol_fault = code == 1008;
        let is_too_large = code == 1009 && self.has(Defect::TooLargeClosesAnother);
        let stays_in_rooms = self.has(Defect::GhostAfterDisconnect)
            || (reason == NODE_DIED && self.has(Defect::DeadNodeStays));
        self.closed.insert(sid.to_owned());
        if !stays_in_rooms {
            self.leave_all_by_end(sid);
        }
        if reason == NODE_DIED && self.has(Defect::DeathReadsNothing) {
            let user = self.sessions.get(sid).and_then(|session| session.user);
            self.reads.retain(|(reader, _), _| Some(*reader) != user);
        }
        if let Some(session) = self.sessions.remove(sid) {
            let mut out = session.pipe.lock();
            if code == 4001 {
                // The client does not read it.
                out.queue.clear();
            }
            out.by_client = reason == "client_disconnect";
            out.closed.get_or_insert((code, reason));
            drop(out);
            session.pipe.wake.notify_all();
        }
        if is_too_large || is_protocol_fault && self.has(Defect::FaultClosesAnother) {
            let known = |sid: &&String| !is_too_large || self.user_of(sid).is_some();
            let neighbour = self.sessions.keys().find(known).cloned();
            if let Some(neighbour) = neighbour {
                self.end_session(&neighbour, 1011, "transport_error");
            }
        }
    }

    pub fn push(&self, sid: &str, packet: Packet) {
        if let Some(session) = self.sessions.get(sid) {
            session.pipe.push(packet);
        }
    }

    /// Sends a Socket.IO packet, if the session is connected.
    pub fn send(&mut self, sid: &str, packet: &sio::Packet) {
        self.send_encoded(sid, &Packet::message(sio::encode(packet)));
    }

    /// The same for a packet that is sent to many sessions: it is encoded once.
    pub fn send_encoded(&mut self, sid: &str, packet: &Packet) {
        self.send_as(None, sid, packet);
    }

    /// The same for one that a rule knows by this name.
    pub fn send_as(&mut self, name: Option<&str>, sid: &str, packet: &Packet) {
        if let Some(session) = self.sessions.get_mut(sid)
            && session.connected
        {
            if self.options.defect == Some(Defect::DuplicateAfterUpgrade) {
                session.last_event = Some(packet.clone());
            }
            session.pipe.push_as(name, packet.clone());
        }
    }

    pub fn emit(&mut self, sid: &str, name: &str, args: &[Value]) {
        self.send_encoded(sid, &event(name, args));
    }

    /// Ends all sessions of a node.
    pub fn end_node(&mut self, node: usize) {
        if self.has(Defect::RestartForgetsMessages) || self.has(Defect::DeathLosesMessage) {
            for room in self.rooms.values_mut() {
                room.messages.pop();
                room.stored_at.pop();
            }
        }
        if self.has(Defect::RestartResetsSeq) {
            self.rooms.values_mut().for_each(|room| room.seq = 0);
        }
        if self.has(Defect::RestartForgetsCids) {
            self.firsts.clear();
        }
        if self.has(Defect::RestartForgetsTokens) {
            self.tokens.clear();
        }
        if self.has(Defect::RestartForgetsMarks) {
            self.reads.clear();
        }
        if self.has(Defect::RestartKeepsRosters) {
            // Members without a session count as the last identity.
            for room in self.rooms.values_mut() {
                room.members.insert("gone".to_owned(), Mode::Full);
            }
        }
        let of_node = self.sessions.iter().filter(|(_, session)| session.node == node);
        let sids: Vec<String> = of_node.map(|(sid, _)| sid.clone()).collect();
        for sid in sids {
            self.end_session(&sid, 1001, NODE_DIED);
        }
    }

    /// Whether two sessions are on different nodes.
    pub fn are_apart(&self, one: &str, other: &str) -> bool {
        let node = |sid: &str| self.sessions.get(sid).map(|session| session.node);
        node(one).is_some() && node(other).is_some() && node(one) != node(other)
    }

    /// The largest message or body of a session, or of a client that has none.
    pub fn payload_max(&self, sid: &str) -> usize {
        if self.has(Defect::PayloadOneLess) && self.user_of(sid).is_some() {
            return self.options.max_payload - 1;
        }
        if self.has(Defect::PayloadUnlimited) || self.has(Defect::AnonymousUnlimited) {
            return 256 << 20;
        }
        match self.user_of(sid) {
            Some(_) => self.options.max_payload,
            None => self.options.anonymous_payload_max,
        }
    }

    /// Whether no further session without a user may be opened.
    pub fn is_full(&self) -> bool {
        let anonymous = self.sessions.values().filter(|session| session.user.is_none());
        anonymous.count() >= self.options.anonymous_sessions_max
    }

    /// Whether a client is read only as fast as one without a user.
    pub fn is_slowed(&self, sid: &str) -> bool {
        let is_abused = [Defect::UnreadAnswersKept, Defect::RefusalHoldsAll];
        self.user_of(sid).is_none() && !is_abused.iter().any(|defect| self.has(*defect))
    }

    pub fn user(&self, id: u64) -> Option<&User> {
        self.users.get((id as usize).checked_sub(1)?)
    }

    /// The user whose identity the session has.
    pub fn user_of(&self, sid: &str) -> Option<u64> {
        self.sessions.get(sid)?.user
    }

    pub fn seq(&self, room: u64) -> u64 {
        self.rooms.get(&room).map_or(0, |room| room.seq)
    }

    pub fn is_member(&self, sid: &str, room: u64) -> bool {
        self.rooms.get(&room).is_some_and(|room| room.members.contains_key(sid))
    }

    /// Timers: heartbeats, deadlines, unread updates.
    pub fn tick(&mut self, now: Instant) {
        if now >= self.heartbeats_due {
            self.heartbeats_due = now + HEARTBEATS_EVERY;
            self.heartbeats(now);
        }
        let due: Vec<_> = self.late.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, sid, packet) in due {
            self.push(&sid, packet);
        }
        if self.options.rule.is_some() {
            self.sessions.values().for_each(|session| session.pipe.send_late(now));
        }
        self.rest(now);
        self.flush_counts(now);
    }

    /// Whether the client of a session has sent no event for a while.
    pub fn is_at_rest(&self, sid: &str) -> bool {
        self.sessions.get(sid).is_some_and(|session| session.acted_at.elapsed() > REST)
    }

    /// Defects that show after a rest.
    fn rest(&mut self, now: Instant) {
        if self.has(Defect::IdentityEndsAfterRest) {
            for session in self.sessions.values_mut() {
                if now - session.acted_at > REST {
                    session.user = None;
                }
            }
        }
        if self.has(Defect::RevertsAfterRest) {
            self.revert_rosters(now, REST);
        }
    }

    fn heartbeats(&mut self, now: Instant) {
        let options = self.options.clone();
        let mut ended = Vec::new();
        let allows_silence_4 = self.has(Defect::SilenceAllowed);
        let allows_silence_3 = self.has(Defect::SilenceAllowedEio3);
        let keeps_unread = self.has(Defect::UnreadAnswersKept);
        let polling_stays = self.has(Defect::PollingNeverTimesOut);
        let pings_eio3 = self.has(Defect::Eio3ServerPings);
        let ping_timeout = match self.has(Defect::TimesOutEarly) {
            true => options.ping_timeout / 4,
            false => options.ping_timeout,
        };
        let disconnected_stays = self.has(Defect::DisconnectedStays);
        for (sid, session) in &mut self.sessions {
            match session.protocol {
                Protocol::Eio3 => {
                    let silence = options.ping_interval + options.ping_timeout;
                    if pings_eio3 && now >= session.ping_due {
                        session.pipe.push(Packet::text(Kind::Ping, ""));
                        session.ping_due = now + options.ping_interval;
                    }
                    if now > session.last_packet_at + silence && !allows_silence_3 {
                        ended.push((sid.clone(), 4002, "ping_timeout"));
                    }
                }
                Protocol::Eio4 => {
                    let is_kept = allows_silence_4 || polling_stays && !session.on_websocket;
                    if session.pong_due.is_some_and(|due| now > due) && !is_kept {
                        ended.push((sid.clone(), 4002, "ping_timeout"));
                    } else if session.pong_due.is_none() && now >= session.ping_due {
                        session.pipe.push(Packet::text(Kind::Ping, ""));
                        session.pong_due = Some(session.ping_due + ping_timeout);
                    }
                }
            }
            if session.pipe.lock().bytes > options.outbound_bytes_max && !keeps_unread {
                ended.push((sid.clone(), 4001, "slow_consumer"));
            }
            let is_kept = disconnected_stays && session.was_connected;
            if session.connect_due.is_some_and(|due| now > due) && !is_kept {
                ended.push((sid.clone(), 4003, "connect_timeout"));
            }
        }
        for (sid, code, reason) in ended {
            self.end_session(&sid, code, reason);
        }
    }
}

/// An event, encoded.
pub fn event(name: &str, args: &[Value]) -> Packet {
    Packet::message(sio::encode(&sio::Packet::event(name, args)))
}

/// 20 characters of base64url: 120 random bits.
pub fn random_id() -> String {
    BASE64URL_NOPAD.encode(&random_bytes::<15>())
}

/// A token of 60 letters and digits.
pub fn random_token() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let pick = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    random_bytes::<60>().iter().map(pick).collect()
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    for chunk in out.chunks_mut(8) {
        let word = RandomState::new().build_hasher().finish().to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    out
}
