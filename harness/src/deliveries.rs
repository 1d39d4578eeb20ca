//! Who may receive which text, and how often, by what the sessions of a case did: whatever the case is about, and
//! however late something comes. Each rule gives the server the benefit of the doubt: what is still under way may
//! have happened or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::invariants::Violation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Join,
    Leave,
    Say,
}

/// What a session did.
#[derive(Clone, Debug)]
pub struct Act {
    pub kind: Kind,
    pub room: String,
    /// Of a message.
    pub text: String,
    pub at: Instant,
    pub answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub at: Instant,
    pub is_refused: bool,
}

/// A message that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub text: String,
    pub at: Instant,
}

/// What one session did, in order, and which messages it received.
pub struct Session {
    /// Its name in the transcript.
    pub label: String,
    pub acts: Vec<Act>,
    pub received: Vec<Received>,
}

/// The clauses that are broken when a text reaches who it must not.
pub struct Clauses {
    /// It was sent to rooms that the session never joined.
    pub leak: &'static str,
    /// It was sent after the session had left.
    pub left: &'static str,
    /// Its sender was no member.
    pub outsider: &'static str,
    /// It came more often than it was sent.
    pub once: &'static str,
}

/// The rooms that each text was sent to, of all cases of a run.
pub type Texts = BTreeMap<String, BTreeSet<String>>;

/// Looks at every message that the sessions of a case received.
///
/// # Errors
/// The first that must not have come.
pub fn check(sessions: &[Session], everywhere: &Texts, clauses: &Clauses) -> Result<(), Violation> {
    for session in sessions {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for received in &session.received {
            let count = counts.entry(received.text.as_str()).or_default();
            *count += 1;
            check_one(
                session,
                received,
                *count,
                &Sends::of(received, sessions, everywhere),
                clauses,
            )?;
        }
    }
    Ok(())
}

/// Where a text was sent to, and by whom of the case.
struct Sends<'a> {
    rooms: BTreeSet<&'a str>,
    says: Vec<(&'a Session, &'a Act)>,
}

impl<'a> Sends<'a> {
    fn of(received: &Received, sessions: &'a [Session], everywhere: &'a Texts) -> Sends<'a> {
        let says = sessions.iter().flat_map(|session| {
            let is_sent = |act: &&Act| act.kind == Kind::Say && act.text == received.text;
            session.acts.iter().filter(is_sent).map(move |act| (session, act))
        });
        let says: Vec<_> = says.collect();
        let elsewhere = everywhere.get(&received.text).into_iter().flatten();
        let rooms = says.iter().map(|(_, say)| &say.room).chain(elsewhere);
        Sends { rooms: rooms.map(String::as_str).collect(), says }
    }
}

/// One message, the text of which has come to the session this often.
fn check_one(
    session: &Session,
    received: &Received,
    count: usize,
    sends: &Sends<'_>,
    clauses: &Clauses,
) -> Result<(), Violation> {
    // A server may send texts of its own.
    if sends.rooms.is_empty() {
        return Ok(());
    }
    let shown = shown(&received.text);
    let broken = |clause, expected: String| {
        let observed = format!("{} received {shown} {count} times", session.label);
        Err(Violation { clause, expected, observed })
    };
    if !sends.rooms.iter().any(|room| has_joined(session, room, received.at)) {
        let expected = format!("{shown} reaches members of {} only", list(&sends.rooms));
        return broken(clauses.leak, expected);
    }
    let own: Vec<_> =
        sends.says.iter().filter(|(_, say)| has_joined(session, &say.room, received.at)).collect();
    if own.is_empty() {
        return Ok(());
    }
    let is_reachable = |say: &Act| {
        may_be_member(session, &say.room, say.at)
            || joins_after(session, &say.room, say.at, received.at)
    };
    if !own.iter().any(|(_, say)| is_reachable(say)) {
        let expected = format!("{shown}, sent after the session had left, does not reach it");
        return broken(clauses.left, expected);
    }
    if !own.iter().any(|(sender, say)| may_be_member(sender, &say.room, say.at)) {
        let expected = format!("{shown}, sent by no member, reaches no one");
        return broken(clauses.outsider, expected);
    }
    if count > own.len() {
        let expected = format!("{shown}, sent {} times, comes as often", own.len());
        return broken(clauses.once, expected);
    }
    Ok(())
}

