//! What a conformance case is, and how tables of cases are written.

use throng_spec::Level;

use crate::capabilities::Need;
use crate::combo::Combo;
use crate::context::Context;
use crate::outcome::Outcome;

pub struct Case {
    pub id: &'static str,
    pub clauses: &'static [&'static str],
    pub over: &'static [Combo],
    pub needs: &'static [Need],
    pub does: &'static str,
    pub expects: &'static str,
    pub run: fn(&Context) -> Outcome,
}

impl Case {
    /// The strongest level among the clauses the case is tied to.
    pub fn level(&self) -> Level {
        let levels = self.clauses.iter().filter_map(|id| throng_spec::clause(id));
        levels.map(|clause| clause.level).max().unwrap_or(Level::Must)
    }
}

/// Shorthand for the tables of cases.
pub const fn case(
    id: &'static str,
    clauses: &'static [&'static str],
    over: &'static [Combo],
    needs: &'static [Need],
    texts: (&'static str, &'static str),
    run: fn(&Context) -> Outcome,
) -> Case {
    Case { id, clauses, over, needs, does: texts.0, expects: texts.1, run }
}
