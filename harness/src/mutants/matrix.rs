//! Clause by mutant: which clauses the mutants break, and which none breaks.

use serde::Serialize;
use serde_json::{Value, json};
use throng_reference::unbroken;
use throng_spec::Level;

use super::trial::Trial;
use crate::cases;
use crate::skips;

/// Why a clause of this level has no mutant.
const MAY: &str = "A permission (MAY): whatever a server does, it is not broken.";

/// What is known of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A mutant breaks it: a case that names it fails.
    Broken,
    /// Mutants are made to break it, and no case that names it fails.
    Lives,
    /// A case that names it fails, but on mutants of other clauses only.
    Touched,
    /// No mutant is about it.
    NoMutant,
    /// The correct server cannot be made to break it, with the reason.
    Unbreakable,
    /// It has no case, with the reason.
    NoCase,
}

impl State {
    pub const ALL: [State; 6] = [
        State::Broken,
        State::Lives,
        State::Touched,
        State::NoMutant,
        State::Unbreakable,
        State::NoCase,
    ];

    pub fn words(self) -> &'static str {
        match self {
            State::Broken => "broken by a mutant",
            State::Lives => "not broken by the mutants made for it",
            State::Touched => "touched by mutants of other clauses only",
            State::NoMutant => "without a mutant",
            State::Unbreakable => "not to be broken by the reference server",
            State::NoCase => "without a case",
        }
    }

    /// Whether a case or a mutant is missing.
    pub fn is_open(self) -> bool {
        matches!(self, State::Lives | State::Touched | State::NoMutant)
    }
}

/// One clause with the mutants around it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub clause: &'static str,
    pub state: State,
    /// Why, where it has no case or cannot be broken.
    pub reason: Option<&'static str>,
    /// Mutants made for the clause that a case which names it detects, each with the first such case.
    pub broken_by: Vec<(String, String)>,
    /// Mutants made for the clause that no such case detects.
    pub lived: Vec<String>,
    /// Mutants of other clauses that make a case fail which names this one.
    pub touched_by: Vec<String>,
}

/// All clauses, in the order of the text.
pub struct Matrix {
    pub rows: Vec<Row>,
    pub mutants: usize,
    pub detected: usize,
}

impl Matrix {
    pub fn of(trials: &[Trial]) -> Matrix {
        let rows = throng_spec::clauses().map(|clause| row(clause.id, trials)).collect();
        let detected = trials.iter().filter(|trial| trial.is_detected()).count();
        Matrix { rows, mutants: trials.len(), detected }
    }

    pub fn count(&self, state: State) -> usize {
        self.of_state(state).count()
    }

    pub fn of_state(&self, state: State) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.state == state)
    }

    /// Clauses that no mutant breaks although one could.
    pub fn open(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.state.is_open())
    }

    /// The figures, with the trials.
    pub fn json(&self, trials: &[Trial], about: &Value) -> Value {
        let count = |state: State| (json!(state), json!(self.count(state)));
        let counts = State::ALL.map(count);
        let name =
            |(state, count): (Value, Value)| (state.as_str().unwrap_or("").to_owned(), count);
        let counts: serde_json::Map<String, Value> = counts.into_iter().map(name).collect();
        json!({
            "about": about,
            "clauses": self.rows.len(),
            "states": counts,
            "mutants": self.mutants,
            "detected": self.detected,
            "not_broken": self.open().map(|row| row.clause).collect::<Vec<_>>(),
            "rows": self.rows,
            "trials": trials,
        })
    }
}

fn row(clause: &'static str, trials: &[Trial]) -> Row {
    let names = |trial: &&Trial| trial.clauses.iter().any(|id| id == clause);
    let killer = |trial: &Trial| {
        let named = |id: &String| id == clause;
        trial
            .failing
            .iter()
            .find(|failing| failing.clauses.iter().any(named))
            .map(|f| f.name.clone())
    };
    let made_for: Vec<&Trial> = trials.iter().filter(names).collect();
    let broken_by: Vec<(String, String)> =
        made_for.iter().filter_map(|trial| Some((trial.mutant.clone(), killer(trial)?))).collect();
    let lived: Vec<String> = made_for
        .iter()
        .filter(|trial| killer(trial).is_none())
        .map(|trial| trial.mutant.clone())
        .collect();
    let others = trials.iter().filter(|trial| !names(trial) && killer(trial).is_some());
    let touched_by: Vec<String> = others.map(|trial| trial.mutant.clone()).collect();
    let level = throng_spec::clause(clause).map(|clause| clause.level);
    let has_case = cases::all().iter().any(|case| case.clauses.contains(&clause));
    let (state, reason) = if !broken_by.is_empty() {
        (State::Broken, None)
    } else if !has_case {
        (State::NoCase, skips::reason(clause))
    } else if level == Some(Level::May) {
        (State::Unbreakable, Some(MAY))
    } else if let Some(reason) = unbroken::reason(clause) {
        (State::Unbreakable, Some(reason))
    } else if !lived.is_empty() {
        (State::Lives, None)
    } else if !touched_by.is_empty() {
        (State::Touched, None)
    } else {
        (State::NoMutant, None)
    };
    Row { clause, state, reason, broken_by, lived, touched_by }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::trial::Failing;

    fn trial(mutant: &str, clauses: &[&str], failing: &[(&str, &[&str])]) -> Trial {
        let own = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<String>>();
        let failing = failing.iter().map(|(name, clauses)| Failing {
            name: (*name).to_owned(),
            clauses: own(clauses),
            observed: None,
        });
        Trial {
            mutant: mutant.to_owned(),
            clauses: own(clauses),
            text: String::new(),
            broken: Vec::new(),
            failing: failing.collect(),
            compared: 1,
            duration_ms: 0,
        }
    }

    #[test]
    fn a_clause_is_broken_only_by_a_mutant_made_for_it_and_a_case_that_names_it() {
        let trials = [
            trial("one", &["SIO-40"], &[("ack.once", &["SIO-40", "SIO-42"])]),
            trial("two", &["SIO-43"], &[("ack.shape", &["SIO-41"])]),
            trial("three", &["SIO-44"], &[]),
        ];
        let matrix = Matrix::of(&trials);
        let row =
            |clause: &str| matrix.rows.iter().find(|row| row.clause == clause).expect("a clause");
        assert_eq!(row("SIO-40").state, State::Broken);
        assert_eq!(row("SIO-40").broken_by, [("one".to_owned(), "ack.once".to_owned())]);
        assert_eq!((row("SIO-42").state, row("SIO-41").state), (State::Touched, State::Touched));
        assert_eq!((row("SIO-43").state, row("SIO-44").state), (State::Lives, State::Lives));
        assert_eq!((row("SIO-45").state, row("RDS-1").state), (State::NoMutant, State::NoCase));
        assert_eq!((matrix.mutants, matrix.detected), (3, 2));
    }
}
