//! The mutants: the reference server with one thing wrong.
//!
//! A mutant is a [`Defect`] in its code, a [`Rule`] at its border, or a setting that is not what the text says. Rules
//! come from tables: [`fields`] has every member of what the server sends, each of which is left out,
//! given another type and another value; [`rows`] has the rest.

use std::sync::Arc;

use crate::defect::Defect;
use crate::options::Options;
use crate::rule::{Act, Rule};
use crate::{fields, rows};

/// The reference server with one thing wrong.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub name: String,
    /// The clauses that it breaks.
    pub clauses: Vec<&'static str>,
    /// What is wrong.
    pub text: String,
    change: Change,
    /// It shows only where limits are those of the text.
    pub needs_default_limits: bool,
}

/// Defects of limits that are lifted else.
const NEEDS_DEFAULT_LIMITS: [Defect; 4] =
    [Defect::RefusedFree, Defect::RateOfServer, Defect::RatePerSession, Defect::LimitCloses];

#[derive(Clone, Debug)]
enum Change {
    Defect(Defect),
    Rule { on: String, act: Act, every: u64 },
    Setting(fn(&mut Options)),
}

impl Mutant {
    /// All of them: defects, fields, rows, settings.
    pub fn all() -> Vec<Mutant> {
        let defects = Defect::ALL.iter().map(|&defect| Mutant {
            name: defect.name().to_owned(),
            clauses: defect.clauses().to_vec(),
            text: defect.text().to_owned(),
            change: Change::Defect(defect),
            needs_default_limits: NEEDS_DEFAULT_LIMITS.contains(&defect),
        });
        let rules = fields::rows().into_iter().chain(rows::rows()).map(Mutant::of_row);
        let settings = rows::settings().into_iter().map(|setting| Mutant {
            name: format!("setting.{}", setting.name),
            clauses: setting.clauses.to_vec(),
            text: format!("a setting: {}", setting.name),
            change: Change::Setting(setting.set),
            needs_default_limits: setting.needs_default_limits,
        });
        defects.chain(rules).chain(settings).collect()
    }

    /// The mutant of this name, letter case aside.
    pub fn parse(name: &str) -> Option<Mutant> {
        Mutant::all().into_iter().find(|mutant| mutant.name.eq_ignore_ascii_case(name))
    }

    /// Whether it shows a while after what it is about.
    pub fn shows_late(&self) -> bool {
        let late = [Defect::LateCopy, Defect::LateLeak, Defect::LateForLeavers];
        self.defect().is_some_and(|defect| late.contains(&defect))
    }

    pub fn defect(&self) -> Option<Defect> {
        match self.change {
            Change::Defect(defect) => Some(defect),
            Change::Rule { .. } | Change::Setting(_) => None,
        }
    }

    /// Makes a server with these options wrong.
    pub fn apply(&self, options: &mut Options) {
        match &self.change {
            Change::Defect(defect) => options.defect = Some(*defect),
            Change::Rule { on, act, every } => {
                options.rule = Some(Arc::new(Rule::new(on, act.clone(), *every)));
            }
            Change::Setting(set) => set(options),
        }
    }

    fn of_row(row: rows::Row) -> Mutant {
        let every = if row.every == 1 { String::new() } else { format!(".every-{}", row.every) };
        Mutant {
            name: format!("{}.{}{every}", row.on.replace(' ', "-"), row.act.name())
                .replace('*', "any"),
            text: format!("{}: {}", row.on, row.act.text()),
            clauses: row.clauses,
            change: Change::Rule { on: row.on, act: row.act, every: row.every },
            needs_default_limits: row.needs_default_limits,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_differ_and_find_their_mutant() {
        let all = Mutant::all();
        let names: BTreeSet<String> = all.iter().map(|mutant| mutant.name.to_lowercase()).collect();
        let mut seen = BTreeSet::new();
        let twice = all.iter().filter(|mutant| !seen.insert(mutant.name.to_lowercase()));
        let twice: Vec<&str> = twice.map(|mutant| mutant.name.as_str()).collect();
        assert_eq!(names.len(), all.len(), "{twice:?}");
        let found = Mutant::parse("ACKTWICE").expect("a defect");
        assert_eq!((found.defect(), found.clauses), (Some(Defect::AckTwice), vec!["SIO-40"]));
        assert!(all.iter().all(|mutant| !mutant.clauses.is_empty()));
    }

    #[test]
    fn a_mutant_changes_the_options_of_a_correct_server() {
        let of = |name: &str| {
            let mut options = Options::default();
            Mutant::parse(name).expect("a mutant").apply(&mut options);
            options
        };
        assert_eq!(of("PingAtOnce").defect, Some(Defect::PingAtOnce));
        let rule = of("ack:login.0.user.name.removed").rule.expect("a rule");
        assert_eq!((rule.on.as_str(), rule.every), ("ack:login", 1));
    }
}
