//! Holds every citation in the workspace against the text.

use std::path::{Path, PathBuf};

use crate::{citations, clause};

/// Folders of the workspace that cite clauses. This package's own sources name false ids in tests.
const FOLDERS: [&str; 7] = ["server", "harness", "loadgen", "tests", "benches", "ci", "docs"];
const EXTENSIONS: [&str; 7] = ["rs", "md", "js", "mjs", "ts", "vue", "py"];
const SKIPPED: [&str; 3] = ["target", "node_modules", "dist"];

/// `path:line: id` for each citation of a clause that does not exist.
fn dangling(path: &Path, text: &str) -> Vec<String> {
    citations(text)
        .filter(|citation| clause(citation.id).is_none())
        .map(|citation| {
            format!("{}:{}: there is no {}", path.display(), citation.line, citation.id)
        })
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&&*name) {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known)) {
            found.push(path);
        }
    }
}

#[test]
fn every_clause_that_the_workspace_cites_exists() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut files = Vec::new();
    for folder in FOLDERS {
        sources(&root.join(folder), &mut files);
    }
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        files.push(root.join(page));
    }
    assert!(files.len() > 10, "the scan found {} files", files.len());
    let faults: Vec<String> = files
        .iter()
        .filter_map(|path| Some((path, std::fs::read_to_string(path).ok()?)))
        .flat_map(|(path, text)| dangling(path, &text))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_citation_of_a_missing_clause_is_found() {
    let text = "// CHAT-22 holds.\n// So does CHAT-9999, and (SIO-8888).\n";
    assert_eq!(
        dangling(Path::new("x.rs"), text),
        ["x.rs:2: there is no CHAT-9999", "x.rs:2: there is no SIO-8888"]
    );
}

#[test]
fn what_only_looks_like_a_citation_is_none() {
    let ids = |text| citations(text).map(|citation| citation.id.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        ids("CHAT-1, SIO-2–SIO-3; \"LIM-40\" [REST-5]."),
        ["CHAT-1", "SIO-2", "SIO-3", "LIM-40", "REST-5"]
    );
    assert_eq!(
        ids("ULIM-1 X-REST-2 LIM-3a LIM-4_b REST-API CHAT- chat-5 my_EIO-6"),
        Vec::<String>::new()
    );
    assert_eq!(ids("TRN-1-2"), ["TRN-1"]);
}
