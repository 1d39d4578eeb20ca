//! Engine.IO and Socket.IO packets, written from the protocol texts for plainness, not for speed.
//!
//! Nothing here is shared with a server: when the two disagree, the written protocol decides.

pub mod engine;
pub mod payload;
pub mod socket;

/// Why bytes are not a packet, in words for a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

pub(crate) fn malformed<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}
