//! Installs what a machine lacks, once: system packages (the kit's table), Node packages, Python
//! environments.
//! Each part leaves a stamp with a hash of what it was made from, so a second run does nothing.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use throng_kit::Program;
use throng_kit::process::is_root;
use throng_kit::programs::{Need, NeededBy};

use crate::process::{command, finish, is_installed, node_dir, read, root, run, say, target};
use crate::{Failure, Outcome};

/// Vite needs at least this Node; Debian 12 ships 18.
const NODE_MIN: (u32, u32) = (20, 19);

/// What `run` needs: enough to build the web client and the server.
pub fn for_run() -> Outcome {
    install(Need::up_to(NeededBy::Run))?;
    recent_node()?;
    web_client()
}

/// What `instructions` needs.
pub fn for_instructions() -> Outcome {
    install([Program::Cc, Program::Valgrind].map(Need::from))
}

/// What `fresh` needs.
pub fn for_fresh() -> Outcome {
    install([Program::Debootstrap.into()])
}

/// What `fuzz` needs.
pub fn for_fuzz() -> Outcome {
    install([Program::Cc, Program::Cxx].map(Need::from))
}

/// What `test` and its like need.
pub fn everything() -> Outcome {
    for_build_of_tests()?;
    clients()
}

/// What the tests need before they can be built.
pub fn for_build_of_tests() -> Outcome {
    install(Need::up_to(NeededBy::Test))?;
    for_run()
}

/// The clients of the end-to-end tests.
pub fn clients() -> Outcome {
    npm_ci("tests/js")?;
    python_env("4")?;
    python_env("5")
}

/// Installs what is missing, or lists it when we may not.
pub fn install(needs: impl IntoIterator<Item = Need>) -> Outcome {
    let missing: Vec<Need> = needs.into_iter().filter(|need| !need.is_present()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if !is_root() || !is_installed("apt-get") {
        let list: Vec<String> = missing
            .iter()
            .map(|need| format!("  {:<20} {:<16} {}", need.name, need.package, need.why))
            .collect();
        return Err(Failure::Missing(format!(
            "these programs are missing (with their packages):\n{}\ninstall them, then run the \
             command again; on Debian or Ubuntu:\n  sudo apt-get update && sudo apt-get install -y \
             --no-install-recommends {}",
            list.join("\n"),
            packages.join(" ")
        )));
    }
    say(&format!("installing {}", packages.join(" ")));
    run("apt-get", &["-q", "update"], ".")?;
    let mut install = command(
        "apt-get",
        &["-q", "install", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"],
        ".",
    );
    install.args(&packages).env("DEBIAN_FRONTEND", "noninteractive");
    finish(install)?;
    match missing.iter().find(|need| !need.is_present()) {
        None => Ok(()),
        Some(Need { name, package, why, .. }) => Err(Failure::Failed(format!(
            "{package} was installed, but {name} is still missing; it {why}"
        ))),
    }
}

/// Puts a recent Node below `target/tools` when the system's is too old; it comes from the npm
/// registry like every other JavaScript package.
fn recent_node() -> Outcome {
    if node_version().is_some_and(|version| version >= NODE_MIN) {
        return Ok(());
    }
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => {
            return Err(Failure::Missing(format!(
                "Node {}.{} or newer is needed, and there is no package of it for {other}",
                NODE_MIN.0, NODE_MIN.1
            )));
        }
    };
    say("the system's Node is too old; fetching a newer one into target/tools");
    let package = format!("node-linux-{arch}");
    let dir = target().join("tools");
    let unpacked = dir.join("npm").join("node_modules").join(&package);
    fs::create_dir_all(dir.join("npm"))?;
    let prefix = dir.join("npm").to_string_lossy().into_owned();
    let spec = format!("{package}@22");
    let args = ["install", "--prefix", &prefix, "--no-audit", "--no-fund", "--no-save", &spec];
    run("npm", &args, ".")?;
    let link = node_dir();
    let link = link.parent().expect("the folder has a parent");
    if link.exists() {
        fs::remove_file(link)?;
    }
    std::os::unix::fs::symlink(unpacked, link)?;
    match node_version() {
        Some(version) if version >= NODE_MIN => Ok(()),
        found => Err(Failure::Failed(format!("Node is still too old: {found:?}"))),
    }
}

fn node_version() -> Option<(u32, u32)> {
    parse_version(&read("node", &["--version"], ".")?)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Installs and builds the web client when its sources changed.
fn web_client() -> Outcome {
    let dir = "server/web";
    npm_ci(dir)?;
    let mut sources = vec!["package-lock.json", "index.html", "src", "public"];
    sources.extend(["vite.config.ts", "tsconfig.json"]);
    let made = root().join(dir).join("dist").join("index.html");
    once(&format!("{dir}/build"), &hash_of(dir, &sources)?, made.exists(), || {
        say("building the web client");
        run("npm", &["run", "--silent", "build"], dir)
    })
}

fn npm_ci(dir: &str) -> Outcome {
    let modules = root().join(dir).join("node_modules");
    let sources = ["package.json", "package-lock.json"];
    once(&format!("{dir}/npm"), &hash_of(dir, &sources)?, modules.is_dir(), || {
        say(&format!("npm ci in {dir}"));
        run("npm", &["ci", "--no-audit", "--no-fund", "--silent"], dir)
    })
}

/// The Python interpreter that has that generation of python-socketio.
pub fn python(generation: &str) -> PathBuf {
    target().join("python").join(format!("socketio-{generation}")).join("bin").join("python")
}

fn python_env(generation: &str) -> Outcome {
    let wants = format!("requirements-{generation}.txt");
    let python = python(generation);
    let hash = hash_of("tests/python", &[&wants])?;
    once(&format!("python/{generation}"), &hash, python.exists(), || {
        say(&format!("python-socketio {generation}"));
        let env = python.parent().and_then(Path::parent).expect("bin/python lies two levels down");
        run("python3", &["-m", "venv", "--clear", &env.to_string_lossy()], ".")?;
        let args = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", &wants];
        run(&python.to_string_lossy(), &args, "tests/python")
    })
}

/// Does `work` unless the stamp `name` says that it was done for the same `hash`.
fn once(name: &str, hash: &str, is_present: bool, work: impl FnOnce() -> Outcome) -> Outcome {
    let stamp = target().join("stamps").join(name.replace('/', "-"));
    if is_present && fs::read_to_string(&stamp).is_ok_and(|old| old == hash) {
        return Ok(());
    }
    work()?;
    fs::create_dir_all(stamp.parent().expect("the stamp lies in a folder"))?;
    fs::write(stamp, hash)?;
    Ok(())
}

/// One hash over the files and folders named, in a fixed order; missing ones count as empty.
fn hash_of(dir: &str, sources: &[&str]) -> Outcome<String> {
    let mut hasher = DefaultHasher::new();
    root().to_string_lossy().hash(&mut hasher);
    for source in sources {
        hash_path(&root().join(dir).join(source), &mut hasher)?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn hash_path(path: &Path, hasher: &mut DefaultHasher) -> Outcome {
    path.to_string_lossy().hash(hasher);
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            hash_path(&entry, hasher)?;
        }
    } else if path.exists() {
        fs::read(path)?.hash(hasher);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn node_versions_compare_by_number() {
        assert_eq!(parse_version("v20.19.4\n"), Some((20, 19)));
        assert!(parse_version("v18.20.4") < Some(super::NODE_MIN));
        assert!(parse_version("v22.2.0") > Some(super::NODE_MIN));
        assert_eq!(parse_version("nonsense"), None);
    }
}
