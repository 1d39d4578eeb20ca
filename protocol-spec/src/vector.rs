use serde::Deserialize;
use serde_json::Value;

/// Name and text of every file of the folder, by name; `build.rs` lists them.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/vectors.rs"));

/// Who sends the bytes: `c2s` is client to server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    C2s,
    S2c,
    Both,
}

/// The Engine.IO version under which the vector holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Eio3,
    Eio4,
    Any,
}

/// What a receiver does with the bytes; `Either` where the text leaves a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Accept,
    Reject,
    Either,
}

/// Where a vector comes from. There is deliberately no value for our own codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    UpstreamText,
    ReferenceRecorded,
    Rfc6455,
    Hand,
}

/// An example of a clause.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Id of the clause.
    pub clause: String,
    /// Unique within its file.
    pub name: String,
    pub dir: Direction,
    pub protocol: Protocol,
    /// What the bytes are, for example `payload-text`.
    pub form: String,
    /// Wire form in hexadecimal. Exactly one of `bytes` and `text` is present.
    #[serde(default)]
    pub bytes: Option<String>,
    #[serde(default)]
    pub text: Option<String>,
    /// Binary frames that follow, in hexadecimal.
    #[serde(default)]
    pub attachments: Vec<String>,
    pub verdict: Verdict,
    /// Structured decode of an accepted vector; `null` for a rejected one.
    #[serde(default)]
    pub meaning: Value,
    pub origin: Origin,
    /// Document and section, or package and version.
    pub source: String,
}

impl Vector {
    /// The bytes on the wire.
    ///
    /// # Errors
    /// A sentence, when the hexadecimal is malformed, or unless exactly one of `bytes` and `text` is
    /// present.
    pub fn wire(&self) -> Result<Vec<u8>, String> {
        match (&self.bytes, &self.text) {
            (Some(hex), None) => {
                unhex(hex).ok_or_else(|| format!("{}: not hexadecimal", self.name))
            }
            (None, Some(text)) => Ok(text.clone().into_bytes()),
            _ => Err(format!("{}: needs bytes or text", self.name)),
        }
    }

    /// The binary frames that follow.
    ///
    /// # Errors
    /// A sentence, when one is not hexadecimal.
    pub fn attachments(&self) -> Result<Vec<Vec<u8>>, String> {
        self.attachments
            .iter()
            .map(|hex| unhex(hex).ok_or_else(|| format!("{}: not hexadecimal", self.name)))
            .collect()
    }
}

/// Names of the vector files.
pub fn vector_files() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The vectors of a file: `vectors("engine_io_packets")`.
///
/// # Panics
/// When there is no such file, or a line is not a vector; the tests of this crate read all of them.
pub fn vectors(name: &str) -> Vec<Vector> {
    let (_, text) = FILES
        .iter()
        .find(|(file, _)| *file == name)
        .unwrap_or_else(|| panic!("no vector file {name}"));
    parse(text).unwrap_or_else(|fault| panic!("{name}.jsonl: {fault}"))
}

pub(crate) fn parse(text: &str) -> Result<Vec<Vector>, String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|fault| format!("line {}: {fault}", index + 1))
        })
        .collect()
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}
