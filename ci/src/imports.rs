//! Who may depend on whom, held against `cargo metadata`: the architecture as a list of permissions.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::process::metadata;
use crate::{Failure, Outcome};

/// Package, and the packages of this workspace it may use outside of its tests. A package that is
/// planned may stand here before it exists.
const MAY_USE: &[(&str, &[&str])] = &[
    ("throng-spec", &[]),
    ("throng-tables", &[]),
    ("throng-health", &[]),
    ("throng-wire", &[]),
    ("throng-mesh", &[]),
    ("throng-engine", &["throng-tables", "throng-wire"]),
    ("throng-runtime", &["throng-tables", "throng-wire", "throng-engine", "throng-mesh"]),
    ("throng-chat", &["throng-tables", "throng-wire", "throng-engine"]),
    ("throng-cluster", &["throng-tables", "throng-engine", "throng-chat"]),
    ("throng-redis", &["throng-tables", "throng-engine", "throng-chat", "throng-cluster"]),
    ("throng-store", &["throng-tables", "throng-health", "throng-wire"]),
    ("throng-import", &["throng-store"]),
    ("throng-rest", &["throng-tables", "throng-health", "throng-store", "throng-wire"]),
    (
        "throng",
        &[
            "throng-tables",
            "throng-health",
            "throng-wire",
            "throng-mesh",
            "throng-engine",
            "throng-runtime",
            "throng-chat",
            "throng-cluster",
            "throng-redis",
            "throng-store",
            "throng-import",
            "throng-rest",
        ],
    ),
    ("throng-codec", &[]),
    ("throng-reference", &["throng-codec"]),
    ("throng-events", &[]),
    ("throng-harness", &["throng-spec", "throng-codec", "throng-events", "throng-reference"]),
    ("throng-loadgen", &["throng-events"]),
    ("throng-benches", &["throng-loadgen", "throng-mesh", "throng-kit"]),
    ("throng-core-benches", &["throng-engine", "throng-chat", "throng-world"]),
    ("throng-kit", &[]),
    ("throng-tests", &["throng-kit"]),
    ("throng-world", &["throng-engine", "throng-chat", "throng-codec"]),
    (
        "throng-sim",
        &[
            "throng-wire",
            "throng-mesh",
            "throng-engine",
            "throng-chat",
            "throng-cluster",
            "throng-codec",
            "throng-world",
        ],
    ),
    ("xtask", &["throng-kit"]),
];

/// What only the tests of a package may use as well; any may use the kit for tests.
const TESTS_MAY_USE: &[(&str, &[&str])] = &[
    ("throng-wire", &["throng-spec"]),
    ("throng-engine", &["throng-spec", "throng-world"]),
    ("throng-chat", &["throng-spec", "throng-world"]),
    ("throng", &["throng-spec", "throng-kit"]),
    ("throng-rest", &["throng-spec", "throng-chat"]),
    ("throng-redis", &["throng-spec", "throng-kit"]),
    ("throng-store", &["throng-kit"]),
    ("throng-loadgen", &["throng-kit"]),
    ("throng-harness", &["throng-kit"]),
    ("throng-import", &["throng-kit", "throng-health"]),
    ("throng-runtime", &["throng-kit"]),
    ("throng-benches", &["throng-wire"]),
    ("throng-core-benches", &["throng-mesh"]),
    ("throng-codec", &["throng-spec"]),
];
const KIT: &str = "throng-kit";

/// The pure crates: no clock, socket, thread, log or chance may enter through a dependency.
/// `purity` keeps them from the same in the standard library.
pub const PURE: &[&str] = &[
    "throng-spec",
    "throng-tables",
    "throng-wire",
    "throng-engine",
    "throng-chat",
    "throng-cluster",
];
const IMPURE: &[&str] = &[
    "async-std",
    "axum",
    "chrono",
    "getrandom",
    "hyper",
    "libc",
    "log",
    "mio",
    "monoio",
    "nix",
    "redis",
    "rustix",
    "socket2",
    "sqlx",
    "time",
    "tokio",
    "tracing",
    "uuid",
];

/// Every broken rule, as a sentence.
pub fn check() -> Outcome {
    let broken = broken_rules(&metadata()?);
    if broken.is_empty() { Ok(()) } else { Err(Failure::Failed(broken.join("\n"))) }
}

fn broken_rules(metadata: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if !MAY_USE.iter().any(|(known, _)| *known == name) {
            broken.push(format!("{name} is not in the list of ci/src/imports.rs"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let is_test_only = dependency["kind"].as_str() == Some("dev");
            let is_allowed =
                is_in(MAY_USE, name, used) || (is_test_only && is_in_tests(name, used));
            if ours.contains(used) && !is_allowed {
                let what = if is_test_only { "its tests use" } else { "it uses" };
                broken.push(format!("{name}: {what} {used}, against the direction of imports"));
            }
            if PURE.contains(&name) && !is_test_only && IMPURE.contains(&used) {
                broken.push(format!("{name} is pure and may not use {used}"));
            }
        }
    }
    broken
}

fn is_in_tests(name: &str, used: &str) -> bool {
    is_in(TESTS_MAY_USE, name, used) || used == KIT
}

fn is_in(list: &[(&str, &[&str])], name: &str, used: &str) -> bool {
    list.iter().any(|(known, uses)| *known == name && uses.contains(&used))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::broken_rules;

    fn metadata(name: &str, uses: &str, kind: Option<&str>) -> serde_json::Value {
        json!({"packages": [
            {"name": name, "dependencies": [{"name": uses, "kind": kind}]},
            {"name": "throng-wire", "dependencies": []},
            {"name": "throng-spec", "dependencies": []},
            {"name": "throng-engine", "dependencies": []},
        ]})
    }

    #[test]
    fn the_workspace_keeps_its_directions() {
        if let Err(crate::Failure::Failed(why)) = super::check() {
            panic!("{why}");
        }
    }

    #[test]
    fn a_harness_that_imports_the_server_is_found() {
        let broken = broken_rules(&metadata("throng-harness", "throng-wire", None));
        assert_eq!(broken.len(), 1, "{broken:?}");
    }

    #[test]
    fn a_pure_crate_with_a_clock_is_found() {
        assert_eq!(broken_rules(&metadata("throng-engine", "tokio", None)).len(), 1);
        assert_eq!(broken_rules(&metadata("throng-engine", "tokio", Some("dev"))).len(), 0);
    }

    #[test]
    fn the_spec_is_for_the_tests_of_the_codec_only() {
        assert_eq!(broken_rules(&metadata("throng-chat", "throng-spec", None)).len(), 1);
        assert_eq!(broken_rules(&metadata("throng-chat", "throng-spec", Some("dev"))).len(), 0);
    }

    #[test]
    fn a_new_package_must_be_listed() {
        assert_eq!(broken_rules(&metadata("throng-new", "serde", None)).len(), 1);
    }
}
