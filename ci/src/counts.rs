//! What test runners report: their closing lines, read as numbers.

/// Numbers read from a test runner's own closing lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// Passed, but only at the second try.
    pub flaky: u64,
    /// What the summary repeats: `FAILED` or `FLAKY`, and a name.
    pub named: Vec<String>,
}

impl Counts {
    pub fn add(&mut self, more: Counts) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
        self.flaky += more.flaky;
        self.named.extend(more.named);
    }

    /// What failed has passed at the second try.
    pub fn passed_again(mut self) -> Counts {
        self.flaky += self.failed;
        self.passed += std::mem::take(&mut self.failed);
        for name in &mut self.named {
            *name = name.replacen("FAILED", "FLAKY", 1);
        }
        self
    }

    /// One that passed or not.
    pub fn add_one(&mut self, name: &str, has_passed: bool) {
        self.passed += u64::from(has_passed);
        self.failed += u64::from(!has_passed);
        if !has_passed {
            self.named.push(format!("FAILED {name}"));
        }
    }
}

/// A runner that failed without saying which test counts as one failure.
pub fn judged(name: &str, succeeded: bool, mut counts: Counts) -> Counts {
    if !succeeded && counts.failed == 0 {
        eprintln!("xtask: {name}: the runner itself failed");
        counts.add_one(&format!("{name}: the runner itself"), false);
    }
    counts
}

/// `test result: FAILED. 10 passed; 1 failed; 2 ignored; …`, once per test binary.
pub fn libtest(lines: &[String]) -> Counts {
    let mut all = Counts::default();
    for line in lines.iter().filter(|line| line.starts_with("test result:")) {
        all.passed += number_before(line, "passed");
        all.failed += number_before(line, "failed");
        all.skipped += number_before(line, "ignored");
    }
    all
}

/// `      Tests  1 failed | 12 passed | 2 skipped (15)`
pub fn vitest(lines: &[String]) -> Counts {
    let lines: Vec<String> = lines.iter().map(|line| plain(line)).collect();
    let line = lines.iter().rev().find(|line| line.trim_start().starts_with("Tests "));
    let text = line.map(String::as_str).unwrap_or_default();
    Counts {
        passed: number_before(text, "passed"),
        failed: number_before(text, "failed"),
        skipped: number_before(text, "skipped"),
        ..Counts::default()
    }
}

/// The last `N passed, N failed[, N skipped][, N errors]` of a runner that closes with such a line, and its lines
/// `fail  NAME …` and `error NAME …`.
pub fn plain_counts(lines: &[String]) -> Counts {
    let is_closing = |line: &&String| line.contains(" passed, ") && line.contains(" failed");
    let text = lines.iter().rev().find(is_closing).map(|line| plain(line)).unwrap_or_default();
    let named = lines.iter().filter_map(|line| {
        let line = plain(line);
        let rest = line.strip_prefix("fail ").or_else(|| line.strip_prefix("error "))?;
        let name = rest.split_whitespace().next()?;
        let why = why(lines, name).map(|why| format!(": {why}")).unwrap_or_default();
        Some(format!("FAILED {name}{why}"))
    });
    let named = named.collect();
    Counts {
        passed: number_before(&text, "passed"),
        failed: number_before(&text, "failed") + number_before(&text, "errors"),
        skipped: number_before(&text, "skipped"),
        flaky: 0,
        named,
    }
}

/// What was expected and observed, in the harness's words after the line `── FAIL · NAME`.
fn why(lines: &[String], name: &str) -> Option<String> {
    let head = lines.iter().position(|line| {
        let line = plain(line);
        line.starts_with("── ") && line.ends_with(&format!(" · {name}"))
    })?;
    let said = lines[head + 1..].iter().map(|line| plain(line));
    let said = said.take_while(|line| !line.starts_with("── ") && !line.contains("frames:"));
    let said: Vec<String> = said
        .map(|line| line.trim().to_owned())
        .filter(|line| line.starts_with("expected:") || line.starts_with("observed:"))
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn number_before(text: &str, word: &str) -> u64 {
    let Some(at) = text.find(word) else { return 0 };
    let digits = text[..at].trim_end().rsplit(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Without terminal colours.
pub fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\u{1b}') {
        text.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::{Counts, libtest, plain_counts, vitest};

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped, ..Counts::default() }
    }

    #[test]
    fn libtest_results_add_up() {
        let text = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\
                    test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(libtest(&lines(text)), counts(7, 2, 1));
    }

    #[test]
    fn vitest_line_is_read_with_its_colours() {
        let text = "\u{1b}[2m Test Files \u{1b}[22m 2 passed (2)\n      Tests  1 failed | 12 passed | 2 skipped (15)";
        assert_eq!(vitest(&lines(text)), counts(12, 1, 2));
    }

    #[test]
    fn errors_of_the_harness_are_failures() {
        let text = "pass  trn.paths[eio4]   9 ms\nfail  chat.join[eio4]   9 ms\n\
                    210 passed, 1 failed, 0 warned, 4 skipped, 2 errors in 3.1 s (seed 7)";
        let named = vec!["FAILED chat.join[eio4]".to_owned()];
        assert_eq!(plain_counts(&lines(text)), Counts { named, ..counts(210, 3, 4) });
    }

    #[test]
    fn a_failed_case_is_named_with_what_was_observed() {
        let text = "fail  chat.join[eio4]   9 ms\nfail  chat.leave[eio4]   9 ms\n\
                    ── FAIL · chat.join[eio4]\n   CHAT-1 (MUST) `join` …\n   does:     joins\n   \
                    expected: an ack\n   observed: none\n   frames:\n  1 ms  guest  --> observed: a frame\n\
                    ── FAIL · chat.leave[eio4]\n   expected: a leave\n   frames:\n\
                    1 passed, 2 failed, 0 warned, 0 skipped, 0 errors in 3.1 s (seed 7)";
        let named = [
            "FAILED chat.join[eio4]: expected: an ack; observed: none",
            "FAILED chat.leave[eio4]: expected: a leave",
        ];
        assert_eq!(plain_counts(&lines(text)).named, named);
    }
}
