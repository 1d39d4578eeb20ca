//! Statements of many rows: how many rows each carries, and the integers in them.

use sqlx::AnyConnection;

use crate::StoreError;
use crate::dialect::{Dialect, Statement};

/// Rows of one statement, at most.
const ROWS_MAX: usize = 256;

/// Keys of one lookup, at most.
pub(crate) const LOOKUP_KEYS_MAX: usize = 256;

/// `(?, ?), (?, ?)`: parameters of `rows` rows of `width` columns.
pub(crate) fn values(rows: usize, width: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(", "));
    vec![row; rows].join(", ")
}

/// Rows in the first statement that writes `rows` rows: a power of two, so that few distinct
/// statements exist and all of them stay in the cache of prepared statements. `None` for no rows.
pub(crate) fn statement_length(rows: usize) -> Option<usize> {
    (rows > 0).then(|| if rows >= ROWS_MAX { ROWS_MAX } else { 1 << rows.ilog2() })
}

/// `rows` in pieces of one statement each.
pub(crate) fn statement_chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (chunk, rest) = rows.split_at(statement_length(rows.len())?);
        rows = rest;
        Some(chunk)
    })
}

/// `keys` with the last one repeated up to a power of two, for the same reason: a lookup finds
/// nothing new by it.
pub(crate) fn padded<K: Clone>(keys: &[K]) -> Vec<K> {
    let mut padded = keys.to_vec();
    if let Some(last) = keys.last() {
        padded.resize(keys.len().next_power_of_two(), last.clone());
    }
    padded
}

/// Inserts `rows` inside the caller's transaction. `into`: the table and, in parentheses, its
/// columns; `then`: what follows the values; `bind` binds one row, in the order of the columns.
pub(crate) async fn insert_rows<T>(
    write: &mut AnyConnection,
    dialect: Dialect,
    into: &str,
    then: &str,
    rows: &[T],
    bind: impl Fn(Statement, &T) -> Statement,
) -> Result<(), StoreError> {
    let width = into.matches(',').count() + 1;
    for chunk in statement_chunks(rows) {
        let values = values(chunk.len(), width);
        let insert = dialect.query(format!("INSERT INTO {into} VALUES {values}{then}"));
        chunk.iter().fold(insert, &bind).execute(&mut *write).await?;
    }
    Ok(())
}

/// An integer of the database as a narrower or unsigned one; `what` names it in the error.
pub(crate) fn narrow<T: TryFrom<i64>>(value: i64, what: &'static str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Corrupt(what))
}

/// A count as an integer of the database. Seqs count single messages and never reach the sign bit.
pub(crate) fn widen(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_lengths_are_powers_of_two_that_add_up() {
        let lengths =
            |rows: usize| statement_chunks(&vec![0; rows]).map(<[i32]>::len).collect::<Vec<_>>();
        assert!(lengths(0).is_empty());
        assert_eq!(lengths(7), [4, 2, 1]);
        assert_eq!(lengths(600), [256, 256, 64, 16, 8]);
    }

    #[test]
    fn padding_repeats_the_last_key_up_to_a_power_of_two() {
        assert_eq!(padded(&[1]), [1]);
        assert_eq!(padded(&[1, 2, 3]), [1, 2, 3, 3]);
        assert_eq!(padded(&[0; 256]).len(), 256);
        assert!(padded::<u8>(&[]).is_empty());
    }
}
