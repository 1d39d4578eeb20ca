//! How this node notices that entries of another incarnation are missing.

/// The numbers of one incarnation's entries, per stream. They distinguish repeated, next and
/// missing entries.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The last number read of each stream. `None` before the first: this node may have started to
    /// read after earlier entries were written.
    read: Vec<Option<u64>>,
    /// How far each stream was written, according to the last heartbeat.
    promised: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The entry follows the last one read.
    Next,
    /// The entry was read before, or a later one was: newer state of its subject is known.
    Late,
    /// Entries before this one are missing.
    Gap,
}

impl Sequence {
    pub fn step(&mut self, partition: usize, q: u64) -> Step {
        if self.read.len() <= partition {
            self.read.resize(partition + 1, None);
        }
        let read = &mut self.read[partition];
        let step = match *read {
            Some(last) if q <= last => return Step::Late,
            Some(last) if q != last + 1 => Step::Gap,
            _ => Step::Next,
        };
        *read = Some(q);
        step
    }

    /// A heartbeat that says how far each stream was `written`. Everything that the previous
    /// heartbeat promised must have been read by now, since all streams are read together.
    pub fn beat(&mut self, written: Vec<u64>) -> Step {
        self.read.resize(written.len().max(self.read.len()), None);
        let mut is_gap = false;
        for (read, promised) in self.read.iter_mut().zip(&self.promised) {
            if let Some(last) = read {
                is_gap |= *last < *promised;
                *last = (*last).max(*promised);
            }
        }
        for (read, written) in self.read.iter_mut().zip(&written) {
            if read.is_none() && *written == 0 {
                *read = Some(0);
            }
        }
        self.promised = written;
        if is_gap { Step::Gap } else { Step::Next }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sequence, Step};

    #[test]
    fn a_number_comes_once_and_in_order() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.step(1, 7), Step::Next);
        assert_eq!(sequence.step(1, 7), Step::Late);
        assert_eq!(sequence.step(1, 8), Step::Next);
        assert_eq!(sequence.step(1, 10), Step::Gap);
        assert_eq!(sequence.step(1, 9), Step::Late);
        assert_eq!(sequence.step(0, 3), Step::Next);
    }

    #[test]
    fn a_lost_tail_is_noticed_at_the_second_heartbeat() {
        let mut sequence = Sequence::default();
        sequence.step(0, 4);
        sequence.step(1, 4);
        assert_eq!(sequence.beat(vec![4, 6]), Step::Next);
        assert_eq!(sequence.beat(vec![4, 6]), Step::Gap);
        assert_eq!(sequence.beat(vec![4, 6]), Step::Next);
    }

    #[test]
    fn the_first_entry_of_a_stream_may_be_the_missing_one() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.beat(vec![1, 0]), Step::Next);
        assert_eq!(sequence.step(1, 2), Step::Gap);
        assert_eq!(Sequence::default().step(1, 2), Step::Next);
    }
}
