//! What is read out of JSON without parsing it: rosters have thousands of entries.

use memchr::memmem;

/// The `code` of a refusal.
pub fn code_of(answer: &[u8]) -> String {
    let text = memmem::find(answer, b"\"code\":\"").map(|at| &answer[at + 8..]);
    text.map_or_else(
        || "without a code".to_owned(),
        |text| text.iter().take(40).take_while(|b| **b != b'"').map(|b| char::from(*b)).collect(),
    )
}

/// The text after the first `key`, to the next quote; empty if there is none.
pub fn text_after(bytes: &[u8], key: &[u8]) -> String {
    let text = memmem::find(bytes, key).map(|at| &bytes[at + key.len()..]);
    let text = text.and_then(|text| text.split(|byte| *byte == b'"').next());
    text.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

/// The number at the start of `bytes`, and what follows it.
pub fn leading_number(bytes: &[u8]) -> (Option<u32>, &[u8]) {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&bytes[..digits]).ok().and_then(|text| text.parse().ok());
    (number, &bytes[digits..])
}

/// The number after the first `key`.
pub fn number_after(bytes: &[u8], key: &[u8]) -> Option<u32> {
    memmem::find(bytes, key).and_then(|at| leading_number(&bytes[at + key.len()..]).0)
}

/// The number after the last `key`.
pub fn number_after_last(bytes: &[u8], key: &[u8]) -> Option<u32> {
    memmem::rfind(bytes, key).and_then(|at| leading_number(&bytes[at + key.len()..]).0)
}

/// The value of a header in the head of an HTTP message.
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
}
