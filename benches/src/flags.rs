//! The flags of every run of servers against the generator.

use std::path::PathBuf;

use crate::environment::Places;
use crate::measure::Cores;

#[derive(clap::Args)]
pub struct Flags {
    /// Small and short: does everything still run? Results are not kept.
    #[arg(long)]
    pub quick: bool,
    #[arg(long, default_value_t = 3)]
    repetitions: u32,
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    #[arg(long, value_delimiter = ',', default_values_t = [1])]
    generator_cores: Vec<usize>,
    /// Folder of the results; default: benches/results, or a temporary one with --quick.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The results' name after the date; default: that of the program.
    #[arg(long)]
    name: Option<String>,
    /// Use what was built and installed before.
    #[arg(long)]
    pub no_build: bool,
}

impl Flags {
    #[must_use]
    pub fn repetitions(&self) -> u32 {
        if self.quick { 1 } else { self.repetitions }
    }

    #[must_use]
    pub fn cores(&self) -> Cores {
        Cores { server: self.server_core, generator: self.generator_cores.clone() }
    }

    #[must_use]
    pub fn folder(&self, places: &Places) -> PathBuf {
        self.out.clone().unwrap_or_else(|| places.results(self.quick))
    }

    #[must_use]
    pub fn name<'f>(&'f self, program: &'f str) -> &'f str {
        self.name.as_deref().unwrap_or(program)
    }
}
