//! Bytes that many pipes get, laid down once.
//!
//! Each topic (a room) has a block of its own, and what comes next in it lies right behind. So a pipe
//! that has not been offered the last batch yet when the next one comes holds both as one piece.

use std::collections::BTreeMap;

/// Above this, pipes get copies: whole lanes full of batches may come before a pipe is offered any.
const COMMON_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A block that is never without holders ends here, and the topic goes on in another.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Capacity kept for reuse.
const SPARE_BYTES_MAX: usize = 1024 * 1024;

/// A part of a block.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    block: u32,
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

#[derive(Default)]
struct Block {
    topic: u32,
    bytes: Vec<u8>,
    /// Pipes with a span of it that is not empty.
    holders: u32,
    /// It is in the list of blocks to look at.
    is_listed: bool,
}

#[derive(Default)]
pub(super) struct Common {
    blocks: Vec<Block>,
    vacant: Vec<u32>,
    /// The block that takes the next bytes of a topic.
    open: BTreeMap<u32, u32>,
    /// Blocks that had no holder at some moment. Whether they still have none is seen when the next
    /// bytes come: those that came last may be handed out until then.
    unheld: Vec<u32>,
    /// Of all blocks.
    bytes: usize,
    /// Capacity of vacant blocks.
    spare_bytes: usize,
}

impl Common {
    pub(super) fn add(&mut self, topic: u32, bytes: &[u8]) -> Option<Span> {
        self.clear_unheld();
        if self.bytes + bytes.len() > COMMON_BYTES_MAX {
            return None;
        }
        let index = self.block_for(topic, bytes.len());
        let block = &mut self.blocks[index as usize];
        let start = block.bytes.len() as u32;
        block.bytes.extend_from_slice(bytes);
        self.bytes += bytes.len();
        let end = block.bytes.len() as u32;
        if block.holders == 0 {
            self.list(index);
        }
        Some(Span { block: index, start, end })
    }

    fn block_for(&mut self, topic: u32, len: usize) -> u32 {
        if let Some(index) = self.open.get(&topic)
            && self.blocks[*index as usize].bytes.len() + len <= BLOCK_BYTES_MAX
        {
            return *index;
        }
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.blocks.push(Block::default());
            self.blocks.len() as u32 - 1
        });
        self.spare_bytes -= self.blocks[index as usize].bytes.capacity();
        self.blocks[index as usize].topic = topic;
        self.open.insert(topic, index);
        index
    }

    #[cold]
    fn list(&mut self, index: u32) {
        if !std::mem::replace(&mut self.blocks[index as usize].is_listed, true) {
            self.unheld.push(index);
        }
    }

    fn clear_unheld(&mut self) {
        while let Some(index) = self.unheld.pop() {
            let block = &mut self.blocks[index as usize];
            block.is_listed = false;
            if block.holders > 0 {
                continue;
            }
            self.bytes -= block.bytes.len();
            block.bytes.clear();
            if self.spare_bytes + block.bytes.capacity() > SPARE_BYTES_MAX {
                block.bytes = Vec::new();
            }
            self.spare_bytes += block.bytes.capacity();
            if self.open.get(&block.topic) == Some(&index) {
                self.open.remove(&block.topic);
            }
            self.vacant.push(index);
        }
    }

    pub(super) fn get(&self, span: Span) -> &[u8] {
        if span.is_empty() {
            return &[];
        }
        &self.blocks[span.block as usize].bytes[span.start as usize..span.end as usize]
    }

    /// Adds `span` to what a pipe `held`. False: it does not lie right behind.
    #[inline]
    pub(super) fn extend(&mut self, held: &mut Span, span: Span) -> bool {
        if held.is_empty() {
            if !span.is_empty() {
                self.blocks[span.block as usize].holders += 1;
            }
            *held = span;
            true
        } else if held.block == span.block && held.end == span.start {
            held.end = span.end;
            true
        } else {
            false
        }
    }

    #[inline]
    pub(super) fn release(&mut self, held: &mut Span) {
        if !held.is_empty() {
            let block = &mut self.blocks[held.block as usize];
            block.holders -= 1;
            if block.holders == 0 {
                self.list(held.block);
            }
            *held = Span::default();
        }
    }
}
