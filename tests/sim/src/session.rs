//! One session as its client sees it: what it asked for, what was answered, and where it must
//! therefore be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};
use throng_codec::engine::{self, Frame, Packet, Protocol};
use throng_codec::{payload, socket};
use throng_engine::PollId;
use throng_world::{Reader, masked, text};

use crate::facts::{Facts, Outcome, Publish, Roster};
use crate::scenario::Mode;

/// Whether the session is a member of a room, as far as its client can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Out,
    Maybe,
    In,
}

impl Standing {
    fn doubt(&mut self) {
        if *self == Standing::In {
            *self = Standing::Maybe;
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Login,
    Join(Mode),
    Leave,
    Publish(usize),
    /// The same message once more.
    Repeat(usize),
    /// DISCONNECT of Socket.IO; answered by the next CONNECT.
    Disconnect,
    /// The server may have taken the identity away.
    Revoked,
    /// Refused whatever happens; the number says which kind.
    Invalid(u8),
}

/// Whether the event shows the token of another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebind {
    No,
    To(u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Pending,
    Ok,
    Refused(String),
}

/// Something the client asked for, in the order asked.
#[derive(Clone, Debug)]
pub struct Op {
    pub kind: Kind,
    pub room: u32,
    pub rebind: Rebind,
    /// The session did not know for sure whose it was when it showed the token.
    pub was_unsure: bool,
    pub shows_token: bool,
    pub answer: Answer,
    pub ack: Option<u64>,
}

impl Op {
    /// Its token was refused before anything was done. A `login` may also be cut short later.
    pub fn is_void(&self) -> bool {
        let code = match &self.answer {
            Answer::Refused(code) => &**code,
            Answer::Pending | Answer::Ok => return false,
        };
        code == "unauthenticated" && self.kind != Kind::Login
    }
}

/// What the session has received of one room.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The newest message received, or the number in the ack of the join.
    pub last: Option<u64>,
    /// A join without an ack is under way, so messages may begin anywhere.
    pub is_loose: bool,
    pub mode: Option<Mode>,
    /// The newest join may have been the first or a repeated one.
    pub is_unsure: bool,
    pub roster: Option<Roster>,
    pub version: u64,
    pub online: u64,
    pub snapshots_owed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Opening,
    Open,
    /// Nothing may arrive any more.
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    No,
    /// `2probe` is out.
    Probing(usize),
    /// `3probe` came; the last poll and post must end before `5` goes out.
    Draining(usize),
}

#[derive(Clone, Debug)]
pub struct Polling {
    pub get: Option<PollId>,
    pub post: Option<PollId>,
    pub outgoing: Vec<Packet>,
}

#[derive(Clone, Debug)]
pub enum Carrier {
    /// Index of the shard's pipe.
    Pipe(usize),
    Polling(Polling),
}

pub struct Session {
    pub number: usize,
    pub tab: usize,
    pub shard: usize,
    /// Which process it is at: versions of rosters are compared within one.
    pub place: u64,
    pub protocol: Protocol,
    pub carrier: Carrier,
    pub upgrade: Upgrade,
    pub phase: Phase,
    pub sid: Option<String>,
    /// Socket.IO: the namespace `/` is connected.
    pub is_connected: bool,
    pub is_exclusive: bool,
    /// Whose it is: `None` while unsure, `Some(None)` anonymous.
    pub user: Option<Option<u32>>,
    /// Tokens this session has shown.
    pub tokens: BTreeSet<String>,
    /// Users whose tokens this session has shown.
    pub shown: BTreeSet<u32>,
    pub has_asked_connect: bool,
    /// How much had been asked before each CONNECT that is not answered yet.
    pub connects: VecDeque<usize>,
    pub ops: Vec<Op>,
    pub acks: BTreeMap<u64, usize>,
    /// Acks that a DISCONNECT has made void: they may come, or not.
    pub void_acks: BTreeMap<u64, usize>,
    next_ack: u64,
    pub views: BTreeMap<u32, View>,
    pub counts: BTreeMap<u32, u64>,
    /// The peer has vanished: it neither reads nor writes.
    pub is_half_open: bool,
    pub is_not_receiving: bool,
    /// Answers to pings wait.
    pub holds_pongs: bool,
    pub pings_held: u32,
    /// Engine.IO 3: when the next ping is due, in ns.
    pub ping_at: u64,
    pub received: u64,
    /// Bytes for the pipe.
    pub wire: VecDeque<u8>,
    /// Its side of the pipe, and of the pipe that is to take over.
    pub reader: Reader,
    pub probe: Reader,
}

impl Session {
    pub fn new(number: usize, tab: usize, shard: usize, protocol: Protocol) -> Session {
        Session {
            number,
            tab,
            shard,
            place: 0,
            protocol,
            carrier: Carrier::Polling(Polling { get: None, post: None, outgoing: Vec::new() }),
            upgrade: Upgrade::No,
            phase: Phase::Opening,
            sid: None,
            is_connected: false,
            is_exclusive: false,
            user: Some(None),
            tokens: BTreeSet::new(),
            shown: BTreeSet::new(),
            has_asked_connect: false,
            connects: VecDeque::from([0]),
            ops: Vec::new(),
            acks: BTreeMap::new(),
            void_acks: BTreeMap::new(),
            next_ack: 0,
            views: BTreeMap::new(),
            counts: BTreeMap::new(),
            is_half_open: false,
            is_not_receiving: false,
            holds_pongs: false,
            pings_held: 0,
            ping_at: u64::MAX,
            received: 0,
            wire: VecDeque::new(),
            reader: Reader::default(),
            probe: Reader::default(),
        }
    }

