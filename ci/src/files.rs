//! The files of the repository: what Git tracks, and what it would if it were added.

use std::fs;
use std::path::Path;

use crate::process::{read, root};
use crate::{Failure, Outcome};

/// Paths below the top folder, with `/`, in order.
pub fn tracked() -> Outcome<Vec<String>> {
    let args = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed =
        read("git", &args, ".").ok_or_else(|| Failure::Failed("git ls-files failed".to_owned()))?;
    let mut paths: Vec<String> = listed.lines().map(str::to_owned).collect();
    paths.sort();
    // A deleted file is listed until its deletion is committed.
    paths.retain(|path| root().join(path).exists());
    paths.dedup();
    Ok(paths)
}

pub fn extension(path: &str) -> &str {
    Path::new(path).extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

pub fn text(path: &str) -> Outcome<String> {
    let bytes = fs::read(root().join(path))?;
    String::from_utf8(bytes).map_err(|_| Failure::Failed(format!("{path} is not UTF-8")))
}
