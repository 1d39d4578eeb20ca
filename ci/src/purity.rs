//! Each pure crate has `ci/pure.toml` as its `clippy.toml`, which forbids clocks, sockets, threads,
//! files and random maps. Clippy reads one such file per crate and does not merge it with the one
//! at the top, so `ci/pure.toml` has to repeat the lines of that. And its `lib.rs` denies a `_` in a
//! `match` on an enum.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::imports::PURE;
use crate::process::{metadata, root};
use crate::{Failure, Outcome, files};

const PURE_FILE: &str = "ci/pure.toml";
const EXHAUSTIVE: &str = "#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]";

pub fn check() -> Outcome {
    let pure = files::text(PURE_FILE)?;
    let mut broken = missing_lines(&files::text("clippy.toml")?, &pure);
    let metadata = metadata()?;
    broken.extend(impure_crates(&metadata, &pure));
    broken.extend(crates_with_wildcards(&metadata));
    if broken.is_empty() { Ok(()) } else { Err(Failure::Failed(broken.join("\n"))) }
}

fn missing_lines(top: &str, pure: &str) -> Vec<String> {
    let settings = top.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    settings
        .filter(|setting| pure.lines().all(|line| line != *setting))
        .map(|setting| format!("{PURE_FILE} lacks a line of clippy.toml: {setting}"))
        .collect()
}

fn impure_crates(metadata: &Value, want: &str) -> Vec<String> {
    manifests_of_pure(metadata).filter_map(|manifest| differs(manifest, want)).collect()
}

fn crates_with_wildcards(metadata: &Value) -> Vec<String> {
    manifests_of_pure(metadata)
        .map(|manifest| manifest.with_file_name("src").join("lib.rs"))
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().all(|line| line != EXHAUSTIVE)
        })
        .map(|file| {
            let shown = file.strip_prefix(root()).unwrap_or(&file).display();
            format!("{shown} lacks the line {EXHAUSTIVE}")
        })
        .collect()
}

fn manifests_of_pure(metadata: &Value) -> impl Iterator<Item = &Path> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let is_pure = |package: &&Value| PURE.iter().any(|pure| package["name"] == *pure);
    packages
        .filter(is_pure)
        .map(|package| Path::new(package["manifest_path"].as_str().unwrap_or_default()))
}

fn differs(manifest: &Path, want: &str) -> Option<String> {
    let file = manifest.with_file_name("clippy.toml");
    let shown = file.strip_prefix(root()).unwrap_or(&file).display();
    let why = match fs::read_to_string(&file) {
        Ok(text) if text == want => return None,
        Ok(_) => "differs from ci/pure.toml",
        Err(_) => "is missing",
    };
    let folders = manifest.strip_prefix(root()).unwrap_or(manifest).components().count() - 1;
    let up = "../".repeat(folders);
    Some(format!("{shown} {why}: ln -sf {up}{PURE_FILE} {shown}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{crates_with_wildcards, impure_crates, missing_lines};
    use crate::process::root;

    #[test]
    fn a_pure_crate_without_the_rules_is_found() {
        let manifest = |path: &str| root().join(path).display().to_string();
        let metadata = json!({"packages": [
            {"name": "throng-wire", "manifest_path": manifest("server/nowhere/Cargo.toml")},
            {"name": "throng-spec", "manifest_path": manifest("Cargo.toml")},
            {"name": "throng-store", "manifest_path": manifest("server/nowhere/Cargo.toml")},
        ]});
        assert_eq!(
            impure_crates(&metadata, "other"),
            [
                "server/nowhere/clippy.toml is missing: \
                 ln -sf ../../ci/pure.toml server/nowhere/clippy.toml",
                "clippy.toml differs from ci/pure.toml: ln -sf ci/pure.toml clippy.toml",
            ]
        );
    }

    #[test]
    fn a_pure_crate_that_may_match_with_a_wildcard_is_found() {
        let manifest = |path: &str| root().join(path).display().to_string();
        let metadata = json!({"packages": [
            {"name": "throng-wire", "manifest_path": manifest("server/wire/Cargo.toml")},
            {"name": "throng-spec", "manifest_path": manifest("server/store/Cargo.toml")},
        ]});
        let found = crates_with_wildcards(&metadata);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("server/store/src/lib.rs lacks the line"), "{found:?}");
    }

    #[test]
    fn a_setting_that_is_not_repeated_is_found() {
        assert_eq!(missing_lines("# a comment\n\na = 1\nb = 2\n", "b = 2\na = 1\n").len(), 0);
        assert_eq!(
            missing_lines("a = 1", "a = 2"),
            ["ci/pure.toml lacks a line of clippy.toml: a = 1"]
        );
    }
}
