//! Why a command of Redis failed.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::unwritable::Unwritable;

/// Codes of errors that [`Failure::Refused`] may name.
const CODES: [&str; 8] =
    ["ERR", "WRONGTYPE", "BUSY", "NOSCRIPT", "CROSSSLOT", "MOVED", "ASK", "EXECABORT"];
/// Names of failures, and their causes for people.
const CAUSES: [(&str, &str); 11] = [
    ("down", "there is no connection to Redis"),
    ("timeout", "Redis does not answer in time"),
    ("oom", "Redis is full (maxmemory is reached)"),
    ("auth", "Redis rejects the login"),
    ("denied", "the user of Redis has no right to a command or a key"),
    ("misconf", "Redis refuses writes because it cannot save to its disk"),
    ("no_replicas", "Redis refuses writes because too few replicas follow it"),
    (
        "not_writable",
        "Redis accepts no writes now: it is a replica, loads its data or changes its role",
    ),
    ("no_database", "Redis refuses the database of its URL"),
    ("refused", "Redis answers with an error"),
    ("unexpected", "Redis answers in a form that the command does not have"),
];
/// How the crate `redis` describes an error of `SELECT` while it connects; it drops the code.
const NOT_SELECTED: &str = "Redis server refused to switch database";
/// Codes that Redis before 7 puts into the text of an error of a script.
const CODES_IN_SCRIPTS: [&str; 4] = ["OOM", "READONLY", "MISCONF", "NOREPLICAS"];

/// Why a command failed, by what the caller can do. Contains no text of the server but its error
/// code, and its words about the database of the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection, or it was lost.
    #[error("no connection")]
    Down,
    /// No answer in time; whether the command was executed is unknown.
    #[error("timeout")]
    Timeout,
    /// `OOM`: writes are rejected until memory is freed.
    #[error("out of memory")]
    OutOfMemory,
    /// Wrong or missing user or password.
    #[error("authentication failed")]
    Unauthenticated,
    /// The user may not execute the command or access the key.
    #[error("permission denied")]
    Denied,
    /// The server accepts no writes now: a failover, a replica, a dataset being loaded.
    #[error("not writable ({0})")]
    NotWritable(String),
    /// The database of the URL is refused, in the words of Redis.
    #[error("Redis refuses the database of its URL: {0}")]
    NoDatabase(String),
    /// Any other error of the server, by its code.
    #[error("Redis answers with an error: {0}")]
    Refused(String),
    /// The answer does not have the form of the command's answers.
    #[error("unexpected answer")]
    Unexpected,
}

impl Failure {
    /// Whether to discard the connection: it may hang, or its server may have lost its role.
    pub fn breaks_connection(&self) -> bool {
        matches!(
            self,
            Failure::Down
                | Failure::Timeout
                | Failure::NotWritable(_)
                | Failure::NoDatabase(_)
                | Failure::Unauthenticated
        )
    }

    /// The state of Redis that refuses writes until it is mended, if it is one.
    pub fn unwritable(&self) -> Option<Unwritable> {
        match self {
            Failure::OutOfMemory => Some(Unwritable::Full),
            Failure::NotWritable(code) => Unwritable::of(code),
            Failure::Down
            | Failure::Timeout
            | Failure::Unauthenticated
            | Failure::Denied
            | Failure::NoDatabase(_)
            | Failure::Refused(_)
            | Failure::Unexpected => None,
        }
    }

    /// The word for the cluster's state machine; [`cause`] says it for people.
    pub fn name(&self) -> &'static str {
        match self {
            Failure::Down => "down",
            Failure::Timeout => "timeout",
            Failure::OutOfMemory => "oom",
            Failure::Unauthenticated => "auth",
            Failure::Denied => "denied",
            Failure::NotWritable(_) => match self.unwritable() {
                Some(Unwritable::Full) => "oom",
                Some(Unwritable::NotSaved) => "misconf",
                Some(Unwritable::TooFewReplicas) => "no_replicas",
                None => "not_writable",
            },
            Failure::NoDatabase(_) => "no_database",
            Failure::Refused(code) => {
                CODES.into_iter().find(|known| *known == code.as_str()).unwrap_or("refused")
            }
            Failure::Unexpected => "unexpected",
        }
    }
}

