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
            [b'H', ..] => answer_len(&bytes[end..]),
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

fn answer_len(bytes: &[u8]) -> usize {
    let blank = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    blank.map_or(bytes.len(), |at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::frame_at;
    use crate::http::switching_protocols;
    use crate::ws::{Data, OpCode, put_header, text_frame};

    /// Two short frames: bytes 0 to 5 and 5 to 9.
    const TWO: &[u8] = &[0x81, 3, b'a', b'b', b'c', 0x81, 2, b'd', b'e'];

    #[test]
    fn a_cut_inside_a_frame_finds_its_whole_range() {
        for at in 1..5 {
            assert_eq!(frame_at(TWO, at), 0..5, "{at}");
        }
        for at in 6..9 {
            assert_eq!(frame_at(TWO, at), 5..9, "{at}");
        }
    }

    #[test]
    fn a_cut_between_frames_finds_none_under_way() {
        for at in [0, 5, 9] {
            assert!(frame_at(TWO, at).is_empty(), "{at}");
            assert_eq!(frame_at(TWO, at).start, at);
        }
        assert_eq!(frame_at(&[], 0), 0..0);
    }

    #[test]
    fn all_three_length_forms_are_known() {
        for len in [0, 125, 126, 127, 65_535, 65_536, 70_000] {
            let first = text_frame(&"x".repeat(len));
            let bytes = [&first[..], TWO].concat();
            let end = first.len();
            for at in [1, end.div_ceil(2), end - 1] {
                assert_eq!(frame_at(&bytes, at), 0..end, "{len} bytes, cut at {at}");
            }
            assert_eq!(frame_at(&bytes, end), end..end, "{len} bytes");
            assert_eq!(frame_at(&bytes, end + 1), end..end + 5, "{len} bytes");
        }
    }

    #[test]
    fn a_frame_whose_end_is_elsewhere_ends_with_the_bytes() {
        assert_eq!(frame_at(&TWO[..7], 6), 5..7, "header alone");
        assert_eq!(frame_at(&TWO[..6], 6), 5..6, "half a header");
        let mut long = Vec::new();
        put_header(&mut long, OpCode::Data(Data::Binary), 70_000);
        assert_eq!(frame_at(&long[..5], 3), 0..5, "half a long header");
        assert_eq!(frame_at(&long, 10), 0..10);
    }

    #[test]
    fn a_handshake_answer_counts_as_one_frame() {
        let answer = switching_protocols("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", None);
        assert_eq!(frame_at(answer.as_bytes(), 10), 0..answer.len());
        assert!(frame_at(answer.as_bytes(), answer.len()).is_empty());
        let bytes = [answer.as_bytes(), TWO].concat();
        assert_eq!(frame_at(&bytes, 10), 0..answer.len());
        let frames = answer.len();
        assert_eq!(frame_at(&bytes, frames + 6), frames + 5..frames + 9);
    }
}
