//! What an import read, wrote and skipped.

use std::collections::BTreeMap;
use std::fmt;

/// Row ids that a remark names.
const NAMED_MAX: usize = 5;

/// What was found and what became of it, by table. Its text is what `throng import` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Rows of `users`; those written became accounts.
    pub users: Tally,
    /// API tokens of those accounts.
    pub tokens: Tally,
    /// Rows of `messages`.
    pub messages: Tally,
    /// Rows of `counts`; those written became a read mark.
    pub counts: Tally,
    /// Rooms that exist because of messages or counts.
    pub rooms: u64,
    /// Read marks: one per user and room with messages.
    pub marks: u64,
}

/// Rows of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows read from the source.
    pub read: u64,
    /// Rows written to the target, or that would be by a dry run.
    pub written: u64,
    /// Rows that were skipped or changed, by reason.
    pub remarks: BTreeMap<&'static str, Remark>,
}

/// Rows that were skipped or changed for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remark {
    /// Number of rows.
    pub rows: u64,
    /// Ids of the first rows, in the original.
    pub ids: Vec<i64>,
}

impl Tally {
    pub(crate) fn remark(&mut self, reason: &'static str, id: i64) {
        let remark = self.remarks.entry(reason).or_default();
        remark.rows += 1;
        if remark.ids.len() < NAMED_MAX {
            remark.ids.push(id);
        }
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = [
            ("users", &self.users),
            ("tokens", &self.tokens),
            ("messages", &self.messages),
            ("counts", &self.counts),
        ];
        for (table, tally) in tables {
            writeln!(f, "{table:<9} {:>9} read {:>9} written", tally.read, tally.written)?;
            for (reason, remark) in &tally.remarks {
                let ids: Vec<String> = remark.ids.iter().map(i64::to_string).collect();
                let more = if remark.rows > ids.len() as u64 { ", …" } else { "" };
                writeln!(f, "{:>19} {reason} (id {}{more})", remark.rows, ids.join(", "))?;
            }
        }
        writeln!(f, "rooms     {:>9}\nmarks     {:>9}", self.rooms, self.marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_rows_and_reasons() {
        let mut report = ImportReport::default();
        report.users.read = 8;
        report.users.written = 1;
        report
            .users
            .remarks
            .insert("skipped: it is Tuesday", Remark { rows: 7, ids: vec![1, 2, 3, 4, 5] });
        let text = report.to_string();
        assert!(text.contains("users             8 read         1 written"), "{text}");
        assert!(text.contains("7 skipped: it is Tuesday (id 1, 2, 3, 4, 5, …)"), "{text}");
    }
}
