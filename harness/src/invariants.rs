//! What holds for everything that the sessions of a case received, whatever the case is about: each
//! field of each event, compared with what the users registered and with what the other sessions received.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::client::chat::roster_ids;
use crate::client::rest::User;
use crate::client::state::Event;
use crate::client::transcript::Answered;
use crate::outcome::Stop;

/// What one session received that the text does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub clause: &'static str,
    pub expected: String,
    pub observed: String,
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Stop {
        let Violation { clause, expected, observed } = violation;
        Stop::Fail { expected: format!("{clause}: {expected}"), observed }
    }
}

type Outcome = Result<(), Violation>;

/// What one session of a case received.
pub struct Received {
    /// Its name in the transcript.
    pub label: String,
    pub user: User,
    pub events: Vec<Event>,
}

/// What is known of the users of a run, and of the server.
pub struct Known<'a> {
    pub users: &'a BTreeMap<u64, User>,
    /// The case changes no avatars.
    pub is_avatar_fixed: bool,
    /// Not where several nodes count versions, each its own, or where one was started again.
    pub is_version_unique: bool,
}

const MESSAGE: [&str; 9] =
    ["userid", "username", "src", "msg", "img", "roomid", "time", "id", "seq"];
const META: [&str; 4] = ["room", "seq", "online", "version"];
const ENTRY: [&str; 4] = ["id", "name", "avatar", "src"];
const DELTA: [&str; 6] = ["room", "seq", "version", "online", "joined", "left"];

/// Looks at everything that was received.
///
/// # Errors
/// The first violation.
pub fn check(sessions: &[Received], known: &Known<'_>) -> Outcome {
    let mut seen = Seen::default();
    for session in sessions {
        let mut member = Member {
            session,
            known,
            seqs: BTreeMap::new(),
            roster_seqs: BTreeMap::new(),
            rosters: BTreeMap::new(),
        };
        for event in &session.events {
            member.event(event, &mut seen)?;
        }
    }
    Ok(())
}

/// Compares what the API says of an account with what its user registered.
///
/// # Errors
/// The first difference.
pub fn check_account(
    answered: &Answered,
    users: &BTreeMap<u64, User>,
    is_avatar_fixed: bool,
) -> Outcome {
    let path = answered.path.split('?').next().unwrap_or("");
    let (clause, account) = match (path, answered.status) {
        ("/api/login", 200) if answered.body["errno"] == 0 => ("REST-19", &answered.body["user"]),
        ("/api/user", 200) => ("REST-22", &answered.body),
        _ => return Ok(()),
    };
    let by_email = users.values().find(|user| account["email"] == user.email.as_str());
    let by_id = account["id"].as_u64().and_then(|id| users.get(&id));
    let Some(user) = by_email.or(by_id) else { return Ok(()) };
    let is_same = account["id"] == user.id
        && account["email"] == user.email.as_str()
        && account["name"] == user.name.as_str()
        && (!is_avatar_fixed || account["avatar"] == user.avatar.as_str());
    if is_same {
        return Ok(());
    }
    Err(Violation {
        clause,
        expected: format!("id {}, name {:?} and e-mail {:?}", user.id, user.name, user.email),
        observed: account.to_string(),
    })
}

/// What several sessions must agree on.
#[derive(Default)]
struct Seen {
    /// By room and seq: author and content, and the session that had it first.
    messages: BTreeMap<(u64, u64), (Value, String)>,
    /// By id: room and seq.
    ids: BTreeMap<u64, (u64, u64)>,
    /// By room and version.
    rosters: BTreeMap<(u64, u64), BTreeSet<u64>>,
}

/// One session while its events are read.
struct Member<'a> {
    session: &'a Received,
    known: &'a Known<'a>,
    /// The last seq of each room.
    seqs: BTreeMap<u64, u64>,
    /// The greatest seq that a roster or a change of each room named.
    roster_seqs: BTreeMap<u64, u64>,
    /// What the session knows of each room: the version, and the users if it was given them.
    rosters: BTreeMap<u64, (u64, Option<BTreeSet<u64>>)>,
}

