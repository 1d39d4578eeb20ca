//! `mutants` and `reference`: the proof that the cases detect defects.

use std::io::{Write, stdout};
use std::path::Path;

use serde_json::json;
use throng_reference::{Limits, Mutant, Options, Reference};

use super::{BROKEN, CONFORMS, Exit, USAGE, read, usage};
use crate::cli::{MutantsArgs, ReferenceArgs};
use crate::known::Known;
use crate::mutants::all::{is_abused, try_all};
use crate::mutants::correct::Correct;
use crate::mutants::effort::Effort;
use crate::mutants::matrix::{Matrix, State};
use crate::mutants::page;
use crate::mutants::trial::Trial;
use crate::output::{Files, Output, print_error, say};
use crate::report::text;
use crate::runner::glob;

pub fn mutants(args: &MutantsArgs) -> Exit {
    let chosen = chosen(args)?;
    if args.list {
        for mutant in &chosen {
            say!("{:<48} {:<18} {}", mutant.name, mutant.clauses.join(" "), mutant.text);
        }
        return Ok(CONFORMS);
    }
    let known = known_alive(args)?;
    Files::default()
        .writes("--json", args.json.as_ref())
        .writes("--matrix", args.matrix.as_ref())
        .reads("--known-alive", args.known_alive.as_ref())
        .differ()
        .map_err(usage)?;
    let mut json = Output::of(args.json.as_ref()).map_err(usage)?;
    let mut html = Output::of(args.matrix.as_ref()).map_err(usage)?;
    let program = std::env::current_exe().map_err(|why| (USAGE, why.to_string()))?;
    let effort = Effort { jobs: args.jobs as usize, all_cases: args.all_cases, program: &program };
    let (correct, trials) = try_all(&chosen, effort, &show);
    let matrix = Matrix::of(&trials);
    let command = about(args, &program);
    if let Some(output) = &mut json {
        let json = matrix.json(&trials, &json!(command));
        output.write(&format!("{json:#}\n")).map_err(usage)?;
    }
    if let Some(output) = &mut html {
        output.write(&page::render(&matrix, &trials, &command)).map_err(usage)?;
    }
    Ok(close(args, &correct, &trials, &matrix, &known))
}

/// The list of mutants that are known to live.
fn known_alive(args: &MutantsArgs) -> Result<Known, (u8, String)> {
    let Some(path) = &args.known_alive else { return Ok(Known::default()) };
    let known = Known::parse(&read(path)?);
    let unknown = known.unknown(|name| Mutant::parse(name).is_some());
    if unknown.is_empty() {
        return Ok(known.clone());
    }
    Err((USAGE, format!("{}: no such mutants: {}", path.display(), unknown.join(", "))))
}

/// The mutants that were named and match the filters, of the shard.
fn chosen(args: &MutantsArgs) -> Result<Vec<Mutant>, (u8, String)> {
    let mut chosen = match args.only.as_slice() {
        [] => Mutant::all(),
        only => only.iter().map(|name| mutant(name)).collect::<Result<Vec<Mutant>, _>>()?,
    };
    let matches = |mutant: &Mutant| {
        let is_of = |clause: &str| args.filter.iter().any(|filter| glob(filter, clause));
        args.filter.iter().any(|filter| glob(filter, &mutant.name))
            || mutant.clauses.iter().any(|clause| is_of(clause))
    };
    let fits = |filter: &&String| {
        let fits = |mutant: &Mutant| {
            glob(filter, &mutant.name) || mutant.clauses.iter().any(|clause| glob(filter, clause))
        };
        chosen.iter().any(fits)
    };
    let unfit: Vec<&str> =
        args.filter.iter().filter(|filter| !fits(filter)).map(String::as_str).collect();
    if !unfit.is_empty() {
        let unfit = unfit.join(", ");
        return Err(usage(format!("--filter {unfit}: no mutant; see `mutants --list`")));
    }
    chosen.retain(|mutant| args.filter.is_empty() || matches(mutant));
    chosen.retain(|mutant| !(args.no_abuse && is_abused(mutant)));
    if let Some((index, count)) = args.shard {
        let all = chosen.into_iter().enumerate();
        chosen = all.filter(|(at, _)| at % count == index - 1).map(|(_, mutant)| mutant).collect();
    }
    if chosen.is_empty() {
        return Err((USAGE, "no mutant matches this selection".to_owned()));
    }
    Ok(chosen)
}

