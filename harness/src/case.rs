//! What a conformance case is, and how tables of cases are written.

use throng_spec::{Level, Profile};

use crate::capabilities::Need;
use crate::combo::Combo;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::profile::is_judged;

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
    /// The strongest level among the clauses that the case is tied to.
    pub fn level(&self) -> Level {
        self.level_in(Profile::Throng)
    }

    /// The strongest level among those of its clauses that a run of this profile judges.
    pub fn level_in(&self, profile: Profile) -> Level {
        let levels = self.clauses_in(profile).filter_map(throng_spec::clause);
        levels.map(|clause| clause.level).max().unwrap_or(Level::Must)
    }

    /// Those of its clauses that a run of this profile judges: a server of Throng's owes upstream's as well.
    pub fn clauses_in(&self, profile: Profile) -> impl Iterator<Item = &'static str> {
        self.clauses.iter().copied().filter(move |id| is_judged(id, profile))
    }

    /// Whether runs of this profile have the case.
    pub fn is_in(&self, profile: Profile) -> bool {
        const OF_THRONG: [Need; 4] = [Need::Chat, Need::Nodes, Need::NodeCommand, Need::Abuse];
        match profile {
            // Throng's own rooms are those of chapters 4 and 5.
            Profile::Throng => !self.needs.contains(&Need::Events),
            // What a case is about comes first among its clauses.
            Profile::Upstream => {
                self.clauses.first().is_some_and(|clause| is_judged(clause, profile))
                    && !self.needs.iter().any(|need| OF_THRONG.contains(need))
            }
        }
    }

    /// For lists: whose clauses it judges.
    pub fn profile_name(&self) -> &'static str {
        if !self.is_in(Profile::Upstream) {
            Profile::Throng.name()
        } else if self.clauses_in(Profile::Upstream).count() == self.clauses.len() {
            Profile::Upstream.name()
        } else {
            "both"
        }
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
