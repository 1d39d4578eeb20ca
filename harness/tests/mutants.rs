//! The reference server passes; every defect is detected by a case that names its clause.

use std::path::Path;

use throng_harness::mutants::{try_abuse_of_correct, try_all, try_two_correct_nodes};
use throng_harness::runner::Verdict;
use throng_reference::Defect;
use throng_reference::{Options, Reference};

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
#[ignore = "measures for three minutes, on a machine of its own: `cargo xtask conform` runs it"]
fn the_reference_server_passes_while_it_is_abused() {
    let reports = try_abuse_of_correct(Path::new(env!("CARGO_BIN_EXE_throng-harness")));
    assert!(reports.len() > 30, "{} cases", reports.len());
    for report in &reports {
        let is_passed = matches!(report.verdict, Verdict::Pass);
        assert!(is_passed, "{}: {:?}: {:?}", report.name, report.observed, report.steps);
    }
}

#[test]
fn every_mutant_is_killed_by_a_case_that_names_its_clause() {
    // A trial mostly waits for events that do not arrive.
    let program = Path::new(env!("CARGO_BIN_EXE_throng-harness"));
    let trials = try_all(Defect::ALL, 6, program, &|_| {});
    assert_eq!(trials.len(), Defect::ALL.len());
    let survivors: Vec<String> = trials
        .iter()
        .filter(|trial| trial.killed_by.is_none())
        .map(|trial| format!("{} ({}): {}", trial.defect, trial.clause, trial.text))
        .collect();
    assert!(survivors.is_empty(), "survived:\n{}", survivors.join("\n"));
}
