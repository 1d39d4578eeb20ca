//! What sessions hold together.

/// Bytes of input, and of answers to polls, that sessions hold on this shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeldBytes {
    pub(super) inbound: usize,
    pub(super) polled: usize,
}
