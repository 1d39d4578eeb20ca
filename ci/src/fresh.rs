//! `cargo xtask fresh`: README's two commands in an empty Debian with Rust and nothing else.
//!
//! Each command runs in a mount and process namespace of its own, so whatever happens to it, its
//! mounts and processes end with it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use throng_kit::process::is_root;

use crate::process::{command, read, root, run, run_and_read, say, target};
use crate::{Failure, Outcome, setup};

/// What a person has who has installed Rust and cloned the project: Git, and a linker.
const PACKAGES: &str = "ca-certificates,git,gcc,libc6-dev";
const CLONE: &str = "root/throng";
const TOOLCHAIN: &str = "opt/rust";
/// Where `cargo xtask run` serves.
const SERVES: &str = "127.0.0.1:8090";
const BUILD_TIMEOUT: Duration = Duration::from_secs(3600);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How this machine reaches registries: proxies and certificates.
const PASSED_ON: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ssl_cert",
    "curl_ca",
    "requests_ca",
    "git_ssl",
    "node_extra_ca",
    "npm_config",
    "pip_",
    "cargo_http",
    "cargo_net",
    "cargo_regist",
];
/// Tables of Cargo's configuration about the same.
const CARGO_TABLES: &[&str] = &["source", "registry", "registries", "net", "http"];

/// Binds what a system needs into the root and makes it the root of its mount namespace: the kernel lets no
/// process of a `chroot` make user namespaces, and tests give servers disks in such. `$1` is the root, `$2` the
/// host's toolchain, the rest a command with its environment.
const ENTER: &str = r#"
dir=$1; mount --bind "$dir" "$dir"
mount --bind "$2" "$dir/opt/rust"; mount -o remount,bind,ro "$dir/opt/rust"; shift 2
mount -t proc proc "$dir/proc"; mount --rbind /dev "$dir/dev"; mount --rbind /sys "$dir/sys"
cd "$dir"; pivot_root . .; umount -l .; cd /
"$@"; exit $?
"#;

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    only: Option<String>,
    is_kept: bool,
}

/// `cargo xtask fresh [--only run|test] [--keep]`
pub fn fresh(args: &[String]) -> Outcome {
    let options = parse(args).map_err(Failure::Usage)?;
    if !is_root() {
        return Err(Failure::Missing(
            "`fresh` must run as root: it makes a root and changes to it".into(),
        ));
    }
    if TcpStream::connect(SERVES).is_ok() {
        return Err(Failure::Failed(format!("{SERVES} is in use")));
    }
    setup::for_fresh()?;
    let fresh = Fresh::make(options.is_kept)?;
    let is_wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    if is_wanted("run") {
        fresh.run()?;
    }
    if is_wanted("test") {
        fresh.test()?;
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--keep" => options.is_kept = true,
            "--only" => match args.next() {
                Some(only @ ("run" | "test")) => options.only = Some(only.to_owned()),
                _ => return Err("--only needs `run` or `test`".to_owned()),
            },
            other => return Err(format!("unknown argument `{other}`: [--only run|test] [--keep]")),
        }
    }
    Ok(options)
}

/// The root with the clone in it.
struct Fresh {
    dir: PathBuf,
    is_kept: bool,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.is_kept {
            println!("kept: {}", self.dir.display());
        } else if let Err(error) = fs::remove_dir_all(&self.dir) {
            println!("{} could not be removed: {error}", self.dir.display());
        }
    }
}

impl Fresh {
    fn make(is_kept: bool) -> Outcome<Fresh> {
        let dir = target().join("fresh").join("root");
        let suite = suite();
        let archive = target().join("fresh").join(format!("{suite}.tar"));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let fresh = Fresh { dir, is_kept };
        let paths = (fresh.dir.display().to_string(), archive.display().to_string());
        if archive.exists() {
            say("unpacking the empty Debian");
            run("tar", &["--numeric-owner", "-xpf", &paths.1, "-C", &paths.0], ".")?;
        } else {
            say(&format!("making an empty Debian ({suite})"));
            let include = format!("--include={PACKAGES}");
            let options = ["--variant=minbase", &include, &suite, &paths.0, &mirror()];
            run("debootstrap", &options, ".")?;
            // Renamed when it is whole.
            let partial = format!("{}.part", paths.1);
            run("tar", &["--numeric-owner", "-cpf", &partial, "-C", &paths.0, "."], ".")?;
            fs::rename(partial, &archive)?;
        }
        fresh.copy_settings()?;
        fresh.clone()?;
        Ok(fresh)
    }

