//! Why a command of Redis failed.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a command failed, by what the caller can do. Contains no text of the server but its error
/// code.
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
    /// Any other error of the server, by its code.
    #[error("error {0}")]
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
            Failure::Down | Failure::Timeout | Failure::NotWritable(_) | Failure::Unauthenticated
        )
    }

    /// The label in metrics and `/ready`.
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
                // The error of a command inside a script has its code in the text only.
                "ERR" if is_of_script(&error, "OOM") => Failure::OutOfMemory,
                "ERR" if is_of_script(&error, "READONLY") => Failure::NotWritable(code),
                _ if matches!(error.kind(), ErrorKind::Server(ResponseError)) => {
                    Failure::Refused("ERR".into())
                }
                _ => Failure::Refused(code),
            },
        }
    }
}

fn is_of_script(error: &RedisError, code: &str) -> bool {
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
