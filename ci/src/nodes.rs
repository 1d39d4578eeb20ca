//! One or several nodes of a server under test, started and killed by `ci/node.sh`.

use std::fs;
use std::path::{Path, PathBuf};

use throng_kit::database::{Database, Kind};
use throng_kit::redis::Redis;
use throng_kit::scratch::spare_port;

use crate::process::{command, finish, root, target};
use crate::{Failure, Outcome};

/// How a server under test is set up.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub name: &'static str,
    pub nodes: usize,
    pub shards: u32,
    /// The driver `redis`; several nodes share a PostgreSQL as well.
    pub redis: bool,
    /// Heartbeats in seconds instead of the default's three quarters of a minute: only so can the
    /// harness wait for silence to be noticed.
    pub quick: bool,
    /// Limits that load tests have to lift are lifted: the harness uses a server like a crowd, from
    /// one address, and would have to wait else.
    pub unlimited: bool,
    /// It is abused, and nothing else.
    pub abused: bool,
    /// Its one node is killed and started as well.
    pub restarted: bool,
}

const QUICK: &str = " --ping-interval-ms 1000 --ping-timeout-ms 3000 --connect-timeout-ms 3000";

/// Short, so that a killed node is noticed soon.
const REDIS: &str = "lease_ms = 2000\nconnect_timeout_ms = 500\ncommand_timeout_ms = 1000\n";

pub struct Nodes {
    dir: PathBuf,
    pub urls: Vec<String>,
    /// That of the nodes, if they have one.
    pub redis: Option<Redis>,
    postgres: Option<Database>,
}

impl Nodes {
    pub fn start(program: &Path, plan: &Plan) -> Outcome<Nodes> {
        let dir = target().join("conform").join(format!("{}-{}", plan.name, std::process::id()));
        fs::create_dir_all(&dir)?;
        let mut nodes = Nodes { dir, urls: Vec::new(), redis: None, postgres: None };
        let mut options = format!("--shards {}", plan.shards);
        if plan.unlimited {
            options += " --unlimited";
        }
        if plan.quick {
            options += QUICK;
        }
        if plan.redis {
            let config = nodes.dir.join("throng.toml");
            let text = format!("[rooms]\ndriver = \"redis\"\n[redis]\n{REDIS}");
            fs::write(&config, text)?;
            let redis = Redis::try_start()?;
            options += &format!(" --config {} --redis {}", config.display(), redis.url());
            nodes.redis = Some(redis);
        }
        if plan.nodes > 1 {
            let postgres = Database::start(Kind::Postgres)?;
            options += &format!(" --database '{}'", postgres.url(""));
            nodes.postgres = Some(postgres);
        }
        for node in 0..plan.nodes {
            let place = nodes.dir.join(node.to_string());
            fs::create_dir_all(&place)?;
            let listen = format!("127.0.0.1:{}", spare_port()?);
            let program = program.display();
            let data = place.join("data").display().to_string();
            let line = format!("{program} serve {options} --data-dir {data} --listen {listen}");
            fs::write(place.join("command"), line)?;
            nodes.order("up", node)?;
            nodes.urls.push(format!("http://{listen}"));
        }
        Ok(nodes)
    }

    /// The harness's `--node-command`; it expects `$NODES`.
    pub fn command() -> String {
        root().join("ci").join("node.sh").display().to_string()
    }

    /// The process of the first node.
    pub fn pid(&self) -> Outcome<String> {
        let pid = fs::read_to_string(self.dir.join("0").join("pid"))?;
        Ok(pid.trim().to_owned())
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn order(&self, what: &str, node: usize) -> Outcome {
        let mut order = command(&Nodes::command(), &[what, &node.to_string()], ".");
        order.env("NODES", &self.dir);
        let log = self.dir.join(node.to_string()).join("log");
        finish(order).map_err(|_| Failure::Failed(format!("node {node} {what}: {}", log.display())))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in 0..self.urls.len() {
            // One that the harness left dead is dead.
            if self.dir.join(node.to_string()).join("pid").exists() {
                let _ = self.order("down", node);
            }
        }
        self.redis = None;
        self.postgres = None;
        for node in 0..self.urls.len() {
            let kept = format!("{}.{node}.log", self.dir.file_name().unwrap_or_default().display());
            let log = self.dir.join(node.to_string()).join("log");
            let _ = fs::copy(log, target().join("artifacts").join(kept));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
