//! What follows the stamp in a text: bytes that belong to this message alone, so that a text that comes
//! altered is known, be it cut, changed, or another one's.

use crate::stamp::{LEN, Stamp};

/// Places of the pattern where a body may begin.
const PERIOD: usize = 4096;
/// How far apart the parts of a body that is longer than that begin.
const STRIDE: usize = 61;

/// Letters `a`–`p` without order, as in stamps: they survive JSON untouched. The second half is the first
/// again, so that a part may begin anywhere.
static PATTERN: [u8; 2 * PERIOD] = {
    let mut pattern = [0; 2 * PERIOD];
    let mut state: u32 = 1;
    let mut at = 0;
    while at < PERIOD {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        pattern[at] = b'a' + (state >> 28) as u8;
        pattern[at + PERIOD] = pattern[at];
        at += 1;
    }
    pattern
};

/// Where the body of a message begins in the pattern.
#[inline]
fn start(stamp: &Stamp, size: usize) -> usize {
    let who = u64::from(stamp.n) | u64::from(stamp.publisher) << 32 | u64::from(stamp.room) << 48;
    let mixed = who ^ stamp.intended_ns.rotate_left(20) ^ (size as u64).rotate_left(43);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize
}

fn part(start: usize, number: usize, len: usize) -> &'static [u8] {
    let from = (start + STRIDE * number) % PERIOD;
    &PATTERN[from..from + len]
}

/// Writes a whole text: the stamp, with the size of `text`, and the body.
pub fn write(mut stamp: Stamp, text: &mut [u8]) {
    stamp.size = text.len() as u16;
    let start = start(&stamp, text.len());
    let (head, body) = text.split_at_mut(LEN);
    stamp.write(head);
    for (number, bytes) in body.chunks_mut(PERIOD).enumerate() {
        bytes.copy_from_slice(part(start, number, bytes.len()));
    }
}

/// Whether the text whose stamp stands at `at` is as it was written; `is_alone`: and is all there is in its string.
#[inline]
#[must_use]
pub fn is_intact(payload: &[u8], at: usize, stamp: &Stamp, is_alone: bool) -> bool {
    let rest = &payload[at..];
    let size = usize::from(stamp.size);
    is_body(rest, stamp, size) && (!is_alone || stands_alone(payload, at, size))
        || is_intact_and_long(payload, at, stamp, is_alone)
}

/// The stamp has the low half of the size: a text of 64 KiB or more is of the size that its body shows.
#[cold]
fn is_intact_and_long(payload: &[u8], at: usize, stamp: &Stamp, is_alone: bool) -> bool {
    let rest = &payload[at..];
    let mut sizes = (usize::from(stamp.size)..=rest.len()).step_by(1 << 16).skip(1);
    sizes.any(|size| is_body(rest, stamp, size) && (!is_alone || stands_alone(payload, at, size)))
}

#[inline]
fn is_body(text: &[u8], stamp: &Stamp, size: usize) -> bool {
    let Some(body) = text.get(LEN..size) else { return false };
    let start = start(stamp, size);
    if body.len() <= PERIOD {
        return body == part(start, 0, body.len());
    }
    let mut parts = body.chunks(PERIOD).enumerate();
    parts.all(|(number, bytes)| bytes == part(start, number, bytes.len()))
}

/// It begins and ends with its string, perhaps one within a string.
#[inline]
fn stands_alone(payload: &[u8], at: usize, size: usize) -> bool {
    let before = at.checked_sub(1).map(|before| payload[before]);
    let after = payload.get(at + size).copied();
    matches!(before, None | Some(b'"')) && matches!(after, None | Some(b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp =
        Stamp { run: 9, room: 3, publisher: 5, n: 77, intended_ns: 1_234_567_890_123, size: 0 };
    const SIZES: [usize; 8] = [LEN, LEN + 1, 128, 4096, 4139, 65_535, 65_536 + 44, 1 << 20];

    fn text(stamp: Stamp, size: usize) -> Vec<u8> {
        let mut text = vec![0; size];
        write(stamp, &mut text);
        text
    }

    /// As a delivery is judged: `["message",{"msg":TEXT}]`.
    fn is_taken(text: &[u8]) -> bool {
        let payload = [b"[\"message\",{\"msg\":\"", text, b"\"}]"].concat();
        let at = 19;
        Stamp::read(&payload[at..]).is_some_and(|stamp| is_intact(&payload, at, &stamp, true))
    }

    #[test]
    fn a_text_of_any_size_is_known_again() {
        for size in SIZES {
            let text = text(STAMP, size);
            assert!(is_taken(&text), "{size}");
            let stamp = Stamp::read(&text).unwrap();
            assert!(is_intact(&text, 0, &stamp, true), "{size}");
            assert!(text.iter().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn a_text_that_is_cut_or_longer_is_altered() {
        for size in SIZES {
            let whole = text(STAMP, size);
            for cut in [1, 10, 1 << 16] {
                if size > LEN + cut {
                    assert!(!is_taken(&whole[..size - cut]), "{size} without {cut}");
                }
            }
            assert!(
                !is_taken(&[&whole[..], b"!"].concat()) && !is_taken(&[b" ", &whole[..]].concat())
            );
        }
    }

    #[test]
    fn no_byte_of_a_text_can_change() {
        let whole = text(STAMP, 300);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            // The run only says whose the message is, and three letters of the stamp are of no use.
            let is_of_run = (4..8).contains(&at);
            assert!(!is_taken(&changed) || is_of_run, "byte {at}");
        }
    }

    #[test]
    fn the_body_of_another_message_is_no_body_of_this_one() {
        let own = text(STAMP, 200);
        for other in [
            Stamp { n: 78, ..STAMP },
            Stamp { publisher: 6, ..STAMP },
            Stamp { room: 4, ..STAMP },
            Stamp { intended_ns: STAMP.intended_ns + 1, ..STAMP },
        ] {
            let mixed = [&own[..LEN], &text(other, 200)[LEN..]].concat();
            assert!(!is_taken(&mixed), "{other:?}");
        }
    }

    #[test]
    fn a_text_within_a_string_within_a_string_is_whole() {
        let text = text(STAMP, 100);
        let payload = [b"{\"data\":\"{\\\"body\\\":\\\"", &text[..], b"\\\"}\"}"].concat();
        let at = payload.iter().position(|byte| *byte == b'~').unwrap();
        let stamp = Stamp::read(&payload[at..]).unwrap();
        assert!(is_intact(&payload, at, &stamp, true));
    }
}
