//! Users that are given, where none can be registered: their tokens, and where a client puts one.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};

use crate::client::http::percent_encode;
use crate::client::options::Options;

/// The users of a run, as tokens of any kind.
#[derive(Debug)]
pub struct Credentials {
    source: Source,
    places: Vec<Place>,
    taken: AtomicUsize,
}

#[derive(Debug)]
enum Source {
    Listed(Vec<String>),
    /// A command line that prints a token.
    Command(String),
}

/// Where a client puts its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A parameter of the handshake's query.
    Query(String),
    /// A member of the payload of CONNECT; protocol 4 only.
    Auth(String),
    /// The header `Authorization: Bearer` of the handshake.
    Bearer,
}

impl Place {
    /// # Errors
    /// It is not `query:NAME`, `auth:NAME` or `bearer`.
    pub fn parse(text: &str) -> Result<Place, String> {
        match text.split_once(':') {
            Some(("query", name)) if !name.is_empty() => Ok(Place::Query(name.to_owned())),
            Some(("auth", name)) if !name.is_empty() => Ok(Place::Auth(name.to_owned())),
            None if text == "bearer" => Ok(Place::Bearer),
            _ => Err(format!("{text:?} is none of query:NAME, auth:NAME and bearer")),
        }
    }
}

impl Credentials {
    /// The tokens of a file, one per line.
    ///
    /// # Errors
    /// It cannot be read, or has no token.
    pub fn listed(file: &Path, places: Vec<Place>) -> Result<Credentials, String> {
        let named = |why: String| format!("{}: {why}", file.display());
        let text = std::fs::read_to_string(file).map_err(|why| named(why.to_string()))?;
        let tokens = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let tokens: Vec<String> = tokens.map(str::to_owned).collect();
        if tokens.is_empty() {
            return Err(named("has no token; it must have one per line".to_owned()));
        }
        Ok(Credentials::new(Source::Listed(tokens), places))
    }

    /// The tokens that a command line prints, one per call.
    pub fn printed(command: String, places: Vec<Place>) -> Credentials {
        Credentials::new(Source::Command(command), places)
    }

    fn new(source: Source, places: Vec<Place>) -> Credentials {
        Credentials { source, places, taken: AtomicUsize::new(0) }
    }

    /// Whether the same users are used again and again.
    pub fn are_listed(&self) -> bool {
        matches!(self.source, Source::Listed(_))
    }

    /// A token for a session: the next of the list, again from its beginning, or a new one.
    ///
    /// # Errors
    /// The command failed.
    pub fn next(&self) -> Result<String, String> {
        match &self.source {
            Source::Command(command) => printed_by(command),
            Source::Listed(tokens) => {
                let taken = self.taken.fetch_add(1, Ordering::Relaxed);
                Ok(tokens[taken % tokens.len()].clone())
            }
        }
    }

    /// The token of the user with this number in a case, from 0; `None`: there are not so many.
    ///
    /// # Errors
    /// The command failed.
    pub fn of_user(&self, number: usize) -> Result<Option<String>, String> {
        match &self.source {
            Source::Command(command) => printed_by(command).map(Some),
            Source::Listed(tokens) => Ok(tokens.get(number).cloned()),
        }
    }

    /// What a handshake by hand adds to its query: each parameter with `&` before it.
    pub fn query(&self, token: &str) -> String {
        let parameter = |(name, value): (String, String)| {
            format!("&{}={}", percent_encode(&name), percent_encode(&value))
        };
        self.parameters(token).into_iter().map(parameter).collect()
    }

    fn parameters(&self, token: &str) -> Vec<(String, String)> {
        let name = |place: &Place| match place {
            Place::Query(name) => Some((name.clone(), token.to_owned())),
            Place::Auth(_) | Place::Bearer => None,
        };
        self.places.iter().filter_map(name).collect()
    }

    /// The payload of a CONNECT by hand.
    pub fn auth(&self, token: &str) -> Option<Value> {
        let member = |place: &Place| match place {
            Place::Auth(name) => Some((name.clone(), Value::from(token))),
            Place::Query(_) | Place::Bearer => None,
        };
        let members: Map<String, Value> = self.places.iter().filter_map(member).collect();
        (!members.is_empty()).then_some(Value::Object(members))
    }

    /// Whether the handshake has the token in a header.
    pub fn are_in_header(&self) -> bool {
        self.places.contains(&Place::Bearer)
    }

    /// A client with this token. What else it has in the payload of CONNECT stays.
    pub fn options(&self, token: &str, options: Options) -> Options {
        let auth = match (options.auth, self.auth(token)) {
            (Some(Value::Object(own)), Some(Value::Object(more))) => {
                Some(own.into_iter().chain(more).collect())
            }
            (own, more) => more.or(own),
        };
        Options {
            query: self.parameters(token),
            auth,
            bearer: self.are_in_header().then(|| token.to_owned()),
            ..options
        }
    }
}

/// A command that takes longer to print a token hangs.
const COMMAND_WAIT: Duration = Duration::from_secs(30);

fn printed_by(command: &str) -> Result<String, String> {
    printed_within(command, COMMAND_WAIT)
}

fn printed_within(command: &str, wait: Duration) -> Result<String, String> {
    #[expect(clippy::disallowed_methods, reason = "the command line is the user's")]
    let child = std::process::Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("`{command}`: {why}"))?;
    let pid = Pid::from_child(&child);
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more when it has taken too long.
        let _ = done.send(child.wait_with_output());
    });
    let Ok(output) = ended.recv_timeout(wait) else {
        let _ = kill_process(pid, Signal::KILL);
        return Err(format!("`{command}` did not end within {wait:?}"));
    };
    let output = output.map_err(|why| format!("`{command}`: {why}"))?;
    let failed = || {
        let stderr = String::from_utf8_lossy(&output.stderr);
        format!("`{command}` ended with {}: {}", output.status, stderr.trim())
    };
    if !output.status.success() {
        return Err(failed());
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    match printed.trim() {
        "" => Err(format!("`{command}` printed no token")),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_goes_where_it_is_to_go() {
        let places = ["query:t k", "auth:token", "bearer"].map(|text| Place::parse(text).unwrap());
        let credentials = Credentials::printed("echo ' a.b '".to_owned(), places.to_vec());
        let token = credentials.next().unwrap();
        assert_eq!(token, "a.b");
        assert_eq!(credentials.query("a/b"), "&t%20k=a%2Fb");
        assert_eq!(credentials.auth(&token), Some(json!({ "token": "a.b" })));
        let none = Credentials::printed("true".to_owned(), vec![Place::Bearer]);
        assert_eq!(
            (none.query("x"), none.auth("x"), none.are_in_header()),
            (String::new(), None, true)
        );
    }

    #[test]
    fn places_that_are_none_are_named() {
        for text in ["", "query", "query:", "cookie:x", "bearer:x", "Bearer"] {
            assert!(Place::parse(text).unwrap_err().contains("query:NAME"), "{text}");
        }
    }

    #[test]
    fn a_command_that_gives_no_token_is_named() {
        for (command, what) in [("exit 3", "exit 3"), ("true", "printed no token")] {
            let credentials = Credentials::printed(command.to_owned(), Vec::new());
            assert!(credentials.next().unwrap_err().contains(what), "{command}");
        }
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let hung = printed_within("exec sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(hung.contains("did not end within 50ms"), "{hung}");
        assert_eq!(printed_within("echo a", COMMAND_WAIT), Ok("a".to_owned()));
    }
}
