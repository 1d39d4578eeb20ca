//! One run of the generator, in a process of its own on its own cores.

use std::path::Path;

use anyhow::Context as _;
use throng_loadgen::report::Report;
use throng_loadgen::scenario::Scenario;

use crate::environment::Places;
use crate::server::Server;

/// The cores of the server and of the generator.
#[derive(Clone, Debug)]
pub struct Cores {
    pub server: usize,
    pub generator: Vec<usize>,
}

/// Reads `benches/scenarios/<name>.toml`.
///
/// # Errors
/// There is no such scenario, or the generator does not understand it.
pub fn scenario(name: &str) -> anyhow::Result<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    Scenario::from_file(&folder.join(format!("{name}.toml")))
}

/// Puts the load of `scenario` on `server` and reads the report.
///
/// # Errors
/// The generator writes no report.
pub fn measure(
    server: &Server,
    mut scenario: Scenario,
    places: &Places,
    cores: &Cores,
) -> anyhow::Result<Report> {
    scenario.targets = vec![server.url.clone()];
    scenario.server_pid = Some(server.pid());
    scenario.cores = cores.generator.clone();
    scenario.threads = cores.generator.len().max(1);
    let file = places.scratch.join(format!("scenario-{}.toml", server.pid()));
    std::fs::write(&file, toml::to_string(&scenario)?)?;
    let json = places.scratch.join(format!("report-{}.json", server.pid()));
    let mut generator = throng_kit::own(places.binaries.join("throng-loadgen"));
    generator.arg("run").arg(&file).arg("--quiet").arg("--json").arg(&json);
    let output = generator.output().context("start throng-loadgen")?;
    let text = std::fs::read_to_string(&json).with_context(|| {
        format!("no report: {}", String::from_utf8_lossy(&output.stderr).trim())
    })?;
    // The next run must not read this report.
    std::fs::remove_file(&json)?;
    serde_json::from_str(&text).context("report of throng-loadgen")
}