fn show(trial: &Trial) {
    let verdict = match trial.failing.first() {
        Some(failing) if trial.broken.is_empty() => {
            format!("detected by {} of other clauses", failing.name)
        }
        Some(failing) => format!("killed   by {}", failing.name),
        None => "SURVIVED".to_owned(),
    };
    say!(
        "{:<48} {:<9} {verdict} ({:.1} s): {}",
        trial.mutant,
        trial.clauses.join(" "),
        trial.duration_ms as f64 / 1_000.0,
        trial.text
    );
}

/// The command and the version, without paths.
fn about(args: &MutantsArgs, program: &Path) -> String {
    let name = program.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut words = vec![name.unwrap_or_default(), "mutants".to_owned()];
    words.extend(args.only.iter().cloned());
    words.extend(args.filter.iter().flat_map(|filter| ["--filter".to_owned(), filter.clone()]));
    words.extend(args.no_abuse.then(|| "--no-abuse".to_owned()));
    words.extend(args.all_cases.then(|| "--all-cases".to_owned()));
    words.extend(args.shard.map(|(index, count)| format!("--shard {index}/{count}")));
    format!("{}, version {}", words.join(" "), env!("CARGO_PKG_VERSION"))
}

/// Says what was found; a correct server that fails something is an error of the harness, or of this machine.
fn close(
    args: &MutantsArgs,
    correct: &Correct,
    trials: &[Trial],
    matrix: &Matrix,
    known: &Known,
) -> u8 {
    let is_known = |trial: &Trial| known.contains(&trial.mutant, &trial.mutant);
    let lived: Vec<&Trial> = trials.iter().filter(|trial| !trial.is_detected()).collect();
    let new = lived.iter().filter(|trial| !is_known(trial)).count();
    let died = trials.iter().filter(|trial| trial.is_detected() && is_known(trial)).count();
    say!("{} killed, {} survived", trials.len() - lived.len(), lived.len());
    for trial in &lived {
        let known = if is_known(trial) { ", known" } else { "" };
        say!("survived: {} ({}){known}", trial.mutant, trial.clauses.join(" "));
    }
    for trial in trials.iter().filter(|trial| trial.is_detected() && is_known(trial)) {
        print_error(format_args!("{} is listed as alive and is detected", trial.mutant));
    }
    let open = matrix.open().count();
    say!(
        "{} clauses: {} broken by a mutant, {open} broken by none, {} not to be broken here, {} without a case",
        matrix.rows.len(),
        matrix.count(State::Broken),
        matrix.count(State::Unbreakable),
        matrix.count(State::NoCase)
    );
    if args.not_broken {
        for row in matrix.open() {
            say!("{:<9} {}", row.clause, row.state.words());
        }
    }
    for report in &correct.failed {
        print_error(format_args!("the correct server fails {}", report.name));
        say!("\n{}", text::details(report));
    }
    if new == 0 && died == 0 && correct.failed.is_empty() { CONFORMS } else { BROKEN }
}

fn mutant(name: &str) -> Result<Mutant, (u8, String)> {
    Mutant::parse(name)
        .ok_or_else(|| (USAGE, format!("unknown mutant {name:?}; see `mutants --list`")))
}

pub fn reference(args: &ReferenceArgs) -> Exit {
    let mutant = args.defect.as_deref().map(mutant).transpose()?;
    let limits = if args.default_limits { Limits::of_the_text() } else { Limits::lifted() };
    let mut options = Options { limits, ..Options::default() };
    if let Some(mutant) = mutant {
        mutant.apply(&mut options);
    }
    let server = Reference::start_at(&args.listen, options)
        .map_err(|why| (USAGE, format!("{}: {why}", args.listen.join(","))))?;
    say!("reference listening on {}", server.urls().join(","));
    let _ = stdout().flush();
    loop {
        std::thread::park();
    }
}
