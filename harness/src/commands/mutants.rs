//! `mutants` and `reference`: the proof that the cases detect defects.

use std::io::{Write, stdout};

use serde_json::json;
use throng_reference::defect::Defect;
use throng_reference::{Limits, Options, Reference};

use super::{BROKEN, CONFORMS, Exit, USAGE, usage};
use crate::cli::{MutantsArgs, ReferenceArgs};
use crate::mutants::try_all;
use crate::output::{Output, say};

pub fn mutants(args: &MutantsArgs) -> Exit {
    if args.list {
        for defect in Defect::ALL {
            say!("{:<24} {:<9} {}", defect.name(), defect.clause(), defect.text());
        }
        return Ok(CONFORMS);
    }
    let chosen = args.only.iter().map(|name| defect(name)).collect::<Result<Vec<Defect>, _>>()?;
    let chosen = if chosen.is_empty() { Defect::ALL.to_vec() } else { chosen };
    let mut json = Output::of(args.json.as_ref()).map_err(usage)?;
    let program = std::env::current_exe().map_err(|why| (USAGE, why.to_string()))?;
    let trials = try_all(&chosen, args.jobs as usize, &program, &|trial| {
        let verdict = match &trial.killed_by {
            Some(case) => format!("killed   by {case}"),
            None => "SURVIVED".to_owned(),
        };
        say!(
            "{:<24} {:<9} {verdict} ({:.1} s): {}",
            trial.defect,
            trial.clause,
            trial.duration_ms as f64 / 1_000.0,
            trial.text
        );
    });
    if let Some(output) = &mut json {
        output.write(&format!("{:#}\n", json!(trials))).map_err(usage)?;
    }
    let killed = trials.iter().filter(|trial| trial.killed_by.is_some()).count();
    say!("{killed} killed, {} survived", trials.len() - killed);
    Ok(if killed == trials.len() { CONFORMS } else { BROKEN })
}

fn defect(name: &str) -> Result<Defect, (u8, String)> {
    Defect::parse(name)
        .ok_or_else(|| (USAGE, format!("unknown defect {name:?}; see `mutants --list`")))
}

pub fn reference(args: &ReferenceArgs) -> Exit {
    let defect = args.defect.as_deref().map(defect).transpose()?;
    let limits = if args.default_limits { Limits::of_the_text() } else { Limits::lifted() };
    let options = Options { defect, limits, ..Options::default() };
    let server = Reference::start_at(&args.listen, options)
        .map_err(|why| (USAGE, format!("{}: {why}", args.listen.join(","))))?;
    say!("reference listening on {}", server.urls().join(","));
    let _ = stdout().flush();
    loop {
        std::thread::park();
    }
}
