//! Each pure crate has a `clippy.toml` that forbids clocks, sockets, threads, files and random
//! maps. Clippy reads one such file per crate and does not merge it with the one at the top, so
//! each must be the one at the top followed by `ci/pure.toml`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::imports::PURE;
use crate::process::{metadata, root};
use crate::{Failure, Outcome, files};

pub fn check() -> Outcome {
    let want = want(&files::text("clippy.toml")?, &files::text("ci/pure.toml")?);
    let broken = broken(&metadata()?, &want);
    if broken.is_empty() { Ok(()) } else { Err(Failure::Failed(broken.join("\n"))) }
}

fn want(top: &str, pure: &str) -> String {
    format!("{top}{pure}")
}

fn broken(metadata: &Value, want: &str) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let is_pure = |package: &&Value| PURE.iter().any(|pure| package["name"] == *pure);
    packages.filter(is_pure).filter_map(|package| differs(package, want)).collect()
}

fn differs(package: &Value, want: &str) -> Option<String> {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
    let file = manifest.with_file_name("clippy.toml");
    let shown = file.strip_prefix(root()).unwrap_or(&file).display();
    let why = match fs::read_to_string(&file) {
        Ok(text) if text == want => return None,
        Ok(_) => "is not clippy.toml followed by ci/pure.toml",
        Err(_) => "is missing",
    };
    Some(format!("{shown} {why}: cat clippy.toml ci/pure.toml > {shown}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::broken;
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
            broken(&metadata, "other"),
            [
                "server/nowhere/clippy.toml is missing: \
                 cat clippy.toml ci/pure.toml > server/nowhere/clippy.toml",
                "clippy.toml is not clippy.toml followed by ci/pure.toml: \
                 cat clippy.toml ci/pure.toml > clippy.toml",
            ]
        );
    }
}
