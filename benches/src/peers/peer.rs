//! The servers: how each is installed, started, and named.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use throng_kit::scratch::spare_port;
use throng_kit::{Program as External, own};
use throng_loadgen::scenario::Protocol;

use crate::environment::{Places, build, commit, output_of, run};
use crate::server::Program;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    Throng,
    /// npm socket.io with its default ws engine.
    SocketIo,
    /// The socketioxide crate on tokio and hyper.
    Socketioxide,
    /// PyPI socketify: µWebSockets, raw WebSocket.
    Socketify,
    /// A bare `send()` per recipient and message: no server at all.
    Floor,
    /// The same with as many bytes per message as Throng's chat message has.
    FloorEqual,
    /// A bare `send()` per recipient and turn: the floor of coalescing.
    FloorPerTurn,
    /// The same with as many bytes per message as Throng's chat message has.
    FloorPerTurnEqual,
}

pub const ALL: [Peer; 8] = [
    Peer::Throng,
    Peer::SocketIo,
    Peer::Socketioxide,
    Peer::Socketify,
    Peer::Floor,
    Peer::FloorEqual,
    Peer::FloorPerTurn,
    Peer::FloorPerTurnEqual,
];

impl Places {
    fn peers(&self) -> PathBuf {
        self.root.join("benches/peers")
    }

    fn socketioxide_target(&self) -> PathBuf {
        self.target.join("peers-socketioxide")
    }

    fn python(&self) -> PathBuf {
        self.peers().join("socketify/.venv/bin/python")
    }

    fn libuv(&self) -> PathBuf {
        self.peers().join("socketify/.venv/libuv")
    }
}

impl Peer {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throng => "throng",
            Self::SocketIo => "socket.io (ws)",
            Self::Socketioxide => "socketioxide",
            Self::Socketify => "uWebSockets (raw)",
            Self::Floor => "bare send (raw)",
            Self::FloorEqual => "bare send, equal bytes (raw)",
            Self::FloorPerTurn => "bare send per turn (raw)",
            Self::FloorPerTurnEqual => "bare send per turn, equal bytes (raw)",
        }
    }

    /// Speaks Socket.IO, so that it can be measured against Throng as an equal.
    #[must_use]
    pub fn is_socket_io(self) -> bool {
        self.protocol() == Protocol::Eio4
    }

    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Throng | Self::SocketIo | Self::Socketioxide => Protocol::Eio4,
            Self::Socketify
            | Self::Floor
            | Self::FloorEqual
            | Self::FloorPerTurn
            | Self::FloorPerTurnEqual => Protocol::Raw,
        }
    }

    /// Sends as many bytes per message as Throng does.
    #[must_use]
    pub fn has_equal_bytes(self) -> bool {
        matches!(self, Self::FloorEqual | Self::FloorPerTurnEqual)
    }

    #[must_use]
    pub fn has_users(self) -> bool {
        self == Self::Throng
    }

    /// Installs or builds what the server needs.
    ///
    /// # Errors
    /// A tool is missing or fails.
    pub fn prepare(self, places: &Places) -> anyhow::Result<()> {
        match self {
            Self::Throng => build(places, "throng"),
            Self::Floor | Self::FloorEqual | Self::FloorPerTurn | Self::FloorPerTurnEqual => {
                build(places, "floor")
            }
            Self::SocketIo => {
                let folder = places.peers().join("node");
                if folder.join("node_modules/socket.io").is_dir() {
                    return Ok(());
                }
                let flags = ["ci", "--omit=dev", "--no-audit", "--no-fund"];
                run(External::Npm.command().args(flags).current_dir(folder))
            }
            Self::Socketioxide => {
                let manifest = places.peers().join("socketioxide/Cargo.toml");
                let mut command = External::Cargo.command();
                command.args(["build", "--release", "--locked", "--manifest-path"]).arg(manifest);
                run(command.env("CARGO_TARGET_DIR", places.socketioxide_target()))
            }
            Self::Socketify => prepare_socketify(places),
        }
    }

    /// How to serve on a free port of the loopback.
    ///
    /// # Errors
    /// There is no free port.
    pub fn program(self, places: &Places) -> anyhow::Result<Program> {
        if self == Self::Throng {
            return Program::throng(places, &["--shards", "1"]);
        }
        let port = spare_port()?;
        let floor = |sending: &str| {
            let mut command = own(places.binaries.join("floor"));
            command.args(["--sending", sending, "--listen", &format!("127.0.0.1:{port}")]);
            command
        };
        let mut command = match self {
            Self::SocketIo => External::Node.command(),
            Self::Socketioxide => {
                own(places.socketioxide_target().join("release/throng-bench-peer-socketioxide"))
            }
            Self::Socketify => own(places.python()),
            Self::FloorPerTurn | Self::FloorPerTurnEqual => floor("per-turn"),
            Self::Throng | Self::Floor | Self::FloorEqual => floor("per-message"),
        };
        match self {
            Self::SocketIo => {
                command.arg(places.peers().join("node/server.mjs")).arg(port.to_string());
                command.env("NODE_ENV", "production");
            }
            Self::Socketioxide => {
                command.arg(port.to_string());
            }
            Self::Socketify => {
                command.arg(places.peers().join("socketify/server.py")).arg(port.to_string());
                command.env("LD_LIBRARY_PATH", places.libuv());
            }
            _ => {}
        }
        Ok(Program { name: self.name().to_owned(), command, port })
    }

    /// Version text for the report.
    #[must_use]
    pub fn version(self, places: &Places) -> String {
        match self {
            Self::Throng => {
                format!("{} ({})", env!("CARGO_PKG_VERSION"), commit(&places.root))
            }
            Self::SocketIo => {
                let package = places.peers().join("node/node_modules/socket.io/package.json");
                let text = std::fs::read_to_string(package).unwrap_or_default();
                let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let node = output_of(External::Node.command().arg("--version"));
                format!("{} on Node {node}", package["version"].as_str().unwrap_or("?"))
            }
            Self::Socketioxide => {
                let lock = places.peers().join("socketioxide/Cargo.lock");
                let text = std::fs::read_to_string(lock).unwrap_or_default();
                let after = text.split("name = \"socketioxide\"\nversion = \"").nth(1);
                after.and_then(|rest| rest.split('"').next()).unwrap_or("?").to_owned()
            }
            Self::Socketify => {
                let code = "import importlib.metadata as m; print(m.version('socketify'))";
                let version = output_of(own(places.python()).args(["-c", code]));
                format!("socketify {version}")
            }
            Self::Floor | Self::FloorEqual | Self::FloorPerTurn | Self::FloorPerTurnEqual => {
                env!("CARGO_PKG_VERSION").to_owned()
            }
        }
    }
}

