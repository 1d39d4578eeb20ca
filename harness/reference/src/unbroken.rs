//! Clauses that this server cannot be made to break, with the reason.

/// Clause ids, and why no mutant breaks them.
pub const UNBROKEN: &[(&[&str], &str)] = &[];

/// Why no mutant breaks the clause, if none can.
pub fn reason(clause: &str) -> Option<&'static str> {
    UNBROKEN.iter().find(|(ids, _)| ids.contains(&clause)).map(|(_, reason)| *reason)
}
