//! The threat model of SECURITY.md: each row names a bound and a test, each setting in it has the default
//! that is written behind it, and what shows the bound is there.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::files;
use crate::{Failure, Outcome};

const PAGE: &str = "SECURITY.md";
const HEADING: &str = "## Threat model";
/// Made from the tables of settings, which a test of the server holds.
const SETTINGS: &str = "server/docs/settings.md";
/// Where names of tests, of defects and of what the simulation checks stand.
const SOURCES: &[&str] = &["server/", "harness/", "tests/", "ci/", MEASURING];
/// Programs that measure; what they find is kept with the results.
const MEASURING: &str = "benches/";

static CODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"`([^`]+)`([^`|]*)").expect("a valid pattern"));
/// `limits.event_bytes_max`, `event_bytes_max` and `limits.anonymous.*`.
static SETTING: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^[a-z]+(?:(?:[._][a-z0-9_]+)+(?:\.\*)?|\.\*)$";
    Regex::new(pattern).expect("a valid pattern")
});
/// The number and its unit behind a setting.
static VALUE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^ (\d+(?: \d{3})*)(?: (KiB|MiB|s))?(?:[,;. )]|$)";
    Regex::new(pattern).expect("a valid pattern")
});
static PATH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[\w.-]+(?:/[\w.-]+)+/?$").expect("a valid pattern"));

pub fn check() -> Outcome {
    let tracked = files::tracked()?;
    let settings = settings(&files::text(SETTINGS)?);
    let mut sources = BTreeMap::new();
    for path in tracked.iter().filter(|path| SOURCES.iter().any(|from| path.starts_with(from))) {
        if matches!(files::extension(path), "rs" | "ts" | "mjs" | "js" | "py") {
            sources.insert(path.clone(), files::text(path)?);
        }
    }
    let faults = faults(&files::text(PAGE)?, &settings, &sources);
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(faults.join("\n")))
}

/// Defaults by key (`limits.join_per_s`), from the generated page.
fn settings(page: &str) -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut settings = BTreeMap::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let name = title.strip_prefix("`[").and_then(|title| title.strip_suffix("]`"));
            section = name.map(|name| format!("{name}.")).unwrap_or_default();
        }
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(name), Some(default)) = (cells.next(), cells.next()) else { continue };
        if let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
            settings.insert(format!("{section}{name}"), default.to_owned());
        }
    }
    settings
}

fn faults(
    page: &str,
    settings: &BTreeMap<String, String>,
    sources: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rows = 0;
    let lines = page.lines().enumerate().skip_while(|(_, line)| *line != HEADING).skip(1);
    for (number, line) in lines.take_while(|(_, line)| !line.starts_with("## ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, _, tries, bound, test, _] = cells[..] else {
            if line.starts_with('|') {
                faults.push(format!("{PAGE}:{}: a row has four cells", number + 1));
            }
            continue;
        };
        if tries == "tries" || tries.starts_with("---") {
            continue;
        }
        rows += 1;
        let mut note =
            |what: String| faults.push(format!("{PAGE}:{}: {tries}: {what}", number + 1));
        if bound.is_empty() {
            note("no bound".to_owned());
        }
        for code in CODE.captures_iter(bound) {
            if SETTING.is_match(&code[1])
                && let Err(what) = setting_fault(&code[1], &code[2], settings)
            {
                note(what);
            }
        }
        if !CODE.is_match(test) {
            note("no test".to_owned());
        }
        for code in CODE.captures_iter(test) {
            if let Err(what) = test_fault(&code[1], sources) {
                note(what);
            }
        }
    }
    if rows == 0 {
        faults.push(format!("{PAGE}: no table under {HEADING:?}"));
    }
    faults
}

/// `behind`: what follows the name, which may begin with its default.
fn setting_fault(
    name: &str,
    behind: &str,
    settings: &BTreeMap<String, String>,
) -> Result<(), String> {
    if let Some(section) = name.strip_suffix('*') {
        let is_there = settings.keys().any(|key| key.starts_with(section));
        return is_there.then_some(()).ok_or(format!("no setting `{name}`"));
    }
    let end = format!(".{name}");
    let mut all = settings.iter().filter(|(key, _)| *key == name || key.ends_with(&end));
    let Some((_, default)) = all.next() else { return Err(format!("no setting `{name}`")) };
    let Some(value) = VALUE.captures(behind) else { return Ok(()) };
    let number: u64 = value[1].replace(' ', "").parse().map_err(|_| "a large number".to_owned())?;
    let times = match (value.get(2).map(|unit| unit.as_str()), default.split(' ').nth(1)) {
        (Some("KiB"), Some("bytes")) => 1 << 10,
        (Some("MiB"), Some("bytes")) => 1 << 20,
        (Some("s"), Some("ms")) => 1000,
        _ => 1,
    };
    let is_it = default.split(' ').next() == Some((number * times).to_string().as_str());
    is_it.then_some(()).ok_or(format!("the default of `{name}` is {default}"))
}