impl Member<'_> {
    fn event(&mut self, event: &Event, seen: &mut Seen) -> Outcome {
        match event.name.as_str() {
            "message" => self.message(event, seen),
            "room" | "roomout" => self.roster(event, seen),
            "presence" => self.presence(event, seen),
            "count" => self.count(event),
            _ => Ok(()),
        }
    }

    fn message(&mut self, event: &Event, seen: &mut Seen) -> Outcome {
        let [message] = event.args.as_slice() else {
            return self.violation("CHAT-38", "one argument of `message`", &args(event));
        };
        self.has_exactly("CHAT-38", message, &MESSAGE)?;
        let strings = ["userid", "username", "src", "msg", "img", "time"];
        if !strings.iter().all(|key| message[*key].is_string()) {
            return self.violation("CHAT-38", &format!("strings in {strings:?}"), message);
        }
        let (Some(room), Some(id), Some(seq)) =
            (message["roomid"].as_u64(), message["id"].as_u64(), message["seq"].as_u64())
        else {
            return self.violation("CHAT-49", "integers in roomid, id and seq", message);
        };
        let author = self.author(message)?;
        if let Some(user) = author.and_then(|author| self.known.users.get(&author)) {
            let is_known = message["username"] == user.name.as_str();
            if !is_known || !self.is_avatar_of(user, &message["src"]) {
                let expected =
                    format!("username {:?} and src {:?} of its author", user.name, user.avatar);
                return self.violation("CHAT-40", &expected, message);
            }
        }
        if self.roster_seqs.get(&room).is_some_and(|known| seq <= *known) {
            let expected = "a seq above that of the rosters before";
            return self.violation("PRES-13", expected, message);
        }
        let before = self.seqs.insert(room, seq).unwrap_or(0);
        if seq <= before {
            let expected = format!("a seq of room {room} above {before}");
            return self.violation("CHAT-61", &expected, message);
        }
        // Its author is the same for all, and how it is named is not.
        let mut content = message.clone();
        content["userid"] = author.into();
        let first = seen.messages.entry((room, seq));
        let (same, whose) = first.or_insert_with(|| (content.clone(), self.session.label.clone()));
        if *same != content {
            let expected = format!("the message that {whose} received: {same}");
            return self.violation("CHAT-37", &expected, &content);
        }
        if *seen.ids.entry(id).or_insert((room, seq)) != (room, seq) {
            let expected = "an id that no other message of the server has";
            return self.violation("CHAT-49", expected, message);
        }
        Ok(())
    }

    /// The user id of the author; `None` for one that is named by an e-mail of an earlier account.
    fn author(&self, message: &Value) -> Result<Option<u64>, Violation> {
        let (own, name) = (&self.session.user, message["userid"].as_str().unwrap_or(""));
        if name == own.email {
            return Ok(Some(own.id));
        }
        match name.strip_prefix('u').and_then(|id| id.parse::<u64>().ok()) {
            Some(id) if id != own.id => Ok(Some(id)),
            _ => {
                let expected = format!(
                    "userid is u followed by the author's id, or the session's own {:?}",
                    own.email
                );
                Err(self.broken("CHAT-39", &expected, message))
            }
        }
    }

    fn roster(&mut self, event: &Event, seen: &mut Seen) -> Outcome {
        let [roster, meta] = event.args.as_slice() else {
            return self.violation("PRES-10", "two arguments, roster and meta", &args(event));
        };
        self.has_exactly("PRES-10", meta, &META)?;
        let Some(entries) = roster.as_object() else {
            return self.violation("PRES-1", "a roster that is an object", roster);
        };
        for (key, entry) in entries {
            self.entry(entry)?;
            if entry["id"].as_u64().map(|id| id.to_string()).as_ref() != Some(key) {
                return self.violation("PRES-1", "the user id in decimal as key", roster);
            }
        }
        let (room, version) = self.place(meta, "PRES-10")?;
        // The answer to a leave of one who got no rosters, or was no member, is empty (CHAT-35, PRES-43).
        if entries.is_empty() && event.name == "roomout" {
            return self.version(room, version, None);
        }
        let users = roster_ids(roster);
        if meta["online"] != users.len() as u64 {
            return self.violation("PRES-12", &format!("online {}", users.len()), meta);
        }
        self.version(room, version, Some(users.clone()))?;
        self.agrees(room, version, users, seen)
    }

    fn presence(&mut self, event: &Event, seen: &mut Seen) -> Outcome {
        let [change] = event.args.as_slice() else {
            return self.violation("PRES-31", "one argument of `presence`", &args(event));
        };
        if change.get("joined").is_none() && change.get("left").is_none() {
            self.has_exactly("PRES-40", change, &META)?;
            let (room, version) = self.place(change, "PRES-40")?;
            return self.version(room, version, None);
        }
        self.has_exactly("PRES-31", change, &DELTA)?;
        let (room, version) = self.place(change, "PRES-31")?;
        let (Some(joined), Some(left)) = (change["joined"].as_array(), change["left"].as_array())
        else {
            return self.violation("PRES-31", "lists in joined and left", change);
        };
        joined.iter().try_for_each(|entry| self.entry(entry))?;
        let joined: Vec<u64> = joined.iter().filter_map(|entry| entry["id"].as_u64()).collect();
        let gone: Vec<u64> = left.iter().filter_map(Value::as_u64).collect();
        if gone.len() != left.len() {
            return self.violation("PRES-31", "integers in left", change);
        }
        let named: BTreeSet<u64> = joined.iter().chain(&gone).copied().collect();
        if named.len() != joined.len() + gone.len() {
            return self.violation("PRES-33", "each user once", change);
        }
        let Some((_, Some(users))) = self.rosters.get(&room) else {
            return self.violation("PRES-30", "a full roster before the first change", change);
        };
        let mut users = users.clone();
        users.retain(|user| !gone.contains(user));
        users.extend(joined);
        if change["online"] != users.len() as u64 {
            let expected = format!("online {}, the size of {users:?}", users.len());
            return self.violation("PRES-32", &expected, change);
        }
        self.version(room, version, Some(users.clone()))?;
        self.agrees(room, version, users, seen)
    }

    fn count(&self, event: &Event) -> Outcome {
        let is_room = |key: &str| {
            key.strip_prefix("room").is_some_and(|id| id.parse::<u64>().is_ok_and(|id| id > 0))
        };
        let fits = match event.args.as_slice() {
            [Value::Object(counts)] => {
                counts.iter().all(|(key, number)| is_room(key) && number.is_u64())
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let expected = "one object of `room` and an id, with integers from 0";
        self.violation("UNR-1", expected, &args(event))
    }

    fn entry(&self, entry: &Value) -> Outcome {
        self.has_exactly("PRES-2", entry, &ENTRY)?;
        let Some(id) = entry["id"].as_u64() else {
            return self.violation("PRES-2", "an integer as id", entry);
        };
        let fits = match self.known.users.get(&id) {
            Some(user) => {
                entry["name"] == user.name.as_str() && self.is_avatar_of(user, &entry["avatar"])
            }
            None => entry["name"].is_string() && entry["avatar"].is_string(),
        };
        if fits && entry["src"] == entry["avatar"] {
            return Ok(());
        }
        let wanted = self.known.users.get(&id).map(|user| (&user.name, &user.avatar));
        let expected = format!("name and avatar of user {id}, {wanted:?}, and src as avatar");
        self.violation("PRES-2", &expected, entry)
    }

    fn is_avatar_of(&self, user: &User, avatar: &Value) -> bool {
        avatar.is_string() && (*avatar == user.avatar.as_str() || !self.known.is_avatar_fixed)
    }

    /// Room and version of a meta.
    fn place(&mut self, meta: &Value, clause: &'static str) -> Result<(u64, u64), Violation> {
        let numbers = META.map(|key| meta[key].as_u64());
        match numbers {
            [Some(room), Some(seq), Some(_), Some(version)] => {
                let known = self.roster_seqs.entry(room).or_insert(seq);
                *known = seq.max(*known);
                Ok((room, version))
            }
            _ => Err(self.broken(clause, &format!("integers in {META:?}"), meta)),
        }
    }

    fn version(&mut self, room: u64, version: u64, users: Option<BTreeSet<u64>>) -> Outcome {
        let before = self.rosters.insert(room, (version, users)).map_or(0, |(before, _)| before);
        if before <= version {
            return Ok(());
        }
        let expected = format!("a version of room {room} of at least {before}");
        self.violation("PRES-15", &expected, &version.into())
    }

    /// Sessions that received this version received the same roster.
    fn agrees(&self, room: u64, version: u64, users: BTreeSet<u64>, seen: &mut Seen) -> Outcome {
        let first = seen.rosters.entry((room, version)).or_insert_with(|| users.clone());
        if *first == users || !self.known.is_version_unique {
            return Ok(());
        }
        let expected = format!("version {version} of room {room} is {first:?}");
        self.violation("PRES-14", &expected, &format!("{users:?}").into())
    }

    fn has_exactly(&self, clause: &'static str, value: &Value, keys: &[&str]) -> Outcome {
        let fits = value.as_object().is_some_and(|map| {
            map.len() == keys.len() && keys.iter().all(|k| map.contains_key(*k))
        });
        if fits {
            return Ok(());
        }
        self.violation(clause, &format!("exactly the fields {keys:?}"), value)
    }

    fn violation(&self, clause: &'static str, expected: &str, observed: &Value) -> Outcome {
        Err(self.broken(clause, expected, observed))
    }

    fn broken(&self, clause: &'static str, expected: &str, observed: &Value) -> Violation {
        let observed = format!("{} received {observed}", self.session.label);
        Violation { clause, expected: expected.to_owned(), observed }
    }
}

fn args(event: &Event) -> Value {
    Value::Array(event.args.clone())
}
