//! Words that were retired must not come back: `ci/words.txt` lists each with its replacement.

use std::collections::BTreeMap;
use std::fs;

use regex::{Regex, RegexBuilder};

use crate::process::target;
use crate::{Failure, Outcome, files};

const LIST: &str = "ci/words.txt";
const CHECKED: &[&str] = &["rs", "md", "ts", "vue", "mjs", "js", "toml", "sh", "sql", "html"];
/// How many places are shown; the counts per word and folder are complete.
const SHOWN_MAX: usize = 60;

/// One line of the list.
#[derive(Debug)]
struct Word {
    pattern: Regex,
    instead: String,
    /// Only comments, and the text of Markdown outside of code.
    is_prose: bool,
    /// Paths or endings it is for; all if empty.
    only: Vec<String>,
    not: Vec<String>,
}

struct Place {
    path: String,
    line: usize,
    word: usize,
    text: String,
}

pub fn check() -> Outcome {
    let words = parse(&files::text(LIST)?).map_err(Failure::Failed)?;
    let mut places = Vec::new();
    for path in files::tracked()? {
        if CHECKED.contains(&files::extension(&path)) {
            places.extend(places_in(&words, &path, &files::text(&path)?));
        }
    }
    if places.is_empty() {
        return Ok(());
    }
    let all = target().join("artifacts").join("retired-words.txt");
    fs::create_dir_all(all.parent().expect("the file lies in a folder"))?;
    fs::write(&all, shown(&words, &places).join("\n"))?;
    Err(Failure::Failed(format!("{}\nall lines: {}", report(&words, &places), all.display())))
}

/// `pattern -> replacement`, then perhaps ` | prose`, ` | only PATH…`, ` | not PATH…`.
fn parse(list: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    for (at, line) in list.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        let wrong = |why: &str| format!("{LIST}:{}: {why}", at + 1);
        let (pattern, rest) =
            line.split_once(" -> ").ok_or_else(|| wrong("no ` -> ` and replacement"))?;
        // The words are English, and without Unicode a pattern is many times faster.
        let pattern = RegexBuilder::new(pattern.trim()).unicode(false).build();
        let pattern = pattern.map_err(|error| wrong(&error.to_string()))?;
        let mut parts = rest.split(" | ");
        let instead = parts.next().unwrap_or_default().trim().to_owned();
        let mut word =
            Word { pattern, instead, is_prose: false, only: Vec::new(), not: Vec::new() };
        for part in parts {
            let mut names = part.split_whitespace();
            match names.next() {
                Some("prose") => word.is_prose = true,
                Some("only") => word.only.extend(names.map(str::to_owned)),
                Some("not") => word.not.extend(names.map(str::to_owned)),
                _ => return Err(wrong("after ` | ` comes `prose`, `only PATH…` or `not PATH…`")),
            }
        }
        words.push(word);
    }
    Ok(words)
}

fn places_in(words: &[Word], path: &str, text: &str) -> Vec<Place> {
    let is_in = |names: &[String]| names.iter().any(|n| path.starts_with(n) || path.ends_with(n));
    let words: Vec<(usize, &Word)> = words
        .iter()
        .enumerate()
        .filter(|(_, word)| (word.only.is_empty() || is_in(&word.only)) && !is_in(&word.not))
        .filter(|(_, word)| word.pattern.is_match(path) || word.pattern.is_match(text))
        .collect();
    let mut places = Vec::new();
    let mut is_code = false;
    // The name of the file as line 0.
    for (line, text) in std::iter::once(path).chain(text.lines()).enumerate() {
        if text.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let prose = if line == 0 { None } else { prose(path, text, is_code) };
        for (word, Word { pattern, is_prose, .. }) in &words {
            let searched = if *is_prose { prose } else { Some(text) };
            if searched.is_some_and(|searched| pattern.is_match(searched)) {
                let text = text.trim().to_owned();
                places.push(Place { path: path.to_owned(), line, word: *word, text });
            }
        }
    }
    places
}

/// The part of a line that people read.
fn prose<'a>(path: &str, line: &'a str, is_code: bool) -> Option<&'a str> {
    let mark = match files::extension(path) {
        "md" => return (!is_code).then_some(line),
        "toml" | "sh" => "#",
        "sql" => "--",
        "html" => "<!--",
        _ => "//",
    };
    // A URL is no comment.
    let at = line.find(mark).filter(|at| !line[..*at].ends_with(':'))?;
    Some(&line[at..])
}

