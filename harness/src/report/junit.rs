//! JUnit XML: one suite per chapter of the protocol.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::{Summary, text};
use crate::runner::{Report, Verdict};

pub fn render(summary: &Summary<'_>) -> Result<String, String> {
    let mut junit = Junit::new("throng-harness");
    let mut suites: Vec<TestSuite> = Vec::new();
    for report in summary.reports {
        let chapter = report.case.split('.').next().unwrap_or("other");
        let at = match suites.iter().position(|suite| suite.name.as_str() == chapter) {
            Some(at) => at,
            None => {
                suites.push(TestSuite::new(chapter));
                suites.len() - 1
            }
        };
        suites[at].add_test_case(test_case(report, chapter));
    }
    junit.add_test_suites(suites);
    let mut unmet: Vec<(&str, &str)> = Vec::new();
    unmet.extend(summary.unreachable.map(|why| ("the target can be tested", why)));
    unmet.extend(summary.shortfalls.iter().map(|s| (s.demand.as_str(), s.observed.as_str())));
    if !unmet.is_empty() {
        let mut suite = TestSuite::new("run");
        suite
            .add_test_cases(unmet.into_iter().map(|(demand, observed)| demanded(demand, observed)));
        junit.add_test_suite(suite);
    }
    junit.to_string().map_err(|why| why.to_string())
}

fn test_case(report: &Report, chapter: &str) -> TestCase {
    let non_success = |kind: NonSuccessKind, message: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(message.to_owned());
        status.set_type(report.clauses.join(" "));
        status.set_description(text::details(report));
        status
    };
    let observed = report.observed.as_deref().unwrap_or("");
    let status = match report.verdict {
        Verdict::Pass if report.known_failing => {
            non_success(NonSuccessKind::Failure, "listed as known to fail, but passed")
        }
        // A violated SHOULD does not fail a JUnit run; the details go to its output.
        Verdict::Pass | Verdict::Warn => TestCaseStatus::success(),
        Verdict::Fail | Verdict::Error if report.known_failing => skipped("known to fail"),
        Verdict::Fail => non_success(NonSuccessKind::Failure, observed),
        Verdict::Error => non_success(NonSuccessKind::Error, observed),
        Verdict::Skip => skipped(report.reason.as_deref().unwrap_or("")),
    };
    let mut case = TestCase::new(report.name.clone(), status);
    case.set_classname(format!("throng.{chapter}"));
    case.set_time(Duration::from_millis(report.duration_ms));
    if report.verdict == Verdict::Warn {
        case.set_system_out(text::details(report));
    }
    case
}

/// A demand on the run that was not met: a page of results without failures is not green then.
fn demanded(demand: &str, observed: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(observed.to_owned());
    let mut case = TestCase::new(demand.to_owned(), status);
    case.set_classname("throng.run");
    case
}

fn skipped(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message.to_owned());
    status
}
