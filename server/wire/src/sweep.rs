//! Damaged forms of a vector, for tests.

/// Calls `check` with every proper prefix of `bytes` and with every single-byte change of it.
pub(crate) fn damaged(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    for len in 0..bytes.len() {
        check(&bytes[..len]);
    }
    let mut changed = bytes.to_vec();
    for at in 0..bytes.len() {
        for value in 0..=255 {
            changed[at] = value;
            check(&changed);
        }
        changed[at] = bytes[at];
    }
}
