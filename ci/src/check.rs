//! `cargo xtask check`: what needs no running server.

use crate::process::{is_installed, root, run, say};
use crate::{Failure, Outcome, imports};

pub fn check() -> Outcome {
    let mut failed = Vec::new();
    let mut step = |name: &'static str, work: &dyn Fn() -> Outcome| {
        say(name);
        if let Err(Failure::Failed(why) | Failure::Usage(why) | Failure::Missing(why)) = work() {
            eprintln!("{why}");
            failed.push(name);
        }
    };
    step("formatting", &|| run("cargo", &["fmt", "--all", "--check"], "."));
    step("lints", &|| {
        let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run("cargo", &args, ".")
    });
    step("import directions", &imports::check);
    step("licences and advisories", &|| {
        if is_installed("cargo-deny") {
            return run("cargo", &["deny", "--workspace", "check"], ".");
        }
        println!("skipped: install cargo-deny (cargo install --locked cargo-deny) to run it");
        Ok(())
    });
    step("web client types", &|| {
        if root().join("server/web/node_modules").is_dir() {
            return run("npm", &["run", "--silent", "check"], "server/web");
        }
        println!("skipped: run `cargo xtask setup` first");
        Ok(())
    });
    if failed.is_empty() {
        println!("\nall checks passed");
        Ok(())
    } else {
        Err(Failure::Failed(format!("failed: {}", failed.join(", "))))
    }
}
