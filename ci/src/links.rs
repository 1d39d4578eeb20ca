//! Links in Markdown: a relative link leads to a tracked file or folder, an anchor to a heading, and a
//! path in backticks names a tracked file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::files;
use crate::{Failure, Outcome};

/// `[text](target)`, `![text](target "title")` and `[name]: target`.
static LINK: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)|^\s{0,3}\[[^\]^]+\]:\s+<?([^\s>]+)"#;
    Regex::new(pattern).expect("a valid pattern")
});
static CODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"``[^`].*?``|`[^`]*`").expect("a valid pattern"));
/// `` `server/chat/src/home.rs` ``, with or without a line number.
static PATH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"`([\w.-]+(?:/[\w.-]+)+\.[a-z]+)(?::\d+)?`").expect("a valid pattern")
});
/// A part to be filled in, as in `server/rest/src/NAME.rs`.
static BLANK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[A-Z]{2,}").expect("a valid pattern"));
static ANCHOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"<a\s+(?:id|name)="([^"]+)""#).expect("a valid pattern"));
static SCHEME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[a-z][a-z0-9+.-]*:|^//").expect("a valid pattern"));

pub fn check() -> Outcome {
    let tracked = files::tracked()?;
    let mut texts = BTreeMap::new();
    for path in tracked.iter().filter(|path| files::extension(path) == "md") {
        texts.insert(path.clone(), files::text(path)?);
    }
    let mut broken = broken_links(&tracked, &texts);
    broken.extend(missing_files(&tracked, &texts));
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(broken.join("\n")))
}

/// One line per broken link in `texts`, the Markdown files among all the `tracked`.
fn broken_links(tracked: &[String], texts: &BTreeMap<String, String>) -> Vec<String> {
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        texts.iter().map(|(path, text)| (path.as_str(), anchors(text))).collect();
    let is_there = |path: &str| {
        let folder = format!("{path}/");
        path.is_empty() || tracked.iter().any(|file| file == path || file.starts_with(&folder))
    };
    let mut broken = Vec::new();
    for (from, text) in texts {
        for (number, line) in prose(text) {
            let line = CODE.replace_all(line, "");
            for found in LINK.captures_iter(&line) {
                let target = found.get(1).or(found.get(2)).map_or("", |target| target.as_str());
                if SCHEME.is_match(target) {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { Some(from.clone()) } else { joined(from, path) };
                let why = match path {
                    None => "leads out of the repository".to_owned(),
                    Some(path) if !is_there(&path) => format!("no file {path}"),
                    Some(path) => match anchors.get(path.as_str()) {
                        Some(known) if !anchor.is_empty() && !known.contains(anchor) => {
                            format!("no heading #{anchor} in {path}")
                        }
                        _ => continue,
                    },
                };
                broken.push(format!("{from}:{number}: {target}: {why}"));
            }
        }
    }
    broken
}

/// One line per path in backticks that no tracked file has. A path may leave out the folders before it,
/// as long as a file ends with what is left.
fn missing_files(tracked: &[String], texts: &BTreeMap<String, String>) -> Vec<String> {
    let kinds: BTreeSet<&str> = tracked.iter().map(|file| files::extension(file)).collect();
    let is_there = |from: &str, path: &str| {
        if path.starts_with("../") {
            return joined(from, path).is_some_and(|path| tracked.contains(&path));
        }
        let end = format!("/{path}");
        tracked.iter().any(|file| file == path || file.ends_with(&end))
    };
    let mut missing = Vec::new();
    for (from, text) in texts {
        for (number, line) in prose(text) {
            for found in PATH.captures_iter(line) {
                let path = &found[1];
                let kind = files::extension(path);
                let is_blank = kind != "md" && BLANK.is_match(path);
                if kinds.contains(kind) && !is_blank && !is_made(path) && !is_there(from, path) {
                    missing.push(format!("{from}:{number}: {path}: no such file"));
                }
            }
        }
    }
    missing
}

/// Whether the path is of what a build or an installation makes.
fn is_made(path: &str) -> bool {
    path.split('/')
        .any(|folder| matches!(folder, "target" | "dist" | "node_modules" | "etc" | "tmp"))
}

/// The lines outside of code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => return Some((at + 1, line)),
            _ => {}
        }
        None
    })
}

