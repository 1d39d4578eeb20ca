//! The one table of external programs. `cargo xtask setup` installs from it, and a program that is
//! not in it cannot be started: clippy rejects `Command::new` elsewhere in the workspace, and
//! `tests/programs.rs` rejects it in scripts of other languages.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What a program is needed for, which decides when it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeededBy {
    /// Everything; part of every Debian, or of a Rust toolchain.
    Everything,
    /// `cargo xtask run`: building the web client and the server.
    Run,
    /// `cargo xtask test`.
    Test,
    /// One command, which installs it itself or does something else without it.
    Optional,
}

macro_rules! programs {
    ($($variant:ident $name:literal in $package:literal, $needed_by:ident: $why:literal;)+) => {
        /// A program that tests, benches or xtask start.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Program {
            $(#[doc = $why] $variant),+
        }

        impl Program {
            /// Every program.
            pub const ALL: &[Program] = &[$(Program::$variant),+];

            fn row(self) -> Need {
                match self {
                    $(Program::$variant => Need {
                        name: $name,
                        package: $package,
                        needed_by: NeededBy::$needed_by,
                        why: $why,
                        look: Look::Program(Program::$variant),
                    }),+
                }
            }
        }
    };
}

programs! {
    AptGet          "apt-get"            in "apt",              Everything: "installs what is missing";
    Bash            "bash"               in "bash",             Everything: "runs the scripts";
    Cargo           "cargo"              in "rustup",           Everything: "builds";
    Chown           "chown"              in "coreutils",        Everything: "gives a directory to a database server's user";
    Cp              "cp"                 in "coreutils",        Everything: "copies settings into the root of `fresh`";
    Dpkg            "dpkg"               in "dpkg",             Everything: "unpacks libuv for a peer of the benches";
    Nice            "nice"               in "coreutils",        Everything: "starves the load generator";
    Rustc           "rustc"              in "rustup",           Everything: "names its version in results";
    Nsenter         "nsenter"            in "util-linux",       Everything: "starts a second server on a test's disk";
    Prlimit         "prlimit"            in "util-linux",       Everything: "lowers the limits of a server";
    Setpriv         "setpriv"            in "util-linux",       Everything: "starts servers as another user and ends them with us";
    Setsid          "setsid"             in "util-linux",       Everything: "starts the nodes under test";
    Unshare         "unshare"            in "util-linux",       Everything: "gives a server a disk of its own";
    Tar             "tar"                in "tar",              Everything: "keeps the root of `fresh`";
    Taskset         "taskset"            in "util-linux",       Everything: "binds servers of the benches to a core";
    Cxx             "c++"                in "g++",              Test: "compiles libFuzzer";
    Cc              "cc"                 in "build-essential",  Run: "compiles the embedded SQLite";
    Git             "git"                in "git",              Run: "names the commit in results";
    Node            "node"               in "nodejs",           Run: "builds the web client";
    Npm             "npm"                in "npm",              Run: "fetches JavaScript packages";
    Caddy           "caddy"              in "caddy",            Test: "runs the test of the recipes for proxies";
    Chromium        "chromium"           in "chromium",         Test: "runs the web client's tests";
    HaProxy         "haproxy"            in "haproxy",          Test: "runs the test of the recipes for proxies";
    Initdb          "initdb"             in "postgresql",       Test: "runs the tests of the store";
    MariaDb         "mariadb"            in "mariadb-server",   Test: "runs the tests of the store";
    MariaDbInstall  "mariadb-install-db" in "mariadb-server",   Test: "runs the tests of the store";
    MariaDbServer   "mariadbd"           in "mariadb-server",   Test: "runs the tests of the store";
    Nginx           "nginx"              in "nginx-light",      Test: "runs the test of the guide for moving";
    PgIsReady       "pg_isready"         in "postgresql",       Test: "runs the tests of the store";
    Php             "php"                in "php-cli",          Test: "runs the test of the guide for moving";
    PkgConfig       "pkg-config"         in "pkg-config",       Test: "builds the Rust Socket.IO client";
    Postgres        "postgres"           in "postgresql",       Test: "runs the tests of the store";
    Psql            "psql"               in "postgresql",       Test: "runs the tests of the store";
    Python          "python3"            in "python3",          Test: "runs the Python Socket.IO clients";
    RedisCli        "redis-cli"          in "redis-tools",      Test: "runs the tests of the Redis driver";
    RedisSentinel   "redis-sentinel"     in "redis-sentinel",   Test: "runs the tests of the Redis driver";
    RedisServer     "redis-server"       in "redis-server",     Test: "runs the tests of the Redis driver";
    Valgrind        "valgrind"           in "valgrind",         Test: "counts the instructions of a delivery";
    CargoDeny       "cargo-deny"         in "cargo-deny",       Optional: "checks licences and advisories";
    Debootstrap     "debootstrap"        in "debootstrap",      Optional: "makes the empty root of `fresh`";
}

