//! Where frames end in bytes that a server has written.

use std::ops::Range;

/// The frame of which a part is among the first `at` bytes; empty, at `at`, if they end with a frame.
/// `bytes` is what a server sends: whole unmasked frames, an HTTP answer before them at most.
pub fn frame_at(bytes: &[u8], at: usize) -> Range<usize> {
    let (mut start, mut end) = (0, 0);
    while end < at {
        start = end;
        let len = match bytes[end..] {
            // A handshake answer, which is not a frame, counts as one.
            [b'H', ..] => bytes.len() - end,
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                10 + u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize
            }
            [_, 126, a, b, ..] => 4 + usize::from(u16::from_be_bytes([a, b])),
            [_, len, ..] => 2 + usize::from(len),
            _ => return start..bytes.len(),
        };
        end += len;
    }
    if end == at { end..end } else { start..end.min(bytes.len()) }
}