/// The anchors of a page as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        anchors.extend(ANCHOR.captures_iter(line).map(|found| found[1].to_owned()));
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim());
        // The second heading of the same text ends with -1.
        let repeats = (1..).map(|number| format!("{slug}-{number}"));
        let free = std::iter::once(slug.clone()).chain(repeats).find(|a| !anchors.contains(a));
        anchors.extend(free);
    }
    anchors
}

fn slug(title: &str) -> String {
    // The text of a link stands for the link.
    let mut text = String::new();
    let mut rest = title;
    while let Some((before, after)) = rest.split_once("](") {
        text += before;
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text += rest;
    let kept = text.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The path that `link` in the file `from` leads to; none when it leaves the repository.
fn joined(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = if link.starts_with('/') { Vec::new() } else { folders(from) };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn folders(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{anchors, broken_links, missing_files};

    fn broken(text: &str) -> Vec<String> {
        let other = "# The other page\n## Twice\n## Twice\n";
        let pages = [("docs/page.md", text), ("docs/other.md", other)];
        let texts: BTreeMap<String, String> =
            pages.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let tracked = ["docs/page.md", "docs/other.md", "src/main.rs"].map(str::to_owned);
        broken_links(&tracked, &texts)
    }

    #[test]
    fn a_link_to_nothing_is_found_with_its_line() {
        assert_eq!(broken("\n[a](gone.md)"), ["docs/page.md:2: gone.md: no file docs/gone.md"]);
        assert_eq!(
            broken("![a](../../x.svg)"),
            ["docs/page.md:1: ../../x.svg: leads out of the repository"]
        );
        assert_eq!(broken("[a]: ../src/gone.rs").len(), 1);
        assert_eq!(
            broken("[a](other.md#gone)"),
            ["docs/page.md:1: other.md#gone: no heading #gone in docs/other.md"]
        );
        assert_eq!(broken("# A\n[a](#b)").len(), 1);
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "# One `x` more: here\n[a](other.md#twice-1) [b](../src) [c](#one-x-more-here)\n\
                    [d](https://example.org/gone) ![e](../src/main.rs \"title\") `[f](gone)`\n\
                    ```\n[g](gone)\n```\n[h]: other.md#the-other-page";
        assert_eq!(broken(text), Vec::<String>::new());
    }

    #[test]
    fn a_path_in_backticks_names_a_file() {
        let missing = |text: &str| {
            let texts = BTreeMap::from([("docs/page.md".to_owned(), text.to_owned())]);
            missing_files(&["docs/page.md", "a/src/main.rs"].map(str::to_owned), &texts)
        };
        assert_eq!(missing("see `a/src/gone.rs`"), ["docs/page.md:1: a/src/gone.rs: no such file"]);
        assert_eq!(missing("\n`src/gone.rs:7`, `docs/README.md`").len(), 2);
        for fine in [
            "`a/src/main.rs`, `src/main.rs:7`, `docs/page.md`",
            "`../a/src/main.rs`, `a/src/NAME.rs` and `target/debug/main.rs`",
            "`text/plain`, `/api/x.rs`, `and/or.`, `*.rs`, `x/y.unknown`",
            "```\n`a/src/gone.rs`\n```",
        ] {
            assert_eq!(missing(fine), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn anchors_are_those_of_the_host() {
        let found = anchors("# A & B, [the](x.md) `c_d`\n<a id=\"own\"></a>\n#no heading\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a--b-the-c_d", "own"]);
    }
}