/// What is installed in addition: libraries, headers, extensions.
const LIBRARIES: &[Need] = &[
    Need {
        name: "ensurepip",
        package: "python3-venv",
        needed_by: NeededBy::Test,
        why: "runs the Python Socket.IO clients",
        look: Look::Runs(Program::Python, &["-c", "import ensurepip, venv"]),
    },
    Need {
        name: "redis.so",
        package: "php-redis",
        needed_by: NeededBy::Test,
        why: "runs the test of the guide for moving",
        look: Look::Runs(Program::Php, &["-r", "exit((int) !extension_loaded('redis'));"]),
    },
    Need {
        name: "msgpack.so",
        package: "php-msgpack",
        needed_by: NeededBy::Test,
        why: "runs the test of the guide for moving",
        look: Look::Runs(Program::Php, &["-r", "exit((int) !extension_loaded('msgpack'));"]),
    },
    Need {
        name: "openssl/ssl.h",
        package: "libssl-dev",
        needed_by: NeededBy::Test,
        why: "builds the Rust Socket.IO client",
        look: Look::File("/usr/include/openssl/ssl.h"),
    },
];

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The program, or the file.
    pub name: &'static str,
    /// The Debian package that holds it.
    pub package: &'static str,
    /// When it is installed.
    pub needed_by: NeededBy,
    /// What it does here.
    pub why: &'static str,
    look: Look,
}

#[derive(Clone, Copy, Debug)]
enum Look {
    Program(Program),
    File(&'static str),
    /// The program exits with 0.
    Runs(Program, &'static [&'static str]),
}

impl Need {
    /// Every row that `needed_by` and what precedes it need.
    pub fn up_to(needed_by: NeededBy) -> impl Iterator<Item = Need> {
        let programs = Program::ALL.iter().map(|program| program.row());
        programs.chain(LIBRARIES.iter().copied()).filter(move |need| need.needed_by <= needed_by)
    }

    /// Whether this machine has it.
    pub fn is_present(&self) -> bool {
        match self.look {
            Look::Program(program) => program.find().is_some(),
            Look::File(path) => Path::new(path).exists(),
            Look::Runs(program, args) => program.find().is_some_and(|path| {
                let mut command = start(path);
                command.args(args).stdin(Stdio::null());
                command.output().is_ok_and(|output| output.status.success())
            }),
        }
    }
}

impl From<Program> for Need {
    fn from(program: Program) -> Self {
        program.row()
    }
}

impl Program {
    /// The program of that name.
    #[track_caller]
    pub fn named(name: &str) -> Program {
        let found = Program::ALL.iter().find(|program| program.name() == name);
        *found.unwrap_or_else(|| panic!("{name} is not in tests/kit/src/programs.rs"))
    }

