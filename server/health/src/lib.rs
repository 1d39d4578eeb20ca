//! The states of what the server depends on. The code that watches a dependency sets its state; `/ready`
//! and the metrics read all of them.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]
#![warn(missing_docs)]

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The states of all dependencies. A clone is another handle on them.
#[derive(Clone, Debug, Default)]
pub struct Health {
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// Whether the server can serve without a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it the server is not ready.
    Required,
    /// Without it the server does less.
    Optional,
}

/// How a dependency is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Ok,
    /// It does not work yet; the word says what it waits for.
    Pending(&'static str),
    /// It does not work; the reason names no path, statement or secret, since anyone may read it.
    Down(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Ok => f.write_str("ok"),
            State::Pending(word) => f.write_str(word),
            State::Down(reason) => write!(f, "down: {reason}"),
        }
    }
}

/// One dependency, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name in `/ready` and in the metrics.
    pub name: &'static str,
    /// Whether the server can serve without it.
    pub need: Need,
    /// How it is.
    pub state: State,
    /// How long it has been ok, or has not been.
    pub lasts: Duration,
}

impl Report {
    /// The server can serve, as far as this dependency is concerned.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.need == Need::Optional || self.state == State::Ok
    }
}

#[derive(Debug)]
struct Entry {
    name: &'static str,
    need: Need,
    state: State,
    since: Instant,
    /// The log says that it is down.
    is_logged: bool,
}

/// What the log says of a change.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Down(String),
    WorksAgain { after: Duration },
}

impl Entry {
    /// A state that is pending gets no line: nothing has failed, or the log says already what has.
    fn change(&mut self, state: State) -> Option<Line> {
        if self.state == state {
            return None;
        }
        let lasted = self.since.elapsed();
        if (self.state == State::Ok) != (state == State::Ok) {
            self.since = Instant::now();
        }
        self.state = state;
        match &self.state {
            State::Down(reason) => {
                self.is_logged = true;
                Some(Line::Down(reason.clone()))
            }
            State::Ok if self.is_logged => {
                self.is_logged = false;
                Some(Line::WorksAgain { after: lasted })
            }
            State::Ok | State::Pending(_) => None,
        }
    }
}

/// Sets the state of one dependency. A clone sets the same.
#[derive(Clone, Debug)]
pub struct Dependency {
    health: Health,
    name: &'static str,
}

impl Health {
    /// Adds a dependency, which is `starting` until its state is set. A name that is known already is
    /// the same dependency.
    #[must_use]
    pub fn depends_on(&self, name: &'static str, need: Need) -> Dependency {
        let mut entries = self.entries();
        if !entries.iter().any(|entry| entry.name == name) {
            let state = State::Pending("starting");
            entries.push(Entry { name, need, state, since: Instant::now(), is_logged: false });
        }
        drop(entries);
        Dependency { health: self.clone(), name }
    }

    /// All dependencies, in the order in which they were added.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let entries = self.entries();
        let report = |entry: &Entry| Report {
            name: entry.name,
            need: entry.need,
            state: entry.state.clone(),
            lasts: entry.since.elapsed(),
        };
        entries.iter().map(report).collect()
    }

    /// The state of one dependency; `None` if the server does not depend on it.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<State> {
        let entries = self.entries();
        entries.iter().find(|entry| entry.name == name).map(|entry| entry.state.clone())
    }

    /// Every required dependency works.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reports().iter().all(Report::is_ready)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dependency {
    /// Sets the state, and logs when the dependency goes down or comes back.
    pub fn set(&self, state: State) {
        let mut entries = self.health.entries();
        let entry = entries
            .iter_mut()
            .find(|entry| entry.name == self.name)
            .expect("a dependency is added before its state is set, and stays");
        let line = entry.change(state);
        drop(entries);
        match line {
            Some(Line::Down(reason)) => tracing::warn!(dependency = self.name, reason, "down"),
            Some(Line::WorksAgain { after }) => {
                let down_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(dependency = self.name, down_ms, "works again");
            }
            None => {}
        }
    }

    /// Sets the state unless it is [`State::Down`].
    pub fn set_first(&self, state: State) {
        if !matches!(self.state(), State::Down(_)) {
            self.set(state);
        }
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.health.state(self.name).expect("a dependency stays")
    }

    /// Sets [`State::Down`], or [`State::Ok`] for `None`.
    pub fn set_fault(&self, reason: Option<String>) {
        self.set(reason.map_or(State::Ok, State::Down));
    }

    /// Whether it works.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.state() == State::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_required_dependency_that_is_not_ok_makes_the_server_unready() {
        let health = Health::default();
        assert!(health.is_ready(), "nothing is needed");
        let store = health.depends_on("store", Need::Required);
        let redis = health.depends_on("redis", Need::Optional);
        assert!(!health.is_ready(), "it is starting");
        store.set(State::Ok);
        assert!(health.is_ready());
        redis.set(State::Down("timeout".into()));
        assert!(health.is_ready(), "it can do without");
        store.set_fault(Some("the disk is full".into()));
        assert!(!health.is_ready());
        let shown: Vec<String> =
            health.reports().iter().map(|report| report.state.to_string()).collect();
        assert_eq!(shown, ["down: the disk is full", "down: timeout"]);
        store.set_fault(None);
        assert!(health.is_ready() && store.is_ok());
    }

    #[test]
    fn a_dependency_that_is_added_twice_is_one() {
        let health = Health::default();
        health.depends_on("store", Need::Required).set(State::Ok);
        let again = health.depends_on("store", Need::Required);
        assert!(again.is_ok());
        assert_eq!(health.reports().len(), 1);
    }

    #[test]
    fn a_change_of_the_reason_does_not_begin_another_outage() {
        let health = Health::default();
        let store = health.depends_on("store", Need::Required);
        store.set_fault(Some("no answer".into()));
        let since = health.entries()[0].since;
        store.set_fault(Some("locked".into()));
        assert_eq!(health.entries()[0].since, since);
        store.set_fault(None);
        assert_ne!(health.entries()[0].since, since);
    }

    #[test]
    fn a_start_is_not_logged_and_the_end_of_an_outage_is_logged_once() {
        let health = Health::default();
        let redis = health.depends_on("redis", Need::Required);
        let change = |state: State| health.entries()[0].change(state);
        assert_eq!(change(State::Pending("joining")), None);
        assert!(!redis.is_ok() && !health.is_ready());
        assert_eq!(change(State::Ok), None, "it starts");
        let down = || State::Down("no answer".into());
        assert_eq!(change(down()), Some(Line::Down("no answer".into())));
        assert_eq!(change(down()), None);
        assert_eq!(change(State::Pending("joining")), None);
        assert!(matches!(change(State::Ok), Some(Line::WorksAgain { .. })), "after a way back too");
        assert_eq!(change(State::Pending("joining")), None);
        assert_eq!(change(State::Ok), None, "nothing has failed");
    }
}