    /// What this machine needs to reach package registries; missing files are no error.
    fn copy_settings(&self) -> Outcome {
        let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
        if is_debian() {
            let own = self.dir.join("etc/apt/sources.list");
            if own.exists() {
                fs::remove_file(own)?;
            }
        }
        let apt = ["sources.list", "sources.list.d", "apt.conf.d", "auth.conf.d", "keyrings"];
        let apt = apt.iter().filter(|_| is_debian()).map(|name| format!("/etc/apt/{name}"));
        let others = ["/etc/ssl/certs", "/usr/local/share/ca-certificates", "/etc/pip.conf"];
        let network = ["/etc/resolv.conf", "/etc/hosts"];
        let files = apt.chain(others.iter().chain(&network).map(|path| (*path).to_owned()));
        for path in files {
            if Path::new(&path).exists() {
                let to = self.dir.join(path.trim_start_matches('/'));
                let parent = to.parent().expect("the file lies in a folder");
                fs::create_dir_all(parent)?;
                run("cp", &["-aL", "--remove-destination", &path, &parent.to_string_lossy()], ".")?;
            }
        }
        let npmrc = Path::new(&home).join(".npmrc");
        if npmrc.exists() {
            fs::copy(npmrc, self.dir.join("root/.npmrc"))?;
        }
        let config = Path::new(&home).join(".cargo/config.toml");
        if let Ok(text) = fs::read_to_string(config) {
            fs::create_dir_all(self.dir.join("root/.cargo"))?;
            fs::write(self.dir.join("root/.cargo/config.toml"), registries(&text))?;
        }
        Ok(())
    }

    /// The current commit, as a person would get it.
    fn clone(&self) -> Outcome {
        if read("git", &["status", "--porcelain"], ".").is_some_and(|text| !text.is_empty()) {
            println!("changes that are not committed are not in the clone");
        }
        let to = self.dir.join(CLONE).display().to_string();
        let from = root().display().to_string();
        run("git", &["clone", "--quiet", "--no-hardlinks", &from, &to], "/")
    }

    /// `line` of a shell, in the clone.
    fn command(&self, line: &str) -> Outcome<Command> {
        let toolchain = read("rustc", &["--print", "sysroot"], ".")
            .ok_or_else(|| Failure::Failed("rustc --print sysroot failed".to_owned()))?;
        fs::create_dir_all(self.dir.join(TOOLCHAIN))?;
        // Ends with us, and the namespaces with it.
        let enter = ["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"];
        let mut command = command("setpriv", &enter, "/");
        command.args(["--kill-child", "sh", "-ec", ENTER, "enter"]);
        command.arg(&self.dir).arg(toolchain.trim()).args(["/usr/bin/env", "-i"]);
        command.args(["HOME=/root", "TERM=dumb", "LANG=C.UTF-8"]);
        command.arg(format!("PATH=/{TOOLCHAIN}/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        for (name, value) in std::env::vars() {
            if is_passed_on(&name, &value, &self.dir) {
                command.arg(format!("{name}={value}"));
            }
        }
        command.args(["sh", "-c", &format!("cd /{CLONE} && {line}")]).stdin(Stdio::null());
        Ok(command)
    }

    fn run(&self) -> Outcome {
        say("cargo xtask run, in the empty Debian");
        let start = Instant::now();
        let mut command = self.command("cargo xtask run")?;
        let mut child = command.spawn()?;
        let tried = try_server(&mut child, &self.dir.join(CLONE).join("data"));
        let took = start.elapsed().as_secs();
        if tried.is_err() {
            // The namespace ends with its parent.
            let _ = child.kill();
            let _ = child.wait();
        }
        tried?;
        println!("ok     cargo xtask run: it served after {took} s, registered a user and stopped");
        Ok(())
    }

    fn test(&self) -> Outcome {
        say("cargo xtask test, in the empty Debian");
        let start = Instant::now();
        let (succeeded, _) = run_and_read(self.command("cargo xtask test")?)?;
        let artifacts = self.dir.join(CLONE).join("target/artifacts");
        let kept = target().join("artifacts").join("fresh");
        if artifacts.exists() {
            fs::create_dir_all(&kept)?;
            run("cp", &["-r", &artifacts.to_string_lossy(), &kept.to_string_lossy()], ".")?;
        }
        let took = start.elapsed().as_secs();
        if !succeeded {
            return Err(Failure::Failed(format!("cargo xtask test failed after {took} s")));
        }
        println!("ok     cargo xtask test, {took} s");
        Ok(())
    }
}

/// Waits until the server that keeps its data there is up, fetches its page, registers a user, and
/// stops it.
fn try_server(child: &mut Child, data: &Path) -> Outcome {
    let deadline = Instant::now() + BUILD_TIMEOUT;
    // Without its data, what answers is another server of this machine.
    let is_up =
        || data.exists() && ask("GET", "/health", "").is_ok_and(|(status, _)| status == 200);
    while !is_up() {
        if let Some(status) = child.try_wait()? {
            return Err(Failure::Failed(format!("cargo xtask run ended early: {status}")));
        }
        if Instant::now() > deadline {
            return Err(Failure::Failed(format!("nothing is served at {SERVES}")));
        }
        thread::sleep(Duration::from_millis(500));
    }
    expect("GET", "/", "", "<script")?;
    let user = r#"{"name":"fresh@example.org","password":"a fresh password"}"#;
    expect("POST", "/api/register", user, "api_token")?;
    let kill = format!("kill -TERM {}", youngest(child.id()));
    run("bash", &["-c", &kill], "/")?;
    let deadline = Instant::now() + STOP_TIMEOUT;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(Failure::Failed(format!("the server stopped: {status}"))),
            None if Instant::now() > deadline => {
                return Err(Failure::Failed("the server does not stop".to_owned()));
            }
            None => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn expect(method: &str, path: &str, body: &str, part: &str) -> Outcome {
    let (status, text) = ask(method, path, body)?;
    if (200..300).contains(&status) && text.contains(part) {
        return Ok(());
    }
    Err(Failure::Failed(format!("{method} {path}: {status} {text}")))
}

/// One HTTP request: the status and all that follows.
fn ask(method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(SERVES)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let len = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {SERVES}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, text))
}