/// A file or folder with tests, a module with tests (`http::client`), a program that measures, a command of
/// xtask, or a name in one of the sources.
fn test_fault(name: &str, sources: &BTreeMap<String, String>) -> Result<(), String> {
    if PATH.is_match(name) || name.contains("::") {
        let folder = format!("{}/", name.trim_end_matches('/'));
        let module = format!("/{}.rs", name.replace("::", "/"));
        let is_of =
            |path: &str| path == name || path.starts_with(&folder) || path.ends_with(&module);
        let files: Vec<_> = sources.iter().filter(|(path, _)| is_of(path)).collect();
        if files.is_empty() {
            return Err(format!("no sources in `{name}`"));
        }
        let has_test = |(path, text): &(&String, &String)| {
            let marks = ["test]", "test(", "fuzz_target!"];
            path.starts_with(MEASURING) || marks.iter().any(|mark| text.contains(mark))
        };
        let is_test = files.iter().any(has_test);
        return is_test.then_some(()).ok_or(format!("no test in `{name}`"));
    }
    let word = name.strip_prefix("cargo xtask ").map(|task| format!("\"{task}\""));
    let word = word.as_deref().unwrap_or(name);
    let is_there = sources.values().any(|text| text.contains(word));
    is_there.then_some(()).ok_or(format!("nothing is called `{name}`"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{HEADING, faults, settings};

    const SETTINGS: &str = "## At the top of the file\n\n| setting | default | allowed | meaning |\n\
        |---|---|---|---|\n| `max_payload` | 4194304 bytes | 1024 to 268435456 | Largest |\n\n\
        ## `[limits]`\n\n| `join_per_s` | 10 joins per second | 0 to 1 | Joins |\n\
        | `wait_ms` | 10000 ms | 1 to 2 | Wait |\n| `most_max` | 200000 items | 1 to 2 | Most |\n";

    fn broken(row: &str) -> Vec<String> {
        let page = format!(
            "# Security\n{HEADING}\n\n| who | tries | bound | test |\n|---|---|---|---|\n{row}\n"
        );
        let sources = [
            ("tests/it/a.rs", "#[test] fn a_name_of_a_test() {}"),
            ("server/wire/src/b.rs", "enum Fault { TooDeep }"),
            ("ci/src/main.rs", "\"faults\" => e2e::faults(),"),
            ("benches/c.rs", "fn main() {}"),
        ];
        let sources = sources.map(|(path, text)| (path.to_owned(), text.to_owned()));
        faults(&page, &settings(SETTINGS), &BTreeMap::from(sources))
    }

    #[test]
    fn rows_that_say_what_is_there_pass() {
        for row in [
            "| a | b | `max_payload` 4 MiB, `limits.join_per_s` 10 (`join_per_s`) | `tests/it/a.rs` |",
            "| | b | `limits.wait_ms` 10 s; `limits.*`, `HttpOnly`, `sid` | `tests/it` (`a_name_of_a_test`) |",
            "| | b | a word | `cargo xtask faults`, `TooDeep`, `it::a`, `benches/c.rs` |",
            "| | b | `limits.most_max` 200 000 per client | `tests/it/a.rs` |",
        ] {
            assert_eq!(broken(row), Vec::<String>::new(), "{row}");
        }
    }

    #[test]
    fn rows_that_promise_what_is_not_there_are_found() {
        for (row, what) in [
            ("| a | b | | `tests/it/a.rs` |", "no bound"),
            ("| a | b | c | |", "no test"),
            ("| a | b | c | by reading |", "no test"),
            ("| a | b | `limits.gone_max` 3 | `tests/it/a.rs` |", "no setting `limits.gone_max`"),
            ("| a | b | `gone.*` | `tests/it/a.rs` |", "no setting `gone.*`"),
            (
                "| a | b | `max_payload` 5 MiB | `tests/it/a.rs` |",
                "the default of `max_payload` is 4194304 bytes",
            ),
            (
                "| a | b | `limits.wait_ms` 1 s | `tests/it/a.rs` |",
                "the default of `limits.wait_ms` is 10000 ms",
            ),
            ("| a | b | c | `tests/it/gone.rs` |", "no sources in `tests/it/gone.rs`"),
            ("| a | b | c | `server/wire` |", "no test in `server/wire`"),
            ("| a | b | c | `it::gone` |", "no sources in `it::gone`"),
            ("| a | b | c | `NoSuchDefect` |", "nothing is called `NoSuchDefect`"),
            ("| a | b | c | `cargo xtask gone` |", "nothing is called `cargo xtask gone`"),
        ] {
            assert_eq!(broken(row), [format!("SECURITY.md:6: b: {what}")], "{row}");
        }
        assert_eq!(
            broken("| a | b | c |"),
            [
                "SECURITY.md:6: a row has four cells",
                "SECURITY.md: no table under \"## Threat model\""
            ]
        );
    }
}
