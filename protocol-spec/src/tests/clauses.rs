use std::collections::BTreeSet;

use crate::{Clause, Level, Party, Profile, citations, clauses, parse_clauses, texts};

/// What is wrong with these clauses and texts, one sentence each.
fn faults(texts: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut all: Vec<Clause> = Vec::new();
    for (file, text) in texts {
        match parse_clauses(file, text) {
            Ok(found) => all.extend(found),
            Err(fault) => faults.push(fault),
        }
    }
    let mut ids = BTreeSet::new();
    for clause in &all {
        if !ids.insert(clause.id) {
            faults.push(format!("{}:{}: {} is there twice", clause.file, clause.line, clause.id));
        }
        if clause.text.is_empty() {
            faults.push(format!("{} says nothing", clause.id));
        }
        if clause.departs.is_some_and(|why| why.len() < 20) {
            faults.push(format!("{} departs and does not say why", clause.id));
        }
    }
    for (file, text) in texts {
        for citation in citations(text) {
            if !ids.contains(citation.id) {
                faults.push(format!("{file}:{}: there is no {}", citation.line, citation.id));
            }
        }
    }
    faults
}

#[test]
fn the_text_is_sound() {
    let mut texts: Vec<_> = texts().collect();
    texts.push(("README.md", include_str!("../../README.md")));
    let readme = texts.pop().expect("just pushed");
    assert_eq!(faults(&texts), Vec::<String>::new());
    for citation in citations(readme.1) {
        assert!(crate::clause(citation.id).is_some(), "README.md cites {}", citation.id);
    }
}

#[test]
fn each_file_uses_one_prefix_and_growing_numbers() {
    for ((file, text), prefix) in texts().zip(crate::PREFIXES) {
        let found = parse_clauses(file, text).expect("the text is sound");
        assert!(found.len() >= 10, "{file} has {} clauses", found.len());
        let numbers: Vec<u16> = found
            .iter()
            .map(|clause| {
                assert_eq!(clause.prefix(), prefix, "{file}:{}", clause.line);
                clause.id[prefix.len() + 1..].parse().expect("parsed before")
            })
            .collect();
        assert!(numbers.is_sorted(), "{file}: {numbers:?}");
    }
}

#[test]
fn every_error_code_of_the_table_is_in_the_schema() {
    let table = crate::clause("ERR-4").expect("the code table").text;
    let codes: BTreeSet<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let schema: serde_json::Value =
        serde_json::from_str(crate::schema("error_code").expect("a schema").text).expect("JSON");
    let listed: BTreeSet<&str> = schema["enum"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(serde_json::Value::as_str)
        .collect();
    assert_eq!(codes, listed);
}

#[test]
fn the_events_of_the_text_are_those_with_a_schema() {
    let text = crate::clause("CHAT-10").expect("the list of events").text;
    let sentence = text.split_once('.').expect("the first sentence lists them").0;
    let named: BTreeSet<&str> = sentence.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, crate::client_events().collect());
}

#[test]
fn a_clause_carries_level_party_profile_section_and_departure() {
    let text = "# 1. Title\n\n## 1.1 Part\n\n**CHAT-1** (MUST) One\nrule. Departs: the original\ndoes not.\n\n| a |\n|---|\n\n**CHAT-2** (SHOULD, client) Two.\n\n**EIO-3** (MAY) Three.\n\n**EIO-4** (MUST, client, throng) Four.\n\n**LIM-5** (MUST, upstream) Five.\n";
    let found = parse_clauses("x.md", text).expect("sound");
    assert_eq!(found.len(), 5);
    let profiles: Vec<Profile> = found.iter().map(|clause| clause.profile).collect();
    let (upstream, throng) = (Profile::Upstream, Profile::Throng);
    assert_eq!(profiles, [throng, throng, upstream, throng, upstream]);
    assert_eq!(found[3].party, Party::Client);
    assert_eq!(
        (found[0].id, found[0].level, found[0].party, found[0].line),
        ("CHAT-1", Level::Must, Party::Server, 5)
    );
    assert_eq!(found[0].section, "1.1 Part");
    assert_eq!(found[0].departs, Some("the original\ndoes not."));
    assert_eq!(found[0].summary(), "One rule.");
    assert!(found[0].text.ends_with("|---|"));
    assert_eq!((found[1].level, found[1].party), (Level::Should, Party::Client));
    assert_eq!(found[1].departs, None);
}

#[test]
fn the_checker_finds_each_fault() {
    for (text, expected) in [
        ("**CHAT-1** (MUST) A.\n\n**CHAT-1** (MUST) B.\n", "twice"),
        ("**CHAT-1** (SHALL) A.\n", "no clause"),
        ("**CHAT-1** (MUST, proxy) A.\n", "no clause"),
        ("**CHAR-1** (MUST) A.\n", "no clause"),
        ("**CHAT-01** (MUST) A.\n", "no clause"),
        ("**CHAT-1** MUST A.\n", "no clause"),
        ("**CHAT-1** (MUST) See EIO-9.\n", "there is no EIO-9"),
        ("**CHAT-1** (MUST) \n\n## Next\n", "says nothing"),
        ("**CHAT-1** (MUST) A. Departs: yes.\n", "does not say why"),
    ] {
        let found = faults(&[("x.md", text)]);
        assert!(found.iter().any(|fault| fault.contains(expected)), "{text:?}: {found:?}");
    }
}

#[test]
fn every_clause_is_found_by_its_id() {
    assert!(clauses().count() > 300);
    for clause in clauses() {
        assert_eq!(crate::clause(clause.id).map(|found| found.line), Some(clause.line));
    }
    assert_eq!(crate::clause("CHAT-9999"), None);
}
