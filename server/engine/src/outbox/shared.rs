//! Large frames that pipes share, each counted once.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Of the frames that wait for any pipe: where they lie, how long they are, and how many places in pipes hold them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SharedFrames {
    holders: BTreeMap<(usize, usize), u32>,
    bytes: usize,
}

fn key(frame: &Bytes) -> (usize, usize) {
    (frame.as_ptr().addr(), frame.len())
}

impl SharedFrames {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn hold(&mut self, frame: &Bytes) {
        let holders = self.holders.entry(key(frame)).or_default();
        if *holders == 0 {
            self.bytes += frame.len();
        }
        *holders += 1;
    }

    pub(super) fn release(&mut self, frame: &Bytes) {
        let holders = self.holders.get_mut(&key(frame)).expect("a frame that waits is counted");
        *holders -= 1;
        if *holders == 0 {
            self.holders.remove(&key(frame));
            self.bytes -= frame.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_once_for_all_that_hold_it() {
        let (large, other) = (Bytes::from(vec![1; 9000]), Bytes::from(vec![1; 9000]));
        let mut frames = SharedFrames::default();
        for frame in [&large, &large.clone(), &other] {
            frames.hold(frame);
        }
        assert_eq!(frames.bytes(), 18_000);
        frames.release(&large);
        assert_eq!(frames.bytes(), 18_000, "another pipe holds it");
        frames.release(&large);
        frames.release(&other);
        assert_eq!(frames, SharedFrames::default());
    }
}
