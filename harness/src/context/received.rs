//! What holds for everything that the sessions of a case received.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use super::Context;
use crate::client::member::Record;
use crate::client::shared::Shared;
use crate::client::state::{Sent, State};
use crate::deliveries::{self, Act, Answer, Clauses, Kind, Session, Texts};
use crate::invariants::{self, Known, Received, Violation};
use crate::outcome::shown;
use crate::shapes;

/// A target that has not been asked anything for this long is at rest.
const RESTS: Duration = Duration::from_secs(1);

/// What Throng's text says of messages that reach the wrong session, or come twice.
const OF_CHAT: Clauses =
    Clauses { leak: "CHAT-52", left: "CHAT-52", outsider: "CHAT-51", once: "CHAT-61" };
/// What it says of any room server's.
const OF_EVENTS: Clauses =
    Clauses { leak: "EVT-11", left: "EVT-3", outsider: "EVT-16", once: "EVT-10" };

impl Context {
    /// What holds for everything that the sessions of the case received.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_received(&self) -> Result<(), Violation> {
        let users = self.run.users();
        for answered in self.transcript.take_answered() {
            self.judged(shapes::check_answer(&answered))?;
            invariants::check_account(&answered, &users, !self.changes_avatars)?;
        }
        let mut sockets = self.sockets.lock().expect("no thread panics while it adds a session");
        for shared in sockets.drain(..) {
            self.judged(shapes::check_packets(&shared.state(), shared.options.protocol))?;
        }
        let mut sessions = self.sessions.lock().expect("no thread panics while it adds a session");
        for (.., shared) in sessions.iter() {
            let state = shared.state();
            shapes::check_packets(&state, shared.options.protocol)?;
            state.events.iter().try_for_each(shapes::check_event)?;
            state.acks.iter().try_for_each(|(_, args, _)| shapes::check_ack(args))?;
        }
        // What a case sends as raw packets is not known here.
        if !sessions.iter().any(|(.., shared)| shared.state().sent_raw) {
            let acted: Vec<Session> =
                sessions.iter().map(|(label, _, shared)| in_chat(label, shared)).collect();
            deliveries::check(&acted, &Texts::new(), &OF_CHAT)?;
        }
        let received: Vec<Received> = sessions
            .drain(..)
            .map(|(label, user, shared)| Received {
                label,
                user,
                events: shared.state().events.clone(),
            })
            .collect();
        let known = Known {
            users: &users,
            is_avatar_fixed: !self.changes_avatars,
            is_version_unique: self.nodes() == 1 && !self.has_commanded.load(Ordering::Relaxed),
        };
        invariants::check(&received, &known)?;
        self.check_members()
    }

    /// What the sessions at a room server of others received.
    fn check_members(&self) -> Result<(), Violation> {
        let mut members = self.members.lock().expect("no thread panics while it adds a session");
        let members = std::mem::take(&mut *members);
        let sessions: Vec<Session> =
            members.iter().map(|(label, record)| record.session(label)).collect();
        let texts = self.run.texts.lock().expect("no thread panics while it adds a text");
        deliveries::check(&sessions, &texts, &OF_EVENTS)?;
        drop(texts);
        if self.watch_time() < RESTS {
            return Ok(());
        }
        let acts = sessions.iter().flat_map(|session| &session.acts);
        let rooms: BTreeSet<&str> = acts.map(|act| act.room.as_str()).collect();
        rooms.into_iter().try_for_each(|room| rosters_at_rest(&members, &sessions, room))
    }

    /// What breaks a clause that the run does not judge is none.
    fn judged(&self, found: Result<(), Violation>) -> Result<(), Violation> {
        found.or_else(|broken| if self.judges(broken.clause) { Err(broken) } else { Ok(()) })
    }
}

/// The last roster that each member has of the room is that of all members.
fn rosters_at_rest(
    records: &[(String, Arc<Record>)],
    sessions: &[Session],
    room: &str,
) -> Result<(), Violation> {
    let mut members = Vec::new();
    for ((label, record), session) in records.iter().zip(sessions) {
        let (Some(is_member), Some(is_present)) =
            (deliveries::is_member(session, room), record.is_present())
        else {
            return Ok(());
        };
        if is_member && is_present {
            members.push((label, record));
        }
    }
    let mut ids: Vec<String> = members.iter().map(|(_, record)| record.id()).collect();
    ids.sort();
    for (label, record) in members {
        let Some(roster) = record.roster(room).filter(|roster| *roster != ids) else { continue };
        return Err(Violation {
            clause: "EVT-23",
            expected: format!("the last roster that {label} has of {} is {ids:?}", shown(&room)),
            observed: format!("it is {roster:?}"),
        });
    }
    Ok(())
}

/// What one session of the chat did and received.
fn in_chat(label: &str, shared: &Shared) -> Session {
    let state = shared.state();
    let messages = state.events.iter().filter(|event| event.name == "message");
    let received = messages.filter_map(|event| {
        let text = event.arg(0)["msg"].as_str()?.to_owned();
        Some(deliveries::Received { text, at: event.at })
    });
    Session {
        label: label.to_owned(),
        acts: state.sent.iter().filter_map(|sent| act_in_chat(&state, sent)).collect(),
        received: received.collect(),
    }
}

fn act_in_chat(state: &State, sent: &Sent) -> Option<Act> {
    let kind = match sent.name.as_str() {
        "room" => Kind::Join,
        "roomout" => Kind::Leave,
        "message" => Kind::Say,
        _ => return None,
    };
    let arg = sent.args.first()?;
    let room = match &arg["roomid"] {
        Value::String(room) => room.clone(),
        room => room.to_string(),
    };
    let answer = sent
        .id
        .and_then(|id| state.ack(id))
        .map(|(_, args, at)| Answer { at: *at, is_refused: args[0]["ok"] != true });
    let text = arg["msg"].as_str().unwrap_or_default().to_owned();
    Some(Act { kind, room, text, at: sent.at, answer })
}
