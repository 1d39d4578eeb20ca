//! How far this node has read the logs, and how it notices that something is missing.

use crate::keys::Keys;
use crate::order::{EntryId, Order};
use crate::settings::Settings;

#[derive(Debug, Default)]
enum Place {
    /// Not known: the ends of the streams are asked first.
    #[default]
    Unknown,
    /// Known, and to be compared with the ends of the streams: Redis was away.
    Doubtful(Vec<EntryId>),
    Known(Vec<EntryId>),
}

#[derive(Default)]
pub struct Reading {
    place: Place,
}

impl Reading {
    /// Redis was away. It may have come back empty.
    pub fn doubt(&mut self) {
        self.place = match std::mem::take(&mut self.place) {
            Place::Known(ids) | Place::Doubtful(ids) => Place::Doubtful(ids),
            Place::Unknown => Place::Unknown,
        };
    }

    pub fn is_known(&self) -> bool {
        matches!(self.place, Place::Known(_))
    }

    pub fn order(&self, keys: &Keys, settings: &Settings) -> Order {
        let streams = keys.partitions().map(|partition| keys.log(partition));
        match &self.place {
            Place::Known(ids) => Order::Read {
                from: streams.zip(ids.iter().copied()).collect(),
                count: settings.read_count,
                block_ms: settings.read_block_ms,
            },
            Place::Unknown | Place::Doubtful(_) => Order::Tails { streams: streams.collect() },
        }
    }

    /// The ends of the streams. Where a stream ends before the place we had come to it has been
    /// made anew, and is read from its start.
    pub fn tails(&mut self, tails: &[Option<EntryId>]) {
        let ends = tails.iter().map(|tail| tail.unwrap_or(EntryId::ZERO));
        let ids = match std::mem::take(&mut self.place) {
            Place::Unknown => ends.collect(),
            Place::Doubtful(ids) | Place::Known(ids) => ids
                .into_iter()
                .zip(ends)
                .map(|(place, end)| if end < place { EntryId::ZERO } else { place })
                .collect(),
        };
        self.place = Place::Known(ids);
    }

    pub fn advance(&mut self, partition: usize, id: EntryId) {
        if let Place::Known(ids) | Place::Doubtful(ids) = &mut self.place
            && let Some(place) = ids.get_mut(partition)
        {
            *place = (*place).max(id);
        }
    }
}

/// The numbers of one incarnation's entries, per stream: what comes again is told from what comes
/// next, and what comes next from what comes too early.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The last number read. `None` until the first is heard of: we came later than they.
    read: Vec<Option<u64>>,
    /// What the last beat said has been written.
    promised: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Next,
    /// Read before, or written after what came later: its subject has been told newer.
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

    /// A beat, with what has been written to each stream. What the beat before promised must have
    /// been read by now, since streams are read side by side.
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
    use super::{Reading, Sequence, Step};
    use crate::keys::Keys;
    use crate::order::{EntryId, Order};
    use crate::settings::Settings;

    #[test]
    fn the_place_is_kept_through_any_number_of_breaks() {
        let settings = Settings { log_streams: 1, ..Settings::default() };
        let at = |ms| EntryId { ms, n: 0 };
        let mut reading = Reading::default();
        reading.tails(&[Some(at(5))]);
        reading.doubt();
        reading.doubt();
        reading.tails(&[Some(at(9))]);
        let Order::Read { from, .. } = reading.order(&Keys::new(&settings), &settings) else {
            panic!("the place is known");
        };
        assert_eq!(from[0].1, at(5));
        reading.doubt();
        reading.tails(&[Some(at(2))]);
        let order = reading.order(&Keys::new(&settings), &settings);
        let Order::Read { from, .. } = order else { panic!("the place is known") };
        assert_eq!(from[0].1, EntryId::ZERO, "the stream has been made anew");
    }

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
    fn a_lost_tail_shows_at_the_second_beat() {
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
