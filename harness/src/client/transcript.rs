//! The frames of every client, for the report of a failed case.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

/// Lines beyond this number are counted, not kept.
const LINES_MAX: usize = 4_000;
/// Longer frames are cut in the transcript, never on the wire.
const TEXT_MAX: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Sent,
    Received,
    Note,
}

#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub at_us: u64,
    pub who: String,
    pub direction: Direction,
    pub text: String,
}

impl Line {
    pub fn render(&self) -> String {
        let arrow = match self.direction {
            Direction::Sent => "-->",
            Direction::Received => "<--",
            Direction::Note => "  #",
        };
        let ms = self.at_us as f64 / 1_000.0;
        format!("{ms:>10.3} ms  {:<12} {arrow} {}", self.who, self.text)
    }
}

#[derive(Clone)]
pub struct Transcript(Arc<Inner>);

/// An answer of the HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub status: u16,
    pub is_json_typed: bool,
    /// `null` if it is not JSON.
    pub body: Value,
}

struct Inner {
    start: Instant,
    answered: Mutex<Vec<Answered>>,
    /// Time that the case has waited because the target asked for it, in milliseconds.
    paused_ms: AtomicU64,
    lines: Mutex<Vec<Line>>,
}

impl Default for Transcript {
    fn default() -> Self {
        Transcript(Arc::new(Inner {
            start: Instant::now(),
            answered: Mutex::default(),
            paused_ms: AtomicU64::new(0),
            lines: Mutex::new(Vec::new()),
        }))
    }
}

impl Transcript {
    pub fn log(&self, who: &str) -> Log {
        Log { transcript: self.clone(), who: who.into() }
    }

    /// How long the case has waited because the target asked for it.
    pub fn paused(&self) -> Duration {
        Duration::from_millis(self.0.paused_ms.load(Ordering::Relaxed))
    }

    /// The case has waited for others.
    pub fn note_pause(&self, time: Duration) {
        self.0.paused_ms.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// The answers of the HTTP API since this was last asked for.
    pub fn take_answered(&self) -> Vec<Answered> {
        let mut answered = self.0.answered.lock().expect("no thread panics while it adds one");
        std::mem::take(&mut *answered)
    }

    pub fn lines(&self) -> Vec<Line> {
        self.guard().clone()
    }

    /// Takes the lines of another transcript, with the times they had there.
    pub fn absorb(&self, lines: Vec<Line>) {
        *self.guard() = lines;
    }

    fn guard(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lines.lock().expect("no thread panics while it writes a transcript line")
    }
}

/// Writes the lines of one client.
#[derive(Clone)]
pub struct Log {
    transcript: Transcript,
    who: Arc<str>,
}

impl Log {
    pub fn sent(&self, text: impl AsRef<str>) {
        self.line(Direction::Sent, text.as_ref());
    }

    pub fn received(&self, text: impl AsRef<str>) {
        self.line(Direction::Received, text.as_ref());
    }

    /// Keeps an answer of the HTTP API for the end of the case.
    pub fn answered(&self, answered: Answered) {
        let mut all =
            self.transcript.0.answered.lock().expect("no thread panics while it adds one");
        if all.len() < LINES_MAX {
            all.push(answered);
        }
    }

    pub fn note(&self, text: impl AsRef<str>) {
        self.line(Direction::Note, text.as_ref());
    }

    /// Waits because the target asks for it, or to stay within what it takes.
    pub fn pause(&self, time: Duration, why: &str) {
        self.note(format!("waits {time:?}: {why}"));
        // Counted before: it must not be taken for the time of the case meanwhile.
        self.transcript.0.paused_ms.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
        thread::sleep(time);
    }

    fn line(&self, direction: Direction, text: &str) {
        let mut lines = self.transcript.guard();
        if lines.len() >= LINES_MAX {
            return;
        }
        // Cut first: a case may send megabytes, and has heartbeats to answer meanwhile.
        let cut = (0..=TEXT_MAX.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        let shown = &text[..cut.unwrap_or(0)];
        let mut line: String = shown.escape_debug().to_string().replace("\\\"", "\"");
        if shown.len() < text.len() {
            line.push_str(&format!("… ({} bytes)", text.len()));
        }
        let at_us = self.transcript.0.start.elapsed().as_micros() as u64;
        lines.push(Line { at_us, who: self.who.to_string(), direction, text: line });
    }
}
