//! The mark carried in every message text: who published it, which one it is, and when it was due.
//!
//! Which bytes follow is up to [`crate::body`]. 44 printable bytes, `~TL:` and five groups of eight letters `a`–`p` (one per nibble), so that it
//! survives JSON untouched and is read back with five word loads instead of a parser.

use memchr::memmem::Finder;

pub const MAGIC: &[u8; 4] = b"~TL:";
/// Bytes of a stamp, and therefore the shortest message text.
pub const LEN: usize = 44;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run that published it: other traffic on the same server is not counted.
    pub run: u16,
    pub room: u16,
    /// Publisher within the room.
    pub publisher: u16,
    /// Number of the message within (room, publisher), from 0.
    pub n: u32,
    /// Monotonic time the message was due, in nanoseconds.
    pub intended_ns: u64,
    /// The low half of the size of the text in bytes.
    pub size: u16,
}

impl Stamp {
    /// Writes the stamp into the first [`LEN`] bytes of `out`.
    pub fn write(&self, out: &mut [u8]) {
        out[..4].copy_from_slice(MAGIC);
        put(&mut out[4..12], u32::from(self.run) << 16 | u32::from(self.room));
        put(&mut out[12..20], u32::from(self.publisher) << 16 | u32::from(self.size));
        put(&mut out[20..28], self.n);
        put(&mut out[28..36], (self.intended_ns >> 32) as u32);
        put(&mut out[36..44], self.intended_ns as u32);
    }

    /// Reads a stamp that begins at the start of `bytes`.
    #[inline]
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.get(..LEN)?.try_into().ok()?;
        if &bytes[..4] != MAGIC {
            return None;
        }
        let who = take(&bytes[4..12])?;
        let publisher = take(&bytes[12..20])?;
        let n = take(&bytes[20..28])?;
        let high = take(&bytes[28..36])?;
        let low = take(&bytes[36..44])?;
        Some(Self {
            run: (who >> 16) as u16,
            room: who as u16,
            publisher: (publisher >> 16) as u16,
            n,
            intended_ns: u64::from(high) << 32 | u64::from(low),
            size: publisher as u16,
        })
    }
}

fn put(out: &mut [u8], value: u32) {
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = b'a' + (value >> (28 - 4 * i) & 15) as u8;
    }
}

#[inline]
fn take(bytes: &[u8]) -> Option<u32> {
    let word = u64::from_be_bytes(bytes.try_into().ok()?).wrapping_sub(0x6161_6161_6161_6161);
    if word & 0xf0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    let pairs = (word | word >> 4) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((quads | quads >> 16) as u32)
}

/// Finds the stamp in a frame's payload. Frames of one length nearly always carry it at one place,
/// so the last place seen for a length is tried before the payload is searched.
pub struct Locator {
    finder: Finder<'static>,
    hints: Box<[u16; HINTS]>,
}

const HINTS: usize = 2048;

impl Default for Locator {
    fn default() -> Self {
        Self { finder: Finder::new(MAGIC), hints: Box::new([0; HINTS]) }
    }
}

impl Locator {
    /// Where the stamp stands, and what it says.
    #[inline]
    pub fn find(&mut self, payload: &[u8]) -> Option<(usize, Stamp)> {
        let hint = &mut self.hints[payload.len() % HINTS];
        let at = usize::from(*hint);
        if let Some(stamp) = payload.get(at..).and_then(Stamp::read) {
            return Some((at, stamp));
        }
        let at = self.finder.find(payload)?;
        *hint = u16::try_from(at).unwrap_or(0);
        Some((at, Stamp::read(&payload[at..])?))
    }

    /// Whether a text of a generator is in the payload, legible or not: its mark, or most of the letters behind it.
    #[must_use]
    pub fn has_mark(&self, payload: &[u8]) -> bool {
        const LETTERS_MIN: usize = 32;
        let is_letter = |byte: &u8| (b'a'..=b'p').contains(byte);
        let mut runs = payload.split(|byte| !is_letter(byte));
        self.finder.find(payload).is_some() || runs.any(|run| run.len() >= LETTERS_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        run: 0xbeef,
        room: 3,
        publisher: 65_535,
        n: 4_000_000_000,
        intended_ns: 0x0123_4567_89ab_cdef,
        size: 44_001,
    };

    #[test]
    fn a_stamp_reads_back_wherever_it_stands() {
        let mut locator = Locator::default();
        for offset in [0, 1, 80, 300, 80] {
            let mut frame = vec![b'~'; offset + LEN + 20];
            STAMP.write(&mut frame[offset..]);
            assert_eq!(locator.find(&frame), Some((offset, STAMP)), "offset {offset}");
        }
    }

    #[test]
    fn text_that_only_resembles_a_stamp_is_none() {
        let mut frame = vec![b'x'; LEN];
        STAMP.write(&mut frame);
        assert_eq!(Stamp::read(&frame[..LEN - 1]), None);
        for at in 0..LEN {
            let mut changed = frame.clone();
            changed[at] = b'z';
            assert_eq!(Stamp::read(&changed), None, "byte {at}");
            assert!(Locator::default().has_mark(&changed), "byte {at}");
        }
        assert!(!Locator::default().has_mark(b"[\"talked\",{\"body\":\"a plain text\"}]"));
    }
}
