//! Rules for the harness itself: no server code, every clause covered, lists that are correct.

use std::collections::BTreeSet;

use serde_json::Value;
use throng_harness::cases;
use throng_harness::skips::{SKIPS, reason};
use throng_reference::Mutant;
use throng_reference::fields::FIELDS;
use throng_reference::unbroken::UNBROKEN;

fn metadata() -> Value {
    let output = throng_kit::Program::Cargo
        .command()
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// Names of all packages that `package` depends on, however far.
fn dependencies(metadata: &Value, package: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let name_of = |id: &Value| {
        let package =
            packages.iter().find(|package| package["id"] == *id).expect("a known package");
        package["name"].as_str().expect("a name").to_owned()
    };
    let mut open: Vec<&Value> =
        nodes.iter().map(|node| &node["id"]).filter(|id| name_of(id) == package).collect();
    assert!(!open.is_empty(), "{package} is not in the workspace");
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        let node = nodes.iter().find(|node| node["id"] == *id).expect("a node per package");
        for dependency in node["dependencies"].as_array().expect("dependencies") {
            if seen.insert(name_of(dependency)) {
                open.push(dependency);
            }
        }
    }
    seen
}

/// Packages whose manifest lies below `server/`.
fn server_packages(metadata: &Value) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .filter(|package| {
            let path = package["manifest_path"].as_str().unwrap_or("").replace('\\', "/");
            package["source"].is_null() && (path.contains("/server/"))
        })
        .map(|package| package["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn the_harness_depends_on_no_server_code() {
    let metadata = metadata();
    let forbidden = server_packages(&metadata);
    for package in ["throng-harness", "throng-reference", "throng-codec"] {
        let used = dependencies(&metadata, package);
        let shared: Vec<_> = used.intersection(&forbidden).collect();
        assert!(shared.is_empty(), "{package} depends on {shared:?}");
    }
    let used = dependencies(&metadata, "throng-harness");
    assert!(used.contains("throng-spec"), "the check finds no dependencies: {used:?}");
}

#[test]
fn the_dependency_check_can_fail() {
    let metadata = metadata();
    let forbidden = server_packages(&metadata);
    if !forbidden.contains("throng") {
        return;
    }
    let used = dependencies(&metadata, "throng");
    assert!(used.intersection(&forbidden).next().is_some(), "the server uses its own crates");
}

#[test]
fn every_clause_has_a_case_or_a_reason() {
    let covered: BTreeSet<&str> =
        cases::all().iter().flat_map(|case| case.clauses.iter().copied()).collect();
    let bare: Vec<&str> = throng_spec::clauses()
        .map(|clause| clause.id)
        .filter(|id| !covered.contains(id) && reason(id).is_none())
        .collect();
    assert!(bare.is_empty(), "neither a case nor a reason for {bare:?}");
}

#[test]
fn cases_and_lists_name_real_clauses_only() {
    for case in cases::all() {
        assert!(!case.clauses.is_empty(), "{} names no clause", case.id);
        for id in case.clauses {
            assert!(throng_spec::clause(id).is_some(), "{} names {id}", case.id);
        }
    }
    for (ids, reason) in SKIPS {
        for id in *ids {
            assert!(throng_spec::clause(id).is_some(), "the skip list names {id}");
        }
        assert!(reason.len() > 30, "the reason for {ids:?} is too short");
    }
}

#[test]
fn no_clause_is_covered_and_skipped() {
    let covered: BTreeSet<&str> =
        cases::all().iter().flat_map(|case| case.clauses.iter().copied()).collect();
    let both: Vec<&str> =
        SKIPS.iter().flat_map(|(ids, _)| *ids).copied().filter(|id| covered.contains(id)).collect();
    assert!(both.is_empty(), "remove them from the skip list: {both:?}");
}

#[test]
fn case_ids_are_unique_and_cases_have_texts() {
    let mut seen = BTreeSet::new();
    for case in cases::all() {
        assert!(seen.insert(case.id), "{} twice", case.id);
        assert!(case.id.contains('.'), "{} has no chapter", case.id);
        assert!(!case.does.is_empty() && !case.expects.is_empty(), "{} has no text", case.id);
    }
}

#[test]
fn every_mutant_breaks_covered_clauses() {
    let mutants = Mutant::all();
    assert!(mutants.len() >= 900, "{} mutants", mutants.len());
    for mutant in &mutants {
        for clause in &mutant.clauses {
            assert!(throng_spec::clause(clause).is_some(), "{} names {clause}", mutant.name);
            let named = cases::all().iter().any(|case| case.clauses.contains(clause));
            assert!(named, "no case names {clause}, which {} breaks", mutant.name);
        }
    }
}

#[test]
fn clauses_that_no_mutant_can_break_exist_and_have_a_reason() {
    for (ids, reason) in UNBROKEN {
        assert!(reason.len() > 30, "the reason for {ids:?} is too short");
        for id in *ids {
            assert!(throng_spec::clause(id).is_some(), "the list names {id}");
            let is_made = Mutant::all().iter().any(|mutant| mutant.clauses.contains(id));
            assert!(!is_made, "{id} has a mutant, so it is not on the list");
        }
    }
}

/// A member that a later version of the text adds to what a server sends gets its mutants too.
#[test]
fn every_member_of_what_a_server_sends_has_mutants() {
    let paths: Vec<&str> = FIELDS.iter().map(|(_, path, _)| *path).collect();
    let named = |member: &str| paths.iter().any(|path| path.rsplit('.').next() == Some(member));
    let is_sent = |name: &str| !name.starts_with("c2s.") && name != "rest.message";
    for schema in throng_spec::schemas().filter(|schema| is_sent(schema.name)) {
        let json: serde_json::Value = serde_json::from_str(schema.text).expect("JSON");
        let mut members = Vec::new();
        collect_members(&json, &mut members);
        // How long something has been so is a permission, and so is when to try again.
        members.retain(|member| !matches!(member.as_str(), "for_s" | "retry_after_ms"));
        for member in members {
            assert!(named(&member), "{member} of {} has no row in FIELDS", schema.name);
        }
    }
}

fn collect_members(schema: &serde_json::Value, into: &mut Vec<String>) {
    for (key, value) in schema.as_object().into_iter().flatten() {
        if key == "properties" {
            into.extend(value.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        }
        collect_members(value, into);
    }
    schema.as_array().into_iter().flatten().for_each(|item| collect_members(item, into));
}
