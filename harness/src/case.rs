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

/// Writes a module's table of cases, `CASES`: for each its function, id, clauses, combos, needs, and
/// what it does and expects.
macro_rules! cases {
    ($(
        $run:ident $id:literal $clauses:tt over $over:ident needs $needs:ident
            does $does:literal
            expects $expects:literal;
    )+) => {
        pub const CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            id: $id,
            clauses: &$clauses,
            over: $over,
            needs: $needs,
            does: $does,
            expects: $expects,
            run: $run,
        }),+];
    };
}
pub(crate) use cases;