    /// Its file name.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Where it is, if it is installed.
    pub fn find(self) -> Option<PathBuf> {
        let given = match self {
            Program::Chromium => env::var_os("CHROMIUM").map(PathBuf::from),
            _ => None,
        };
        let names: &[&str] = match self {
            Program::Chromium => {
                &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
            }
            _ => &[self.name()],
        };
        given
            .filter(|path| is_executable(path))
            .or_else(|| names.iter().find_map(|name| search(name)))
            .or_else(|| match self {
                Program::Cargo => env::var_os("CARGO").map(PathBuf::from),
                _ => None,
            })
    }

    /// A command that runs it.
    #[track_caller]
    pub fn command(self) -> Command {
        let Need { name, package, .. } = self.row();
        start(self.find().unwrap_or_else(|| {
            panic!("{name} (Debian package {package}) is not installed: run `cargo xtask setup`")
        }))
    }
}

/// A command that runs a program of this workspace: one that it builds, a script, an environment
/// of Python below `target`.
#[track_caller]
pub fn own(path: impl AsRef<Path>) -> Command {
    let path = path.as_ref();
    let is_own = own_dirs().iter().any(|dir| path.starts_with(dir));
    assert!(is_own, "{} is not ours: external programs are in programs.rs", path.display());
    start(path)
}

/// The same command, run by a program that replaces itself by it, such as `taskset`.
pub fn through(wrapper: Program, args: &[&str], inner: &Command) -> Command {
    let mut command = wrapper.command();
    command.args(args).arg(inner.get_program()).args(inner.get_args());
    for (key, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    if let Some(dir) = inner.get_current_dir() {
        command.current_dir(dir);
    }
    command
}

/// The repository's top folder.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let kit = Path::new(env!("CARGO_MANIFEST_DIR"));
        kit.ancestors().nth(2).expect("tests/kit lies in the repository").to_owned()
    })
}

/// Where Cargo builds, honouring `CARGO_TARGET_DIR`.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where xtask puts a newer Node when the system's is too old.
pub fn node_dir() -> PathBuf {
    target().join("tools/node/bin")
}

/// The only place where a process comes from.
#[expect(clippy::disallowed_methods, reason = "every caller has looked the program up")]
fn start(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

fn own_dirs() -> Vec<PathBuf> {
    let mut dirs = vec![root().to_owned(), target()];
    dirs.extend(env::var_os("E2E_BIN_DIR").map(PathBuf::from));
    // A test or a program of ours lies in the target folder that it was built in.
    let exe = env::current_exe().ok();
    dirs.extend(exe.and_then(|exe| exe.ancestors().nth(2).map(Path::to_owned)));
    dirs
}

/// Debian keeps the programs of PostgreSQL in a folder per version, and daemons in `sbin`, which is
/// not on every user's path.
fn search(name: &str) -> Option<PathBuf> {
    let postgres = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut dirs: Vec<PathBuf> =
        postgres.filter_map(|version| Some(version.ok()?.path().join("bin"))).collect();
    dirs.sort();
    dirs.reverse();
    dirs.insert(0, node_dir());
    dirs.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    dirs.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs.into_iter().map(|dir| dir.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::{Need, NeededBy, Program, own, search};

    #[test]
    fn what_tests_need_includes_what_run_needs_and_redis_sentinel() {
        let packages: Vec<&str> = Need::up_to(NeededBy::Test).map(|need| need.package).collect();
        for package in ["nodejs", "redis-sentinel", "redis-tools", "php-redis", "libssl-dev"] {
            assert!(packages.contains(&package), "{package} is not installed");
        }
        assert!(!packages.contains(&"cargo-deny"), "optional programs are not from Debian");
        assert!(Need::up_to(NeededBy::Run).all(|need| need.package != "chromium"));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = Program::ALL.iter().map(|program| program.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Program::ALL.len());
    }

    #[test]
    fn a_program_is_found_by_name() {
        assert!(Program::Bash.find().is_some());
        assert_eq!(search("no-such-program"), None);
    }

    #[test]
    #[should_panic(expected = "is not ours")]
    fn an_external_program_is_not_own() {
        let _ = own("/usr/bin/env");
    }
}
