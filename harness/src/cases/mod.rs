//! The conformance cases, one table per chapter of the protocol.

mod transport;

use crate::case::Case;

const TABLES: &[&[Case]] = &[transport::CASES];

pub fn all() -> Vec<&'static Case> {
    TABLES.iter().flat_map(|table| table.iter()).collect()
}

pub fn find(id: &str) -> Option<&'static Case> {
    let id = id.split('[').next().unwrap_or(id);
    all().into_iter().find(|case| case.id == id)
}
