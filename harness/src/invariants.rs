//! What holds for everything that the sessions of a case received, whatever the case is about: each
//! field of each event, compared with what the users registered and with what the other sessions received. Which fields an
//! event has, and of which types, is for the schemas: see [`shapes`](crate::shapes).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::client::chat::roster_ids;
use crate::client::rest::User;
use crate::client::state::Event;
use crate::client::transcript::Answered;
use crate::outcome::{Stop, shown};

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

/// Looks at everything that was received, each event of which fits its schema.
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
            _ => Ok(()),
        }
    }

    fn message(&mut self, event: &Event, seen: &mut Seen) -> Outcome {
        let message = event.arg(0);
        let [room, id, seq] = ["roomid", "id", "seq"].map(|key| number(&message[key]));
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
        let (roster, meta) = (event.arg(0), event.arg(1));
        let entries = roster.as_object().into_iter().flatten();
        for (key, entry) in entries {
            self.entry(entry)?;
            if number(&entry["id"]).to_string() != *key {
                return self.violation("PRES-1", "the user id in decimal as key", roster);
            }
        }
        let (room, version) = self.place(meta);
        // The answer to a leave of one who got no rosters, or was no member, is empty (CHAT-35, PRES-43).
        if *roster == json!({}) && event.name == "roomout" {
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
        let change = event.arg(0);
        let (room, version) = self.place(change);
        let list = |key: &str| change[key].as_array().map(Vec::as_slice);
        let (Some(joined), Some(left)) = (list("joined"), list("left")) else {
            return self.version(room, version, None);
        };
        joined.iter().try_for_each(|entry| self.entry(entry))?;
        let joined: Vec<u64> = joined.iter().map(|entry| number(&entry["id"])).collect();
        let gone: Vec<u64> = left.iter().map(number).collect();
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

    fn entry(&self, entry: &Value) -> Outcome {
        let id = number(&entry["id"]);
        let fits = match self.known.users.get(&id) {
            Some(user) => {
                entry["name"] == user.name.as_str() && self.is_avatar_of(user, &entry["avatar"])
            }
            None => entry["name"].is_string() && entry["avatar"].is_string(),
        };
        if fits && entry["src"] == entry["avatar"] {
            return Ok(());
        }
        let wanted = self.known.users.get(&id).map(|user| [&user.name, &user.avatar]);
        let expected =
            format!("name and avatar of user {id}, {}, and src as avatar", shown(&wanted));
        self.violation("PRES-2", &expected, entry)
    }

    fn is_avatar_of(&self, user: &User, avatar: &Value) -> bool {
        avatar.is_string() && (*avatar == user.avatar.as_str() || !self.known.is_avatar_fixed)
    }

    /// Room and version of a meta.
    fn place(&mut self, meta: &Value) -> (u64, u64) {
        let [room, seq, version] = ["room", "seq", "version"].map(|key| number(&meta[key]));
        let known = self.roster_seqs.entry(room).or_insert(seq);
        *known = seq.max(*known);
        (room, version)
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

    fn violation(&self, clause: &'static str, expected: &str, observed: &Value) -> Outcome {
        Err(self.broken(clause, expected, observed))
    }

    fn broken(&self, clause: &'static str, expected: &str, observed: &Value) -> Violation {
        let observed = format!("{} received {observed}", self.session.label);
        Violation { clause, expected: expected.to_owned(), observed }
    }
}

/// A number that the schemas have found to be one.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
