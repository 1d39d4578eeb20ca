//! The search for the shortest, lowest stream that still fails in the same way.

use crate::entropy::{PRELUDE, RECORD, Stream};
use crate::run::{Options, run};

/// Runs at most `budget` candidates.
pub fn shrink(stream: &Stream, options: Options, budget: usize) -> Stream {
    let Some(first) = run(stream, options).violation else { return stream.clone() };
    let mut search = Search { options, checker: first.checker, left: budget };
    let mut best = stream.clone();
    search.truncate(&mut best);
    search.remove_blocks(&mut best);
    search.lower_bytes(&mut best);
    search.remove_blocks(&mut best);
    best
}

struct Search {
    options: Options,
    checker: &'static str,
    left: usize,
}

impl Search {
    fn fails(&mut self, candidate: &Stream) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        run(candidate, self.options).violation.is_some_and(|v| v.checker == self.checker)
    }

    /// The fault may show long before the end.
    fn truncate(&mut self, best: &mut Stream) {
        let (mut low, mut high) = (0, records(best));
        while low < high && self.left > 0 {
            let middle = low.midpoint(high);
            let candidate = Stream(best.0[..PRELUDE + middle * RECORD].to_vec());
            if self.fails(&candidate) { high = middle } else { low = middle + 1 }
        }
        let candidate = Stream(best.0[..PRELUDE + high * RECORD].to_vec());
        if self.fails(&candidate) {
            *best = candidate;
        }
    }

    fn remove_blocks(&mut self, best: &mut Stream) {
        let mut size = (records(best) / 2).max(1);
        loop {
            let mut at = 0;
            while at + size <= records(best) && self.left > 0 {
                let mut bytes = best.0.clone();
                bytes.drain(PRELUDE + at * RECORD..PRELUDE + (at + size) * RECORD);
                let candidate = Stream(bytes);
                if self.fails(&candidate) { *best = candidate } else { at += size }
            }
            if size == 1 || self.left == 0 {
                return;
            }
            size /= 2;
        }
    }

    /// Plainer choices: faults off, fewer people, no choice at all.
    fn lower_bytes(&mut self, best: &mut Stream) {
        for index in 0..best.0.len() {
            if best.0[index] == 0 || self.left == 0 {
                continue;
            }
            let values = if index < 3 { 0..8 } else { 0..1 };
            for bit in values {
                let mut candidate = best.clone();
                candidate.0[index] = if index < 3 { best.0[index] & !(1 << bit) } else { 0 };
                if candidate != *best && self.fails(&candidate) {
                    *best = candidate;
                }
            }
        }
    }
}

fn records(stream: &Stream) -> usize {
    stream.0.len().saturating_sub(PRELUDE) / RECORD
}
