//! What a case can report, and the checks that report it.

use serde::Serialize;
use throng_codec::Malformed;

use crate::client::ClientError;

/// Why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    Fail { expected: String, observed: String },
    Skip(String),
    Error(String),
}

pub type Outcome = Result<(), Stop>;

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Stop {
        match error {
            ClientError::Unreachable(why) => Stop::Error(format!("cannot connect: {why}")),
            ClientError::Withheld(why) => Stop::Skip(why),
            // An empty expectation means that of the case.
            other => Stop::Fail { expected: String::new(), observed: other.to_string() },
        }
    }
}

impl From<Malformed> for Stop {
    fn from(why: Malformed) -> Stop {
        ClientError::from(why).into()
    }
}

pub fn fail<T>(expected: impl Into<String>, observed: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fail { expected: expected.into(), observed: observed.into() })
}

pub fn skip<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(reason.into()))
}

/// Fails unless `holds`; the observation is formatted only on failure.
pub fn require(holds: bool, expected: &str, observed: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { fail(expected, observed()) }
}

pub fn equal<T: PartialEq + Serialize>(what: &str, observed: &T, expected: &T) -> Outcome {
    require(observed == expected, &format!("{what} is {}", shown(expected)), || {
        format!("{what} is {}", shown(observed))
    })
}

/// A value as reports show it: as JSON.
pub fn shown<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_shown_as_json() {
        let Err(Stop::Fail { expected, observed }) =
            equal("the name", &json!({ "n": [1, null] }), &json!("u\n"))
        else {
            panic!("they differ");
        };
        assert_eq!(expected, r#"the name is "u\n""#);
        assert_eq!(observed, r#"the name is {"n":[1,null]}"#);
        assert_eq!(shown(&None::<u64>), "null");
    }
}