    pub fn is_live(&self) -> bool {
        self.phase == Phase::Open && !self.is_half_open
    }

    pub fn can_speak(&self) -> bool {
        self.is_live() && self.is_connected
    }

    pub fn pending(&self) -> usize {
        self.acks.len()
    }

    /// Where the session is after the first `count` of its requests.
    pub fn standing(&self, room: u32, count: usize) -> Standing {
        let mut at = Standing::Out;
        for op in &self.ops[..count] {
            if matches!(op.rebind, Rebind::To(_)) {
                match &op.answer {
                    Answer::Ok if op.was_unsure => at.doubt(),
                    Answer::Ok => at = Standing::Out,
                    _ if op.is_void() => {}
                    Answer::Refused(_) | Answer::Pending => at.doubt(),
                }
            }
            let is_here = op.room == room;
            match (&op.kind, &op.answer) {
                (Kind::Join(_), Answer::Ok) if is_here => at = Standing::In,
                (Kind::Join(_), Answer::Pending) if is_here && at == Standing::Out => {
                    at = Standing::Maybe;
                }
                (Kind::Join(_), Answer::Ok) if self.is_exclusive && !is_here => at = Standing::Out,
                (Kind::Join(_), Answer::Pending) if self.is_exclusive && !is_here => at.doubt(),
                // Refused by the home, when the edge has left the other rooms already.
                (Kind::Join(_), Answer::Refused(code))
                    if self.is_exclusive
                        && !is_here
                        && matches!(&**code, "unknown_room" | "storage_unavailable" | "busy") =>
                {
                    at.doubt();
                }
                (Kind::Leave, Answer::Ok) if is_here => at = Standing::Out,
                (Kind::Leave, Answer::Pending) if is_here => at.doubt(),
                (Kind::Join(_) | Kind::Leave, Answer::Refused(code))
                    if is_here && code == "unknown_room" =>
                {
                    at = Standing::Out;
                }
                (Kind::Disconnect | Kind::Revoked, Answer::Ok) => at = Standing::Out,
                (Kind::Disconnect | Kind::Revoked, Answer::Pending) => at.doubt(),
                _ => {}
            }
        }
        at
    }

    pub fn is_in(&self, room: u32) -> bool {
        self.standing(room, self.ops.len()) == Standing::In
    }

    pub fn has_pending(&self, room: u32, of: impl Fn(&Kind) -> bool) -> bool {
        let mut ops = self.ops.iter();
        ops.any(|op| op.room == room && op.answer == Answer::Pending && of(&op.kind))
    }

    /// A join without an ack that no leave has undone.
    pub fn has_quiet_join(&self, room: u32) -> bool {
        let mut has_quiet = false;
        for op in self.ops.iter().filter(|op| op.room == room) {
            match (&op.kind, &op.answer, op.ack) {
                (Kind::Join(_), Answer::Pending, None) => has_quiet = true,
                (Kind::Leave, Answer::Ok, _) => has_quiet = false,
                _ => {}
            }
        }
        has_quiet
    }

    pub fn view(&mut self, room: u32) -> &mut View {
        self.views.entry(room).or_default()
    }

    // ---- speaking -----------------------------------------------------------------------------

    /// Sends one Engine.IO packet over the transport of the session.
    pub fn send(&mut self, packet: Packet) {
        match &mut self.carrier {
            Carrier::Pipe(_) => {
                let packet = payload::encode_text(Protocol::Eio4, &[packet]);
                self.wire.extend(text(&packet));
            }
            Carrier::Polling(polling) => polling.outgoing.push(packet),
        }
    }

    pub fn send_event(&mut self, name: &str, body: Value, ack: Option<u64>) {
        let packet = socket::Packet::event(name, &[body]);
        let packet = match ack {
            Some(id) => packet.with_id(id),
            None => packet,
        };
        self.send(Packet::message(socket::encode(&packet)));
    }