/// `PATH:LINE: PATTERN -> REPLACEMENT: TEXT`
fn shown(words: &[Word], places: &[Place]) -> Vec<String> {
    let line = |Place { path, line, word, text }: &Place| {
        let Word { pattern, instead, .. } = &words[*word];
        format!("{path}:{line}: {pattern} -> {instead}: {text}")
    };
    places.iter().map(line).collect()
}

fn report(words: &[Word], places: &[Place]) -> String {
    let mut lines = shown(words, &places[..places.len().min(SHOWN_MAX)]);
    if places.len() > SHOWN_MAX {
        lines.push(format!("… and {} more", places.len() - SHOWN_MAX));
    }
    lines.push("lines with a retired word, by word and folder:".to_owned());
    for (number, word) in words.iter().enumerate() {
        let mut folders: BTreeMap<String, usize> = BTreeMap::new();
        for place in places.iter().filter(|place| place.word == number) {
            *folders.entry(folder(&place.path)).or_default() += 1;
        }
        let total: usize = folders.values().sum();
        if total > 0 {
            let folders: Vec<String> =
                folders.iter().map(|(folder, count)| format!("{folder} {count}")).collect();
            lines.push(format!("{total:>5}  {}: {}", word.pattern, folders.join(", ")));
        }
    }
    lines.push(format!("{:>5}  in all", places.len()));
    lines.join("\n")
}

/// The crate or folder of a file: two levels below `server` and `tests`, one elsewhere.
fn folder(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let levels = if matches!(parts[0], "server" | "tests") { 2 } else { 1 };
    if parts.len() == 1 { ".".to_owned() } else { parts[..levels.min(parts.len() - 1)].join("/") }
}

#[cfg(test)]
mod tests {
    use super::{LIST, parse, places_in, report};
    use crate::files;

    const WORDS: &str = "# a comment\n\
                         \\bblorb\\b -> connect\n\
                         \\bzork\\b -> they | prose | not server/web/\n\
                         Quux -> ShardHandle | only server/ .md\n";

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let words = parse(WORDS).unwrap_or_else(|why| panic!("{why}"));
        places_in(&words, path, text).iter().map(|place| place.line).collect()
    }

    #[test]
    fn a_retired_word_is_found_with_its_line() {
        assert_eq!(lines("a/b.rs", "fn f() {}\n// blorb\nlet blorb = 1;"), [2, 3]);
        assert_eq!(lines("a/blorb.rs", ""), [0], "the name of a file");
        assert_eq!(lines("a/blorbs.rs", "blorb_x blorbs"), Vec::<usize>::new());
    }

    #[test]
    fn a_word_of_prose_is_free_in_code() {
        assert_eq!(lines("a.rs", "let zork = 1; // zork\nlet zork = \"http://zork\";"), [1]);
        assert_eq!(lines("a.md", "zork\n```\nzork\n```\nzork"), [1, 5]);
        assert_eq!(lines("server/web/a.ts", "// zork"), Vec::<usize>::new());
    }

    #[test]
    fn a_word_may_be_for_some_paths_only() {
        assert_eq!(lines("server/a.rs", "Quux"), [1]);
        assert_eq!(lines("harness/a.md", "Quux"), [1]);
        assert_eq!(lines("harness/a.rs", "Quux"), Vec::<usize>::new());
    }

    #[test]
    fn the_report_counts_by_word_and_folder() {
        let words = parse(WORDS).unwrap_or_else(|why| panic!("{why}"));
        let places = places_in(&words, "server/wire/a.rs", "blorb\nblorb\nQuux");
        let text = report(&words, &places);
        assert!(text.contains("    2  \\bblorb\\b: server/wire 2"), "{text}");
        assert!(text.ends_with("    3  in all"), "{text}");
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert!(parse("blorb").unwrap_err().contains("words.txt:1"));
        assert!(parse("( -> x").is_err());
        assert!(parse("a -> b | nonsense").is_err());
    }

    #[test]
    fn the_list_of_the_project_is_right() {
        let list = files::text(LIST).unwrap_or_else(|_| panic!("{LIST} is missing"));
        assert!(parse(&list).is_ok_and(|words| words.len() > 10));
    }
}
