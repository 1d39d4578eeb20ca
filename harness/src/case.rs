//! What a conformance case is, and what it can say.

use std::fmt;

use throng_spec::Level;

use crate::client::Trouble;
use crate::client::socket::Transport;
use crate::codec::engine::Protocol;
use crate::context::Context;

/// How a case speaks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Combo {
    pub protocol: Protocol,
    pub transport: Transport,
}

impl fmt::Display for Combo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.protocol.name(), self.transport.name())
    }
}

const fn combo(protocol: Protocol, transport: Transport) -> Combo {
    Combo { protocol, transport }
}

pub const E3P: Combo = combo(Protocol::Eio3, Transport::Polling);
pub const E3W: Combo = combo(Protocol::Eio3, Transport::Websocket);
pub const E4P: Combo = combo(Protocol::Eio4, Transport::Polling);
pub const E4W: Combo = combo(Protocol::Eio4, Transport::Websocket);

/// No session is the subject: the case runs once, whatever is selected.
pub const NONE: &[Combo] = &[];
pub const EVERY: &[Combo] = &[E4W, E4P, E3W, E3P];
pub const EIO4: &[Combo] = &[E4W, E4P];
pub const EIO3: &[Combo] = &[E3W, E3P];
pub const POLLING: &[Combo] = &[E4P, E3P];
pub const WEBSOCKET: &[Combo] = &[E4W, E3W];

/// What a target must offer before a case makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Both transports, and the move from one to the other.
    Upgrade,
    /// The HTTP API and the chat events.
    Chat,
    /// The echo surface: `message` is answered with `message-back`.
    Echo,
    /// Either of the two: something that answers events.
    Application,
    /// More than one node.
    Nodes,
    /// Leave to kill nodes and start them again.
    NodeCommand,
}

pub struct Case {
    pub id: &'static str,
    pub clauses: &'static [&'static str],
    pub over: &'static [Combo],
    pub needs: &'static [Need],
    pub does: &'static str,
    pub expects: &'static str,
    pub run: fn(&Context) -> Outcome,
}

impl Case {
    /// The strongest level among the clauses the case is tied to.
    pub fn level(&self) -> Level {
        let levels = self.clauses.iter().filter_map(|id| throng_spec::clause(id));
        levels.map(|clause| clause.level).max().unwrap_or(Level::Must)
    }
}

/// Shorthand for the tables of cases.
pub const fn case(
    id: &'static str,
    clauses: &'static [&'static str],
    over: &'static [Combo],
    needs: &'static [Need],
    texts: (&'static str, &'static str),
    run: fn(&Context) -> Outcome,
) -> Case {
    Case { id, clauses, over, needs, does: texts.0, expects: texts.1, run }
}

/// Why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    Fail { expected: String, observed: String },
    Skip(String),
    Error(String),
}

pub type Outcome = Result<(), Stop>;

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Stop {
        match trouble {
            Trouble::Unreachable(why) => Stop::Error(format!("cannot connect: {why}")),
            // An empty expectation stands for that of the case.
            other => Stop::Fail { expected: String::new(), observed: other.to_string() },
        }
    }
}

pub fn fail<T>(expected: impl Into<String>, observed: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fail { expected: expected.into(), observed: observed.into() })
}

pub fn skip<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(reason.into()))
}

/// Fails unless `holds`; the observation is only written down when it does not.
pub fn require(holds: bool, expected: &str, observed: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { fail(expected, observed()) }
}

pub fn equal<T: PartialEq + fmt::Debug>(what: &str, observed: &T, expected: &T) -> Outcome {
    require(observed == expected, &format!("{what} is {expected:?}"), || {
        format!("{what} is {observed:?}")
    })
}