/// Whether the session is a member of the room at rest, unless it has ended; `None` if that is not certain.
pub fn is_member(session: &Session, room: &str) -> Option<bool> {
    let mut is_member = false;
    for act in session.acts.iter().filter(|act| act.room == room && act.kind != Kind::Say) {
        match (act.kind, act.answer?.is_refused) {
            (Kind::Join, false) => is_member = true,
            // A join of a member, and a leave of none, may be refused: they change nothing.
            (Kind::Join, true) | (Kind::Say, _) => {}
            (Kind::Leave, true) if is_member => return None,
            (Kind::Leave, _) => is_member = false,
        }
    }
    Some(is_member)
}

/// Joins that were not refused.
fn joins<'a>(session: &'a Session, room: &'a str) -> impl Iterator<Item = &'a Act> {
    let is_join = move |act: &&Act| act.kind == Kind::Join && act.room == room;
    let is_accepted = |act: &&Act| !act.answer.is_some_and(|answer| answer.is_refused);
    session.acts.iter().filter(is_join).filter(is_accepted)
}

fn has_joined(session: &Session, room: &str, by: Instant) -> bool {
    joins(session, room).any(|join| join.at <= by)
}

fn joins_after(session: &Session, room: &str, from: Instant, by: Instant) -> bool {
    joins(session, room).any(|join| from < join.at && join.at <= by)
}

/// Whether the session may have been a member then: it has asked to join, and no leave after that was answered.
fn may_be_member(session: &Session, room: &str, then: Instant) -> bool {
    let last_join = joins(session, room).map(|join| join.at).filter(|at| *at <= then).max();
    let is_over = |join: Instant| {
        session.acts.iter().any(|act| {
            let is_leave = act.kind == Kind::Leave && act.room == room && act.at > join;
            is_leave && act.answer.is_some_and(|answer| !answer.is_refused && answer.at < then)
        })
    };
    last_join.is_some_and(|join| !is_over(join))
}

