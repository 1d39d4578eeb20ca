//! Why a connection ended.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Eof,
    Reset,
    Close(u16),
    EngineClose,
    Malformed(&'static str),
    /// The server refused: HTTP status, CONNECT error, refused join.
    Refused(String),
    Tls(String),
    /// What was not answered within `connect.timeout_ms`, and that time.
    Timeout(&'static str, u64),
}

impl Ended {
    /// The name under which the report counts it.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Eof => "closed: end of stream".into(),
            Self::Reset => "closed: reset".into(),
            Self::Close(code) => format!("closed: {code}"),
            Self::EngineClose => "closed: engine".into(),
            Self::Malformed(what) => format!("malformed: {what}"),
            Self::Refused(what) => format!("refused: {what}"),
            Self::Tls(why) => format!("tls: {why}"),
            Self::Timeout(what, ms) => format!("timeout: {what} was not answered within {ms} ms"),
        }
    }
}
