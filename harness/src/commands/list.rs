//! `list` and `explain`: what there is to run.

use std::collections::BTreeMap;

use serde_json::json;

use super::{CONFORMS, Exit, USAGE};
use crate::case::Case;
use crate::cases;
use crate::cli::{ListArgs, ProfileArg};
use crate::output::say;
use crate::report::quotes;
use crate::runner::level_name;
use crate::skips;

pub fn list(args: &ListArgs) -> Exit {
    let profile = args.profile.map(ProfileArg::profile);
    let mut cases = cases::all();
    cases.retain(|case| profile.is_none_or(|profile| case.is_in(profile)));
    if args.coverage {
        return Ok(coverage(&cases));
    }
    if args.json {
        let rows: Vec<_> = cases
            .iter()
            .map(|case| {
                json!({
                    "id": case.id,
                    "clauses": case.clauses,
                    "level": level_name(case.level()),
                    "profile": case.profile_name(),
                    "combos": case.over.iter().map(|combo| combo.to_string()).collect::<Vec<_>>(),
                    "does": case.does,
                    "expects": case.expects,
                })
            })
            .collect();
        say!("{:#}", json!(rows));
    } else {
        for case in cases {
            say!(
                "{:<44} {:<6} {:<8} {:<28} {}",
                case.id,
                level_name(case.level()),
                case.profile_name(),
                case.clauses.join(" "),
                case.does
            );
        }
    }
    Ok(CONFORMS)
}

fn coverage(cases: &[&'static Case]) -> u8 {
    let mut by_clause: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in cases {
        for clause in case.clauses {
            by_clause.entry(clause).or_default().push(case.id);
        }
    }
    for clause in throng_spec::clauses() {
        match by_clause.get(clause.id) {
            Some(cases) => say!("{:<9} {}", clause.id, cases.join(", ")),
            None => match skips::reason(clause.id) {
                Some(reason) => say!("{:<9} skipped: {reason}", clause.id),
                None => say!("{:<9} NOT COVERED: {}", clause.id, clause.summary()),
            },
        }
    }
    CONFORMS
}

pub fn explain(id: &str) -> Exit {
    let cases = cases::all();
    let of_clause: Vec<&Case> =
        cases.iter().copied().filter(|case| case.clauses.contains(&id)).collect();
    let found = match cases::find(id) {
        Some(case) => vec![case],
        None => of_clause,
    };
    if found.is_empty() {
        return Err((USAGE, format!("unknown case or clause without a case: {id:?}; see `list`")));
    }
    for case in found {
        say!("{} ({}, {})", case.id, level_name(case.level()), case.profile_name());
        let clauses: Vec<String> = case.clauses.iter().map(|&id| id.to_owned()).collect();
        for quote in quotes(&clauses) {
            say!("  {quote}");
        }
        let combos: Vec<String> = case.over.iter().map(|combo| combo.to_string()).collect();
        if !combos.is_empty() {
            say!("  over:     {}", combos.join(", "));
        }
        say!("  does:     {}", case.does);
        say!("  expects:  {}\n", case.expects);
    }
    Ok(CONFORMS)
}
