//! The reference server passes; every defect is detected by a case that names its clause.

use std::path::Path;

use throng_harness::known::Known;
use throng_harness::mutants::all::try_all;
use throng_harness::mutants::correct::{
    try_abuse_of_correct, try_restarts_of_correct, try_two_correct_nodes,
};
use throng_harness::mutants::effort::Effort;
use throng_harness::mutants::trial::Trial;
use throng_harness::runner::Verdict;
use throng_reference::{Mutant, Options, Reference};

#[test]
fn the_reference_server_passes_everything() {
    let server = Reference::start(Options::default()).expect("a free port");
    let output = throng_kit::own(env!("CARGO_BIN_EXE_throng-harness"))
        .args([
            "run",
            "--target",
            &server.url(),
            "--keep-going",
            "--strict",
            "--seed",
            "1",
            "--jobs",
            "6",
        ])
        .args(["--scripts", env!("CARGO_TARGET_TMPDIR")])
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}

#[test]
fn two_correct_nodes_pass_the_cases_about_nodes() {
    let reports = try_two_correct_nodes();
    let names: Vec<&str> = reports.iter().map(|report| report.case.as_ref()).collect();
    assert!(names.contains(&"prop.nodes") && names.contains(&"nodes.presence"), "{names:?}");
    for report in &reports {
        let is_passed = matches!(report.verdict, Verdict::Pass);
        assert!(is_passed, "{}: {}: {:?}", report.name, report.expected, report.observed);
    }
}

#[test]
fn a_correct_server_passes_the_cases_about_restarts() {
    let reports = try_restarts_of_correct();
    assert!(reports.len() >= 6, "{} cases", reports.len());
    for report in &reports {
        let is_passed = matches!(report.verdict, Verdict::Pass);
        assert!(is_passed, "{}: {}: {:?}", report.name, report.expected, report.observed);
    }
}

#[test]
#[ignore = "measures for three minutes, on a machine of its own: `cargo xtask conform` runs it"]
fn the_reference_server_passes_while_it_is_abused() {
    let reports = try_abuse_of_correct(Path::new(env!("CARGO_BIN_EXE_throng-harness")));
    assert!(reports.len() > 30, "{} cases", reports.len());
    for report in &reports {
        let is_passed = matches!(report.verdict, Verdict::Pass);
        assert!(is_passed, "{}: {:?}: {:?}", report.name, report.observed, report.steps);
    }
}

/// Every n-th mutant is tried here; `throng-harness mutants` tries all.
const EVERY: usize = 20;
/// Those that no case detects yet, with the reasons.
const ALIVE: &str = include_str!("../mutants-alive.txt");

#[test]
fn a_sample_of_the_mutants_is_detected_by_cases_that_name_their_clauses() {
    let alive = Known::parse(ALIVE);
    let is_tried = |(at, mutant): &(usize, Mutant)| {
        at % EVERY == 0 && !alive.contains(&mutant.name, &mutant.name)
    };
    let mutants = Mutant::all().into_iter().enumerate().filter(is_tried);
    let mutants: Vec<Mutant> = mutants.map(|(_, mutant)| mutant).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_throng-harness"));
    // A trial mostly waits for events that do not arrive.
    let effort = Effort { jobs: 6, all_cases: false, program };
    let (correct, trials) = try_all(&mutants, effort, &|_| {});
    assert_eq!(trials.len(), mutants.len());
    let failed =
        correct.failed.iter().map(|report| format!("{}: {:?}", report.name, report.observed));
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "the correct server fails:\n{}", failed.join("\n"));
    let describe = |trial: &Trial| format!("{} {:?}: {}", trial.mutant, trial.clauses, trial.text);
    let lived = trials.iter().filter(|trial| !trial.is_detected()).map(describe);
    let lived: Vec<String> = lived.collect();
    assert!(lived.is_empty(), "survived:\n{}", lived.join("\n"));
}