    /// Asks for something, with an ack unless `is_quiet`. `token` is shown with it.
    pub fn ask(
        &mut self,
        kind: Kind,
        room: u32,
        shown: Option<(u32, &str)>,
        is_quiet: bool,
        facts: &mut Facts,
    ) {
        let mut body = json!({});
        if room > 0 {
            body["roomid"] = json!(room);
        }
        let name = match &kind {
            Kind::Login => "login",
            Kind::Join(mode) => {
                body["presence"] = json!(mode.name());
                "room"
            }
            Kind::Leave => "roomout",
            Kind::Publish(tag) | Kind::Repeat(tag) => {
                let publish = &facts.publishes[*tag];
                body["msg"] = json!(format!("#{tag}{}", " and so on".repeat(publish.padding)));
                if publish.has_cid(*tag) {
                    body["cid"] = json!(format!("c{tag}"));
                }
                if publish.is_image {
                    body["img"] = json!("data:image/png;base64,iVBORw0KGgo=");
                }
                "message"
            }
            Kind::Invalid(which) => match which % 5 {
                0 => "dance",
                1 => {
                    body["roomid"] = json!("first");
                    "room"
                }
                2 => {
                    body["msg"] = json!("x".repeat(2_001));
                    "message"
                }
                3 => {
                    body["img"] = json!("https://example.com/x.png");
                    "message"
                }
                _ => return self.ask_binary(),
            },
            Kind::Disconnect | Kind::Revoked => return,
        };
        let mut rebind = Rebind::No;
        let was_unsure = self.user.is_none();
        if let Some((user, token)) = shown {
            body["api_token"] = json!(token);
            if self.user != Some(Some(user)) {
                rebind = Rebind::To(user);
                // Unknown until the answer arrives.
                self.user = None;
            }
            self.tokens.insert(token.to_owned());
            self.shown.insert(user);
        }
        if is_quiet && matches!(kind, Kind::Join(_)) {
            let view = self.view(room);
            view.is_loose = true;
            view.mode = None;
        }
        let ack = (!is_quiet).then(|| {
            self.next_ack += 1;
            self.next_ack
        });
        if let Some(id) = ack {
            self.acks.insert(id, self.ops.len());
        }
        let text = body.to_string();
        let tag = self.number;
        facts.trace.line(|| format!("  s{tag} asks {name} {text} ack {ack:?}"));
        let shows_token = shown.is_some();
        self.ops.push(Op {
            kind,
            room,
            rebind,
            was_unsure,
            shows_token,
            answer: Answer::Pending,
            ack,
        });
        self.send_event(name, body, ack);
    }

    /// A binary event, which no chat event is.
    fn ask_binary(&mut self) {
        self.next_ack += 1;
        let id = self.next_ack;
        self.acks.insert(id, self.ops.len());
        self.push(Kind::Invalid(4), Answer::Pending);
        if let Some(op) = self.ops.last_mut() {
            op.ack = Some(id);
        }
        let hole = json!({"_placeholder": true, "num": 0});
        let packet = socket::Packet {
            kind: socket::Kind::BinaryEvent,
            attachments: 1,
            ..socket::Packet::event("message", &[hole]).with_id(id)
        };
        self.send(Packet::message(socket::encode(&packet)));
        let attachment = Packet::binary([7, 7]);
        match &mut self.carrier {
            Carrier::Pipe(_) => {
                if let Frame::Binary(bytes) = engine::encode(self.protocol, &attachment) {
                    self.wire.extend(masked(0x82, &bytes));
                }
            }
            Carrier::Polling(polling) => polling.outgoing.push(attachment),
        }
    }

    pub fn publish(
        &mut self,
        room: u32,
        is_quiet: bool,
        is_image: bool,
        padding: usize,
        facts: &mut Facts,
    ) {
        let tag = facts.publishes.len();
        facts.publishes.push(Publish {
            session: self.number,
            room,
            outcome: Outcome::Unknown,
            user: self.user.flatten(),
            is_repeated: false,
            is_image,
            padding,
        });
        self.ask(Kind::Publish(tag), room, None, is_quiet, facts);
    }

    /// Sends a message once more, perhaps from another session of its author.
    pub fn repeat(&mut self, tag: usize, is_quiet: bool, facts: &mut Facts) {
        let publish = &mut facts.publishes[tag];
        publish.is_repeated = true;
        if publish.outcome == Outcome::Refused {
            publish.outcome = Outcome::Unknown;
        }
        let room = publish.room;
        facts.mark("repeated");
        self.ask(Kind::Repeat(tag), room, None, is_quiet, facts);
    }

    /// Something reached the server that may end the identity of the session.
    pub fn note(&mut self, kind: Kind) {
        match kind {
            Kind::Revoked => self.user = None,
            Kind::Disconnect => self.void_acks.append(&mut self.acks),
            _ => {}
        }
        self.push(kind, Answer::Pending);
    }

    pub fn push(&mut self, kind: Kind, answer: Answer) {
        self.ops.push(Op {
            kind,
            room: 0,
            rebind: Rebind::No,
            was_unsure: false,
            shows_token: false,
            answer,
            ack: None,
        });
    }

    /// CONNECT once more, after a DISCONNECT.
    pub fn connect_again(&mut self) {
        self.connects.push_back(self.ops.len());
        self.send(Packet::message("0"));
    }

    pub fn close(&mut self) {
        self.phase = Phase::Closed;
        self.wire.clear();
    }
}
