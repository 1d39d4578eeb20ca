//! Why Redis did not do what it was asked.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What the caller can act on. Holds no text of the peer but its error code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection, or it broke.
    #[error("down")]
    Down,
    /// It did not answer in time; whether it did the work is unknown.
    #[error("timeout")]
    Timeout,
    /// `OOM`: writes are refused until something is freed.
    #[error("out of memory")]
    OutOfMemory,
    /// Wrong user or password, or none.
    #[error("authentication failed")]
    Unauthenticated,
    /// The user has no right to the command or the key.
    #[error("permission denied")]
    Denied,
    /// The server cannot take writes now: a failover, a replica, a dataset being loaded.
    #[error("not writable ({0})")]
    NotWritable(String),
    /// Any other error of the server, by its code.
    #[error("refused ({0})")]
    Refused(String),
    /// The answer is not what the command answers.
    #[error("unexpected answer")]
    Unexpected,
}

impl Failure {
    /// The connection is of no more use: it may hang, or lead to a server that lost its role.
    pub fn breaks_connection(&self) -> bool {
        matches!(
            self,
            Failure::Down | Failure::Timeout | Failure::NotWritable(_) | Failure::Unauthenticated
        )
    }

    /// A word for metrics and `/ready`.
    pub fn name(&self) -> &'static str {
        match self {
            Failure::Down => "down",
            Failure::Timeout => "timeout",
            Failure::OutOfMemory => "oom",
            Failure::Unauthenticated => "auth",
            Failure::Denied => "denied",
            Failure::NotWritable(_) => "not_writable",
            Failure::Refused(_) => "refused",
            Failure::Unexpected => "unexpected",
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Failure {
        use ServerErrorKind::{
            BusyLoading, ClusterDown, MasterDown, NoPerm, ReadOnly, ResponseError, TryAgain,
        };
        let code = error.code().unwrap_or_default().to_owned();
        match error.kind() {
            ErrorKind::AuthenticationFailed => Failure::Unauthenticated,
            ErrorKind::Server(NoPerm) => Failure::Denied,
            ErrorKind::Io if error.is_timeout() => Failure::Timeout,
            ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::EmptySentinelList => Failure::Down,
            ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain) => {
                Failure::NotWritable(code)
            }
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Failure::Unexpected,
            _ => match code.as_str() {
                "OOM" => Failure::OutOfMemory,
                "NOAUTH" | "WRONGPASS" => Failure::Unauthenticated,
                // A master whose replicas are gone, or whose disk is full.
                "NOREPLICAS" | "MISCONF" | "UNKILLABLE" => Failure::NotWritable(code),
                // A script says the code of the command that failed in it in its text only.
                "ERR" if said_by_script(&error, "OOM") => Failure::OutOfMemory,
                "ERR" if said_by_script(&error, "READONLY") => Failure::NotWritable(code),
                _ if matches!(error.kind(), ErrorKind::Server(ResponseError)) => {
                    Failure::Refused("ERR".into())
                }
                _ => Failure::Refused(code),
            },
        }
    }
}

fn said_by_script(error: &RedisError, code: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(code))
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