fn prepare_socketify(places: &Places) -> anyhow::Result<()> {
    let folder = places.peers().join("socketify");
    if !places.python().is_file() {
        run(External::Python.command().args(["-m", "venv", ".venv"]).current_dir(&folder))?;
    }
    if !folder.join(".venv/installed").is_file() {
        let install = ["-m", "pip", "install", "--quiet", "-r", "requirements.txt"];
        run(own(places.python()).args(install).current_dir(&folder))?;
        std::fs::write(folder.join(".venv/installed"), "")?;
    }
    // Its µWebSockets wants libuv, which not every system has: keep a copy next to it.
    let system =
        ["/usr/lib/x86_64-linux-gnu/libuv.so.1", "/usr/lib64/libuv.so.1", "/usr/lib/libuv.so.1"];
    if system.iter().any(|path| Path::new(path).exists())
        || places.libuv().join("libuv.so.1").exists()
    {
        return Ok(());
    }
    std::fs::create_dir_all(places.libuv())?;
    run(External::AptGet.command().args(["download", "libuv1"]).current_dir(places.libuv()))
        .context("libuv.so.1 is not installed and could not be fetched")?;
    let package = find(&places.libuv(), |name| name.starts_with("libuv1_"))?;
    run(External::Dpkg.command().arg("-x").arg(package).arg(places.libuv()))?;
    // Below a folder named after the architecture.
    let library = find(&places.libuv().join("usr/lib"), |name| name.contains("-linux-"))?;
    std::fs::copy(library.join("libuv.so.1"), places.libuv().join("libuv.so.1"))?;
    Ok(())
}

/// The file of that folder with such a name.
fn find(folder: &Path, is_it: impl Fn(&str) -> bool) -> anyhow::Result<PathBuf> {
    let mut files = std::fs::read_dir(folder)?.filter_map(|file| Some(file.ok()?.path()));
    let name_of = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let file = files.find(|path| name_of(path).is_some_and(|name| is_it(&name)));
    file.with_context(|| format!("{} lacks a file", folder.display()))
}
