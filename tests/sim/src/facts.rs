//! What all clients together know: messages by number, rosters by version, and the first rule
//! that was broken.

use std::collections::BTreeMap;

use crate::trace::Trace;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The checker that saw it.
    pub checker: &'static str,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Unknown,
    Accepted { seq: u64, id: i64 },
    Refused,
}

/// One message that a client tried to publish; its text names it.
#[derive(Clone, Debug)]
pub struct Publish {
    pub session: usize,
    pub room: u32,
    pub outcome: Outcome,
    /// Whose it is, if the session knows for sure.
    pub user: Option<u32>,
    /// It was sent again, so that a refusal of one of them says nothing of it.
    pub is_repeated: bool,
    pub is_image: bool,
    /// How much longer than its name the text is, in words.
    pub padding: usize,
}

impl Publish {
    /// Whether the message has a client id, which is made from its name.
    pub fn has_cid(&self, tag: usize) -> bool {
        self.user.is_some() && !tag.is_multiple_of(4)
    }
}

/// One numbered message, as the first client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: i64,
    pub tag: usize,
}

/// Roster entries as JSON text, by user.
pub type Roster = BTreeMap<u32, String>;

#[derive(Default)]
pub struct Facts {
    pub trace: Trace,
    pub publishes: Vec<Publish>,
    pub log: BTreeMap<(u32, u64), Entry>,
    /// The newest number of each room that any client received.
    pub tips: BTreeMap<u32, u64>,
    /// Room and number under which each tag was received.
    pub places: BTreeMap<usize, (u32, u64)>,
    pub rosters: BTreeMap<(u32, u64), Roster>,
    /// `message` events that clients received.
    pub received: u64,
    pub violation: Option<Violation>,
    /// A publish that is refused with `storage_unavailable` may take effect later (NODE-35).
    pub is_unavailable_doubtful: bool,
    /// Checkers that are not held, to look past a known defect.
    pub ignored: &'static [&'static str],
    pub marks: BTreeMap<&'static str, u64>,
}

impl Facts {
    pub fn fail(&mut self, checker: &'static str, text: String) {
        if self.violation.is_none() && !self.ignored.contains(&checker) {
            self.trace.line(|| format!("VIOLATION {checker}: {text}"));
            self.violation = Some(Violation { checker, text });
        }
    }

    pub fn mark(&mut self, name: &'static str) {
        *self.marks.entry(name).or_default() += 1;
    }

    /// The newest message of the user in the room that may be sent again.
    pub fn repeatable(&self, room: u32, user: u32) -> Option<usize> {
        let mut publishes = self.publishes.iter().enumerate().rev();
        let newest = publishes.find(|(tag, publish)| {
            publish.has_cid(*tag) && publish.room == room && publish.user == Some(user)
        });
        newest.map(|(tag, _)| tag)
    }

    pub fn last_seq(&self, room: u32) -> u64 {
        self.tips.get(&room).copied().unwrap_or(0)
    }

    pub fn tip(&mut self, room: u32, seq: u64) {
        let known = self.tips.entry(room).or_default();
        *known = seq.max(*known);
    }

    /// A message was received or acked under a number.
    pub fn numbered(&mut self, room: u32, seq: u64, entry: Entry) {
        self.tip(room, seq);
        if let Some(known) = self.log.get(&(room, seq)) {
            if *known != entry {
                self.fail(
                    "one-order",
                    format!("message {seq} of room {room} is {known:?} and {entry:?}"),
                );
            }
            return;
        }
        if let Some(elsewhere) = self.places.insert(entry.tag, (room, seq))
            && elsewhere != (room, seq)
        {
            let text = format!("#{} is at {elsewhere:?} and at {:?}", entry.tag, (room, seq));
            return self.fail("one-order", text);
        }
        let Some(publish) = self.publishes.get(entry.tag) else {
            return self.fail("one-order", format!("message #{} was never sent", entry.tag));
        };
        if publish.room != room {
            let text = format!("#{} was sent to room {}, not {room}", entry.tag, publish.room);
            return self.fail("one-order", text);
        }
        self.log.insert((room, seq), entry);
    }

    pub fn roster(&mut self, room: u32, version: u64, roster: &Roster) {
        match self.rosters.get(&(room, version)) {
            None => {
                self.rosters.insert((room, version), roster.clone());
            }
            Some(known) if known != roster => {
                let text = format!(
                    "version {version} of room {room} is {:?} and {:?}",
                    known.values(),
                    roster.values()
                );
                self.fail("roster-version", text);
            }
            Some(_) => {}
        }
    }
}