fn list(rooms: &BTreeSet<&str>) -> String {
    const NAMED_MAX: usize = 3;
    let named: Vec<String> = rooms.iter().take(NAMED_MAX).map(|room| shown(room)).collect();
    let more = if rooms.len() > NAMED_MAX { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}

fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let head: String = text.chars().take(CHARS_MAX).collect();
    let more = if head.len() < text.len() { "…" } else { "" };
    format!("{head:?}{more}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CLAUSES: Clauses =
        Clauses { leak: "LEAK", left: "LEFT", outsider: "OUTSIDER", once: "ONCE" };

    /// A session whose acts are `join R`, `leave R`, `say R T` or `hear T`, each with the time in ms before it; each is
    /// answered within a millisecond, or `refused`, or not at all (`join? R`).
    fn session(label: &str, start: Instant, script: &[(u64, &str)]) -> Session {
        let mut session =
            Session { label: label.to_owned(), acts: Vec::new(), received: Vec::new() };
        for (ms, line) in script {
            let at = start + Duration::from_millis(*ms);
            let words: Vec<&str> = line.split(' ').collect();
            let kind = match words[0].trim_end_matches(['?', '!']) {
                "join" => Kind::Join,
                "leave" => Kind::Leave,
                "say" => Kind::Say,
                _ => {
                    session.received.push(Received { text: words[1].to_owned(), at });
                    continue;
                }
            };
            let answer =
                Answer { at: at + Duration::from_millis(1), is_refused: words[0].ends_with('!') };
            let answer = (!words[0].ends_with('?')).then_some(answer);
            let text = words.get(2).copied().unwrap_or_default().to_owned();
            session.acts.push(Act { kind, room: words[1].to_owned(), text, at, answer });
        }
        session
    }

    fn broken(scripts: &[(&str, &[(u64, &str)])]) -> Option<&'static str> {
        let start = Instant::now();
        let sessions: Vec<Session> =
            scripts.iter().map(|(label, script)| session(label, start, script)).collect();
        let everywhere = Texts::from([("far".to_owned(), BTreeSet::from(["other".to_owned()]))]);
        check(&sessions, &everywhere, &CLAUSES).err().map(|violation| violation.clause)
    }

    const SENDER: (&str, &[(u64, &str)]) = ("sender", &[(0, "join r"), (20, "say r t")]);

    #[test]
    fn what_members_receive_is_in_order() {
        let member: &[_] = &[(5, "join r"), (30, "hear t"), (31, "hear of-the-server")];
        assert_eq!(broken(&[SENDER, ("member", member)]), None);
        assert_eq!(broken(&[SENDER, ("pending", &[(19, "join? r"), (30, "hear t")])]), None);
        let leaving: &[_] = &[(5, "join r"), (19, "leave? r"), (30, "hear t")];
        assert_eq!(broken(&[SENDER, ("leaving", leaving)]), None);
        // A history is no fault.
        assert_eq!(broken(&[SENDER, ("later", &[(40, "join r"), (50, "hear t")])]), None);
        let again: &[_] = &[(5, "join r"), (10, "leave r"), (25, "join r"), (30, "hear t")];
        assert_eq!(broken(&[SENDER, ("again", again)]), None);
        assert_eq!(broken(&[("own", &[(0, "join r"), (20, "say r t"), (25, "hear t")])]), None);
    }

    #[test]
    fn what_reaches_others_is_found() {
        assert_eq!(broken(&[SENDER, ("nowhere", &[(2500, "hear t")])]), Some("LEAK"));
        let refused: &[_] = &[(5, "join! r"), (30, "hear t")];
        assert_eq!(broken(&[SENDER, ("refused", refused)]), Some("LEAK"));
        let elsewhere: &[_] = &[(5, "join q"), (30, "hear t")];
        assert_eq!(broken(&[SENDER, ("elsewhere", elsewhere)]), Some("LEAK"));
        let of_another_case: &[_] = &[(5, "join q"), (30, "hear far")];
        assert_eq!(broken(&[("here", of_another_case)]), Some("LEAK"));
        let left: &[_] = &[(5, "join r"), (10, "leave r"), (1030, "hear t")];
        assert_eq!(broken(&[SENDER, ("left", left)]), Some("LEFT"));
    }

    #[test]
    fn what_comes_twice_is_found() {
        let twice: &[_] = &[(5, "join r"), (30, "hear t"), (1530, "hear t")];
        assert_eq!(broken(&[SENDER, ("member", twice)]), Some("ONCE"));
        let again: (&str, &[_]) = ("second", &[(0, "join r"), (21, "say r t")]);
        assert_eq!(broken(&[SENDER, again, ("member", twice)]), None);
        let own: &[_] = &[(0, "join r"), (20, "say r t"), (25, "hear t"), (26, "hear t")];
        assert_eq!(broken(&[("own", own)]), Some("ONCE"));
    }

    #[test]
    fn what_outsiders_send_reaches_no_one() {
        let member: &[_] = &[(5, "join r"), (30, "hear t")];
        assert_eq!(broken(&[("never", &[(20, "say r t")]), ("member", member)]), Some("OUTSIDER"));
        let left: &[_] = &[(0, "join r"), (10, "leave r"), (20, "say r t")];
        assert_eq!(broken(&[("left", left), ("member", member)]), Some("OUTSIDER"));
    }

    #[test]
    fn a_member_is_who_last_joined() {
        let start = Instant::now();
        let is_member = |script: &[(u64, &str)]| is_member(&session("a", start, script), "r");
        assert_eq!(is_member(&[]), Some(false));
        assert_eq!(is_member(&[(0, "join r"), (1, "leave q")]), Some(true));
        assert_eq!(is_member(&[(0, "join r"), (1, "join! r")]), Some(true));
        assert_eq!(is_member(&[(0, "join r"), (1, "leave r")]), Some(false));
        assert_eq!(is_member(&[(1, "leave! r")]), Some(false));
        assert_eq!(is_member(&[(0, "join r"), (1, "leave r"), (2, "join r")]), Some(true));
        assert_eq!(is_member(&[(0, "join? r")]), None);
        assert_eq!(is_member(&[(0, "join r"), (1, "leave! r")]), None);
    }
}
