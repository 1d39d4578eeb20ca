//! States in which Redis answers reads and refuses writes until somebody mends it, or it mends itself.

use std::fmt;

/// Why Redis refuses writes for now. Its `Display` form names the cause and its cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritable {
    /// `OOM`: `maxmemory` is reached, and nothing may be dropped.
    Full,
    /// `MISCONF`: it could not write its file.
    NotSaved,
    /// `NOREPLICAS`: fewer replicas follow it than `min-replicas-to-write`.
    TooFewReplicas,
}

impl Unwritable {
    /// By the code of the error.
    pub(crate) fn of(code: &str) -> Option<Unwritable> {
        match code {
            "OOM" => Some(Unwritable::Full),
            "MISCONF" => Some(Unwritable::NotSaved),
            "NOREPLICAS" => Some(Unwritable::TooFewReplicas),
            _ => None,
        }
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unwritable::Full => {
                "Redis is full: raise maxmemory, or remove what other programs keep there"
            }
            Unwritable::NotSaved => {
                "Redis refuses writes because it cannot save to its disk: look into its log and make its directory \
                 writable"
            }
            Unwritable::TooFewReplicas => {
                "Redis refuses writes because too few replicas follow it: start them, or lower min-replicas-to-write"
            }
        })
    }
}
