//! Memory for the data of events: an event lasts for a moment, and the next one comes.

/// Buffers that are kept. An application that returns each event before it takes the next needs one.
const COUNT_MAX: usize = 64;
/// The largest that is kept.
const BYTES_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct EventBuffers(Vec<String>);

impl EventBuffers {
    pub(super) fn take(&mut self) -> String {
        self.0.pop().unwrap_or_default()
    }

    pub(super) fn keep(&mut self, buffer: String) {
        if self.0.len() < COUNT_MAX && (1..=BYTES_MAX).contains(&buffer.capacity()) {
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let mut buffers = EventBuffers::default();
        for capacity in [0, BYTES_MAX + 1] {
            buffers.keep(String::with_capacity(capacity));
        }
        assert!(buffers.0.is_empty());
        (0..=COUNT_MAX).for_each(|_| buffers.keep(String::with_capacity(BYTES_MAX)));
        assert_eq!(buffers.0.len(), COUNT_MAX);
        assert_eq!(buffers.take().capacity(), BYTES_MAX);
    }
}
