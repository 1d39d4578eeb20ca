//! Where and when results come from, and where they go.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use throng_kit::Program;

/// Folders of a run.
pub struct Places {
    /// The workspace.
    pub root: PathBuf,
    /// Folder of the release binaries.
    pub binaries: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// For data that does not outlive the run; removed with this value.
    pub scratch: PathBuf,
}

impl Places {
    /// The places of the running program, built by Cargo.
    ///
    /// # Errors
    /// The program lies outside of a target folder, or nothing can be written there.
    pub fn of_this_program() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
        let own = std::env::current_exe()?;
        let target = own.ancestors().nth(2).context("target folder")?.to_owned();
        let scratch = target.join("tmp").join(format!("benches-{}", std::process::id()));
        std::fs::create_dir_all(&scratch)?;
        Ok(Self { root: root.to_owned(), binaries: target.join("release"), target, scratch })
    }

    /// Where results go by default: those of a trial run are not kept.
    #[must_use]
    pub fn results(&self, is_trial: bool) -> PathBuf {
        if is_trial { self.target.join("tmp") } else { self.root.join("benches/results") }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // What cannot be removed lies below target, where it does no harm.
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// Writes one file of results.
///
/// # Errors
/// It cannot be written.
pub fn write(folder: &Path, file: &str, text: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(file);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// What a command prints, in one line; `?` if it fails.
#[must_use]
pub fn output_of(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output.map_or("?".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Builds one of the workspace's own binaries for release.
///
/// # Errors
/// It does not compile.
pub fn build(places: &Places, binary: &str) -> anyhow::Result<()> {
    let package = if binary == "floor" { "throng-benches" } else { binary };
    let mut command = Program::Cargo.command();
    command.args(["build", "--release", "--package", package, "--bin", binary]);
    run(command.current_dir(&places.root).env("CARGO_TARGET_DIR", &places.target))
}

/// Runs a command to its end; its output goes to standard error.
///
/// # Errors
/// It does not start, or fails.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(())
}

/// CPU, cores, memory, kernel, compiler.
#[must_use]
pub fn machine() -> String {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok());
    let gib = kib.map_or("?".into(), |kib| format!("{:.0} GiB", kib / 1048576.0));
    let is_virtual = std::fs::read_to_string("/proc/cpuinfo")
        .is_ok_and(|cpus| cpus.split_whitespace().any(|flag| flag == "hypervisor"));
    let kind = if is_virtual { ", virtual machine" } else { "" };
    let rustc = output_of(Program::Rustc.command().arg("--version"));
    format!("{}, {gib}{kind}, {rustc}", throng_loadgen::proc::machine())
}

/// The commit the workspace is at.
#[must_use]
pub fn commit(root: &Path) -> String {
    let describe = ["describe", "--always", "--dirty", "--tags"];
    output_of(Program::Git.command().arg("-C").arg(root).args(describe))
}

/// The command that reproduces the results.
#[must_use]
pub fn command_line(bench: &str) -> String {
    let mut command = vec![format!("cargo xtask bench {bench}")];
    command.extend(std::env::args().skip(1).filter(|flag| flag != "--no-build"));
    command.join(" ")
}

/// The date in UTC as `2026-01-31`.
#[must_use]
pub fn today() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let days = since.map_or(0, |since| since.as_secs() / 86_400) as i64;
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Days since 1970-01-01 as a date of the Gregorian calendar (Hinnant's algorithm).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_780), (2026, 11, 23));
    }
}
