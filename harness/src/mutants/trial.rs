//! One mutant, and what failed because of it.

use serde::Serialize;
use throng_reference::Mutant;

use crate::runner::Report;

/// A case that failed on the mutant and passed on the correct server.
#[derive(Clone, Debug, Serialize)]
pub struct Failing {
    /// The case, with its combo.
    pub name: String,
    /// The clauses that it names; of a property the one that it found broken.
    pub clauses: Vec<String>,
    pub observed: Option<String>,
}

impl Failing {
    pub fn of(report: &Report) -> Failing {
        // What holds of everything received is named in front of what was expected.
        let named =
            report.expected.split(':').next().filter(|id| throng_spec::clause(id).is_some());
        // A property names many clauses, and is only about the one that it found broken.
        let mut clauses =
            if is_property(&report.case) { Vec::new() } else { report.clauses.clone() };
        clauses.extend(named.map(str::to_owned));
        clauses.dedup();
        Failing { name: report.name.clone(), clauses, observed: report.observed.clone() }
    }
}

/// Whether a case is a property: its failure is about one of the many clauses that it names.
pub fn is_property(case: &str) -> bool {
    case.starts_with("prop.")
}

/// What became of one mutant.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    pub mutant: String,
    /// The clauses that it is made to break.
    pub clauses: Vec<String>,
    pub text: String,
    /// Those of `clauses` that a failing case names.
    pub broken: Vec<String>,
    pub failing: Vec<Failing>,
    /// How many results were compared with those of the correct server.
    pub compared: usize,
    pub duration_ms: u64,
}

impl Trial {
    pub fn new(mutant: &Mutant, failing: Vec<Failing>, compared: usize, duration_ms: u64) -> Trial {
        let is_named = |clause: &&&str| {
            failing.iter().any(|failing| failing.clauses.iter().any(|named| named == **clause))
        };
        let broken = mutant.clauses.iter().filter(is_named).map(|&id| id.to_owned()).collect();
        Trial {
            mutant: mutant.name.clone(),
            clauses: mutant.clauses.iter().map(|&id| id.to_owned()).collect(),
            text: mutant.text.clone(),
            broken,
            failing,
            compared,
            duration_ms,
        }
    }

    /// A case failed that passed on the correct server.
    pub fn is_detected(&self) -> bool {
        !self.failing.is_empty()
    }
}