/// The cause of a [`Failure::name`], for `/ready` and the log. Another word is returned as it is.
pub fn cause(name: &str) -> String {
    match CAUSES.iter().find(|(known, _)| *known == name) {
        Some((_, cause)) => (*cause).to_owned(),
        None if CODES.contains(&name) => format!("Redis answers with an error: {name}"),
        None => name.to_owned(),
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Failure {
        use ServerErrorKind::{
            BusyLoading, ClusterDown, MasterDown, NoPerm, ReadOnly, ResponseError, TryAgain,
        };
        if let Some(failure) = of_database(&error) {
            return failure;
        }
        let code = code(&error);
        match error.kind() {
            ErrorKind::AuthenticationFailed => Failure::Unauthenticated,
            ErrorKind::Server(NoPerm) => Failure::Denied,
            ErrorKind::Io if error.is_timeout() => Failure::Timeout,
            ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::EmptySentinelList => Failure::Down,
            ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain) => {
                Failure::NotWritable(code.to_owned())
            }
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Failure::Unexpected,
            _ => match code {
                "OOM" => Failure::OutOfMemory,
                "NOAUTH" | "WRONGPASS" => Failure::Unauthenticated,
                // A master whose replicas are gone, or whose disk is full.
                "READONLY" | "NOREPLICAS" | "MISCONF" | "UNKILLABLE" => {
                    Failure::NotWritable(code.to_owned())
                }
                _ if matches!(error.kind(), ErrorKind::Server(ResponseError)) => {
                    Failure::Refused("ERR".into())
                }
                _ => Failure::Refused(code.to_owned()),
            },
        }
    }
}

/// The failure, if the database of the URL was refused at the login.
fn of_database(error: &RedisError) -> Option<Failure> {
    let is_response = error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError);
    if !is_response || !error.to_string().starts_with(NOT_SELECTED) {
        return None;
    }
    Some(match error.detail().unwrap_or_default() {
        // The URL has no password, and Redis wants one.
        words if words.starts_with("Authentication required") => Failure::Unauthenticated,
        words => Failure::NoDatabase(words.to_owned()),
    })
}

/// The code of the error. That of a command inside a script may be in the text only.
fn code(error: &RedisError) -> &str {
    match error.code().unwrap_or_default() {
        "ERR" => {
            let text = error.detail().unwrap_or_default();
            CODES_IN_SCRIPTS.into_iter().find(|code| text.contains(code)).unwrap_or("ERR")
        }
        code => code,
    }
}

impl From<redis::ParsingError> for Failure {
    fn from(_: redis::ParsingError) -> Failure {
        Failure::Unexpected
    }
}

impl From<bb8::RunError<Failure>> for Failure {
    fn from(error: bb8::RunError<Failure>) -> Failure {
        match error {
            bb8::RunError::User(failure) => failure,
            bb8::RunError::TimedOut => Failure::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, cause};

    #[test]
    fn every_failure_has_a_cause_in_words() {
        let not_writable = |code: &str| Failure::NotWritable(code.into());
        let refused = |code: &str| Failure::Refused(code.into());
        for (failure, expected) in [
            (Failure::Down, "there is no connection to Redis"),
            (Failure::Timeout, "Redis does not answer in time"),
            (Failure::OutOfMemory, "Redis is full (maxmemory is reached)"),
            (Failure::Unauthenticated, "Redis rejects the login"),
            (Failure::Denied, "the user of Redis has no right to a command or a key"),
            (not_writable("MISCONF"), "Redis refuses writes because it cannot save to its disk"),
            (not_writable("NOREPLICAS"), "Redis refuses writes because too few replicas follow it"),
            (
                not_writable("READONLY"),
                "Redis accepts no writes now: it is a replica, loads its data or changes its role",
            ),
            (Failure::NoDatabase("words".into()), "Redis refuses the database of its URL"),
            (refused("WRONGTYPE"), "Redis answers with an error: WRONGTYPE"),
            (refused("ERR"), "Redis answers with an error: ERR"),
            (refused("OTHER"), "Redis answers with an error"),
            (Failure::Unexpected, "Redis answers in a form that the command does not have"),
        ] {
            assert_eq!(cause(failure.name()), expected, "{failure:?}");
        }
    }
}
