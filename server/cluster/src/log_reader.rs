//! How far this node has read the logs.

use crate::keys::Keys;
use crate::order::{EntryId, Order};
use crate::settings::Settings;

#[derive(Debug, Default)]
enum Position {
    /// Not known yet: the last id of each stream is requested first.
    #[default]
    Unknown,
    /// Known, but Redis was unreachable since: it must be compared with the last ids.
    Doubtful(Vec<EntryId>),
    /// The last entry read of each stream.
    Known(Vec<EntryId>),
}

#[derive(Default)]
pub struct LogReader {
    position: Position,
}

impl LogReader {
    /// Redis was unreachable. It may have come back empty.
    pub fn doubt(&mut self) {
        self.position = match std::mem::take(&mut self.position) {
            Position::Known(ids) | Position::Doubtful(ids) => Position::Doubtful(ids),
            Position::Unknown => Position::Unknown,
        };
    }

    pub fn is_known(&self) -> bool {
        matches!(self.position, Position::Known(_))
    }

    /// The next order: read on from the position, or ask where the streams end.
    pub fn order(&self, keys: &Keys, settings: &Settings) -> Order {
        let streams = keys.partitions().map(|partition| keys.log(partition));
        match &self.position {
            Position::Known(ids) => Order::Read {
                from: streams.zip(ids.iter().copied()).collect(),
                count: settings.read_count,
                block_ms: settings.read_block_ms,
            },
            Position::Unknown | Position::Doubtful(_) => {
                Order::Tails { streams: streams.collect() }
            }
        }
    }

    /// The last ids of the streams have arrived. A stream that ends before our position was created
    /// anew; it is read from its start.
    pub fn tails(&mut self, tails: &[Option<EntryId>]) {
        let ends = tails.iter().map(|tail| tail.unwrap_or(EntryId::ZERO));
        let ids = match std::mem::take(&mut self.position) {
            Position::Unknown => ends.collect(),
            Position::Doubtful(ids) | Position::Known(ids) => ids
                .into_iter()
                .zip(ends)
                .map(|(position, end)| if end < position { EntryId::ZERO } else { position })
                .collect(),
        };
        self.position = Position::Known(ids);
    }

    /// The entry `id` of a stream was read. Without a position there is nothing to move.
    pub fn advance(&mut self, partition: usize, id: EntryId) {
        if let Position::Known(ids) | Position::Doubtful(ids) = &mut self.position
            && let Some(position) = ids.get_mut(partition)
        {
            *position = (*position).max(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LogReader;
    use crate::keys::Keys;
    use crate::order::{EntryId, Order};
    use crate::settings::Settings;

    #[test]
    fn the_position_survives_any_number_of_disconnects() {
        let settings = Settings { log_streams: 1, ..Settings::default() };
        let at = |ms| EntryId { ms, n: 0 };
        let mut reader = LogReader::default();
        reader.tails(&[Some(at(5))]);
        reader.doubt();
        reader.doubt();
        reader.tails(&[Some(at(9))]);
        let Order::Read { from, .. } = reader.order(&Keys::new(&settings), &settings) else {
            panic!("the position is known");
        };
        assert_eq!(from[0].1, at(5));
        reader.doubt();
        reader.tails(&[Some(at(2))]);
        let order = reader.order(&Keys::new(&settings), &settings);
        let Order::Read { from, .. } = order else { panic!("the position is known") };
        assert_eq!(from[0].1, EntryId::ZERO, "the stream was created anew");
    }
}
