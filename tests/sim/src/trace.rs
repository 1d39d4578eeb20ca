//! What happened, as lines for people and as one number for the comparison of two runs.

use std::hash::{DefaultHasher, Hasher};

#[derive(Default)]
pub struct Trace {
    lines: Option<Vec<String>>,
    hash: DefaultHasher,
}

impl Trace {
    /// Keeps the lines as well as their hash.
    pub fn readable() -> Trace {
        Trace { lines: Some(Vec::new()), hash: DefaultHasher::new() }
    }

    pub fn note(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
    }

    pub fn number(&mut self, number: u64) {
        self.hash.write_u64(number);
    }

    pub fn line(&mut self, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(text());
        }
    }

    pub fn digest(&self) -> u64 {
        self.hash.finish()
    }

    pub fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
