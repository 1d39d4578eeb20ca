//! The list of cases that are known to fail. A listed case that passes fails the run, so that the
//! list stays correct.

use std::collections::BTreeMap;

/// Case ids (with or without their combo) and the reason given for each.
#[derive(Clone, Debug, Default)]
pub struct Known {
    entries: BTreeMap<String, String>,
}

impl Known {
    /// One id per line; text after `#` is the reason.
    pub fn parse(text: &str) -> Known {
        let entries = text
            .lines()
            .filter_map(|line| {
                let (id, reason) = line.split_once('#').unwrap_or((line, ""));
                let id = id.trim();
                (!id.is_empty()).then(|| (id.to_owned(), reason.trim().to_owned()))
            })
            .collect();
        Known { entries }
    }

    pub fn contains(&self, id: &str, name: &str) -> bool {
        self.entries.contains_key(id) || self.entries.contains_key(name)
    }

    /// Entries that name no case at all.
    pub fn unknown<'a>(&'a self, exists: impl Fn(&str) -> bool + 'a) -> Vec<&'a str> {
        self.entries.keys().map(String::as_str).filter(|id| !exists(id)).collect()
    }
}
