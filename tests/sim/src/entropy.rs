//! The one source of choice: a finite string of bytes.
//!
//! The first [`PRELUDE`] bytes choose the scenario; every [`RECORD`] bytes after them choose one
//! step. A step that wants more than its record holds continues with a hash of the record, so
//! removing a record removes exactly one step and moves nothing else: that is what makes a search
//! for a shorter string worth while.

pub const PRELUDE: usize = 40;
pub const RECORD: usize = 6;

const STEPS_MIN: u64 = 40;
const STEPS_SPAN: u64 = 560;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream(pub Vec<u8>);

impl Stream {
    pub fn from_seed(seed: u64) -> Stream {
        let mut state = mix(seed ^ 0x7468_726f_6e67);
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        };
        let steps = STEPS_MIN + next() % STEPS_SPAN;
        let len = PRELUDE + steps as usize * RECORD;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&next().to_le_bytes());
        }
        bytes.truncate(len);
        Stream(bytes)
    }

    pub fn prelude(&self) -> Draw<'_> {
        Draw::new(&self.0[..self.0.len().min(PRELUDE)])
    }

    pub fn records(&self) -> impl Iterator<Item = Draw<'_>> {
        self.0.get(PRELUDE..).unwrap_or_default().chunks(RECORD).map(Draw::new)
    }
}

/// Choices of one step. A byte of 0 is always the plainest choice.
pub struct Draw<'a> {
    bytes: &'a [u8],
    spill: u64,
}

impl<'a> Draw<'a> {
    pub fn new(bytes: &'a [u8]) -> Draw<'a> {
        let spill = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        Draw { bytes, spill }
    }

    pub fn byte(&mut self) -> u8 {
        if let [first, rest @ ..] = self.bytes {
            self.bytes = rest;
            return *first;
        }
        self.spill = self.spill.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.spill) >> 32) as u8
    }

    /// A number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound <= 1 { 0 } else { usize::from(self.byte()) * bound / 256 }
    }

    /// True `of_256` times of 256; never for a byte of 0.
    pub fn chance(&mut self, of_256: u32) -> bool {
        u32::from(self.byte()) >= 256 - of_256
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

pub fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
