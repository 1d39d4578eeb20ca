//! Throng alone under loads that hurt: many connections, many at once, all into one room, several
//! shards.

mod connect;
mod entry;
mod hop;
mod idle;
mod shards;
mod storm;

pub mod picture;
pub mod watch;

use throng_loadgen::report::Report;
use throng_loadgen::scenario::{Scenario, Users};

use crate::environment::Places;
use crate::measure::{Cores, measure, scenario};
use crate::result::{Part, Results, Row};
use crate::server::{Program, Server};
use crate::users::users;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// Memory and CPU of idle joined connections.
    Idle,
    /// Connects per second, with and without a join.
    Connect,
    /// All clients are cut off and come back.
    Storm,
    /// Many enter one room, in each presence mode.
    Entry,
    /// Four rooms on two shards, compared with the same on one.
    Shards,
    /// One item from one shard to another.
    Hop,
}

pub const ALL: [Name; 6] =
    [Name::Idle, Name::Connect, Name::Storm, Name::Entry, Name::Shards, Name::Hop];

/// Where and how large.
pub struct Lab {
    pub places: Places,
    pub cores: Cores,
    /// A trial run has a fiftieth of the clients.
    pub is_trial: bool,
    pub repetitions: u32,
    /// Presence modes that `entry` measures; empty: all.
    pub presence_mode: Vec<String>,
    /// Sizes of rooms that `entry` measures; empty: all.
    pub sizes: Vec<usize>,
    /// What a process may have: each connection is one in the server and one in the generator.
    pub descriptors: u64,
}

/// Descriptors of a process that are not connections.
const DESCRIPTORS_RESERVED: u64 = 1_100;

impl Name {
    /// Measures the part.
    ///
    /// # Errors
    /// The server or the generator does not run.
    pub fn run(self, lab: &Lab) -> anyhow::Result<Part> {
        let mut part = match self {
            Self::Idle => idle::run(lab),
            Self::Connect => connect::run(lab),
            Self::Storm => storm::run(lab),
            Self::Entry => entry::run(lab),
            Self::Shards => shards::run(lab),
            Self::Hop => hop::run(lab),
        }?;
        part.name = format!("{self:?}").to_lowercase();
        Ok(part)
    }
}

impl Lab {
    fn clients(&self, full: usize) -> usize {
        if self.is_trial { full / 50 } else { full }
    }

    /// Clients that one server process may hold here.
    fn clients_per_process(&self) -> usize {
        usize::try_from(self.descriptors.saturating_sub(DESCRIPTORS_RESERVED)).unwrap_or(1).max(1)
    }

    /// As many clients of one process as asked for, or as the system allows.
    fn clients_of_one(&self, full: usize) -> usize {
        self.clients(full).min(self.clients_per_process())
    }

    fn server(
        &self,
        flags: &[&str],
        environment: &[(&'static str, &str)],
    ) -> anyhow::Result<Server> {
        let mut program = Program::throng(&self.places, flags)?;
        program.command.envs(environment.iter().copied());
        Server::start(&program, self.cores.server)
    }

    fn measure(&self, server: &Server, scenario: Scenario) -> anyhow::Result<Report> {
        eprint!("{}: ", scenario.name);
        let report = measure(server, scenario, &self.places, &self.cores)?;
        let outcome = if report.void { report.void_reasons.join("; ") } else { "done".into() };
        eprintln!("{outcome}");
        Ok(report)
    }

    /// Registers so many users and returns the file of their tokens.
    fn users(&self, server: &Server, count: usize) -> anyhow::Result<std::path::PathBuf> {
        eprintln!("registering {count} users");
        let tokens = users(&server.url, count)?;
        let file = self.places.scratch.join(format!("tokens-{}", server.pid()));
        std::fs::write(&file, tokens.join("\n"))?;
        Ok(file)
    }
}

/// A scenario of `benches/scenarios`, with users of their own for the clients.
fn crowd(
    file: &str,
    name: String,
    clients: usize,
    tokens: &std::path::Path,
) -> anyhow::Result<Scenario> {
    let users = Users { tokens: Some(tokens.to_owned()), ..Users::default() };
    Ok(Scenario { name, clients, users, ..scenario(file)? })
}

/// Puts what was measured into earlier results: further rows of `entry`, other parts anew.
pub fn add(earlier: &mut Results, later: Results) {
    for mut part in later.parts {
        let known = earlier.parts.iter_mut().find(|known| known.name == part.name);
        match known {
            Some(known) if part.name == "entry" => {
                known.rows.retain(|row| part.rows.iter().all(|new| new.name != row.name));
                known.rows.append(&mut part.rows);
                known.text = part.text;
                known.columns = part.columns;
                known.rows.sort_by_key(|row| entry::order(&row.name));
                entry::promises(known);
            }
            Some(known) => *known = part,
            None => earlier.parts.push(part),
        }
    }
    earlier.command = format!("{}\n{}", earlier.command, later.command);
    earlier.version = later.version;
}

/// A row with what every report has.
fn row(name: impl Into<String>, report: &Report, figures: &[(&str, Option<f64>)]) -> Row {
    let known = figures.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?)));
    Row {
        name: name.into(),
        figures: known.collect(),
        void_reasons: report.void_reasons.clone(),
        errors: report.errors.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_results_join_earlier_ones() {
        let part = |name: &str, rows: &[&str]| Part {
            name: name.into(),
            rows: rows.iter().map(|name| Row { name: (*name).into(), ..Row::default() }).collect(),
            ..Part::default()
        };
        let of = |parts: Vec<Part>| Results { parts, ..Results::default() };
        let mut all = of(vec![part("hop", &["a"]), part("entry", &["count N=1", "full N=1"])]);
        add(&mut all, of(vec![part("entry", &["full N=1", "full N=2"]), part("hop", &["b"])]));
        let names = |at: usize| -> Vec<&str> {
            all.parts[at].rows.iter().map(|row| row.name.as_str()).collect()
        };
        assert_eq!(names(0), ["b"]);
        assert_eq!(names(1), ["count N=1", "full N=1", "full N=2"]);
    }
}