/// The last of a chain of processes that started one another: here, the server.
fn youngest(mut process: u32) -> u32 {
    loop {
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        let text = children.unwrap_or_default();
        match text.split_whitespace().next().and_then(|child| child.parse().ok()) {
            Some(child) => process = child,
            None => return process,
        }
    }
}

fn is_debian() -> bool {
    os_release("ID").as_deref() == Some("debian")
}

/// That of this machine, whose package sources are taken, or Debian 12.
fn suite() -> String {
    let own = os_release("VERSION_CODENAME").filter(|_| is_debian());
    own.unwrap_or_else(|| "bookworm".to_owned())
}

fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// The first package source of this machine, if it is a Debian.
fn mirror() -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let more = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    files.extend(more.map(|entry| entry.path()));
    files.retain(|path| path.extension().is_some_and(|end| end == "list" || end == "sources"));
    let texts = files.iter().filter(|_| is_debian()).filter_map(|p| fs::read_to_string(p).ok());
    let found = texts.into_iter().find_map(|text| source(&text));
    found.unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
}

/// `URIs: http://…` or `deb [options] http://… suite main`
fn source(text: &str) -> Option<String> {
    let lines = text.lines().filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
    let mut words = lines.flat_map(str::split_whitespace);
    words.find(|word| word.contains("://")).map(str::to_owned)
}

/// Whether a variable is about reaching registries, and, if it names a path, that is there too.
fn is_passed_on(name: &str, value: &str, dir: &Path) -> bool {
    let name = name.to_lowercase();
    let is_wanted = PASSED_ON.iter().any(|start| name.starts_with(start));
    let is_path = value.starts_with('/');
    is_wanted && (!is_path || dir.join(value.trim_start_matches('/')).exists())
}

/// The parts of a Cargo configuration that are about registries and the network.
fn registries(config: &str) -> String {
    let mut is_wanted = false;
    let mut kept = String::new();
    for line in config.lines() {
        if let Some(table) = line.trim_start().strip_prefix('[') {
            let name = table.trim_start_matches('[').split(['.', ']']).next().unwrap_or_default();
            is_wanted = CARGO_TABLES.contains(&name.trim());
        }
        if is_wanted {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Options, is_passed_on, parse, registries, source};

    #[test]
    fn options_are_read() {
        let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let want = Options { only: Some("run".to_owned()), is_kept: true };
        assert_eq!(parse(&args("--only run --keep")), Ok(want));
        assert_eq!(parse(&[]), Ok(Options::default()));
        assert!(parse(&args("--only both")).is_err());
        assert!(parse(&args("--other")).is_err());
    }

    #[test]
    fn only_the_tables_about_registries_are_copied() {
        let config = "[build]\njobs = 1\n[source.crates-io]\nreplace-with = \"m\"\n[target.x]\na = 1\n[net]\nb = 2";
        let want = "[source.crates-io]\nreplace-with = \"m\"\n[net]\nb = 2\n";
        assert_eq!(registries(config), want);
    }

    #[test]
    fn package_sources_are_read_in_both_forms() {
        let want = Some("http://x/debian".to_owned());
        assert_eq!(source("Types: deb\n# http://old\nURIs: http://x/debian\nSuites: a"), want);
        assert_eq!(source("deb [signed-by=/a] http://x/debian bookworm main"), want);
        assert_eq!(source("# nothing"), None);
    }

    #[test]
    fn a_variable_that_names_a_missing_path_is_not_passed_on() {
        let dir = Path::new("/");
        assert!(is_passed_on("HTTPS_PROXY", "http://proxy", dir));
        assert!(is_passed_on("SSL_CERT_DIR", "/etc", dir));
        assert!(!is_passed_on("PIP_FIND_LINKS", "/nowhere", dir));
        assert!(!is_passed_on("RUSTFLAGS", "-C x", dir));
    }
}
