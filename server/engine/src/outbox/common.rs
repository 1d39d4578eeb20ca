//! Bytes that many pipes get, laid down once.
//!
//! Each topic (a room) has a block of its own, and what comes next in it lies right behind. So a pipe
//! that has not been offered the last batch yet when the next one comes holds both as one piece.

use std::collections::BTreeMap;

use crate::canary::{Canary, is_armed};

/// Above this, pipes get copies: whole lanes full of batches may come before a pipe is offered any.
const COMMON_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A block that is never without holders ends here, and the topic goes on in another.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Capacity kept for reuse.
const SPARE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that lie once for many pipes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    block: u32,
    start: u32,
    len: u32,
}

impl Span {
    pub(crate) fn len(self) -> usize {
        self.len as usize
    }

    pub(crate) fn is_empty(self) -> bool {
        self.len == 0
    }
}

#[derive(Default)]
struct Block {
    topic: u64,
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
    open: BTreeMap<u64, u32>,
    /// Blocks that had no holder at some moment. Whether they still have none is seen when the next
    /// bytes come: those that came last may be handed out until then.
    unheld: Vec<u32>,
    /// Of all blocks.
    bytes: usize,
    /// Capacity of vacant blocks.
    spare_bytes: usize,
}

impl Common {
    pub(super) fn add<'p>(
        &mut self,
        topic: u64,
        parts: impl Iterator<Item = &'p [u8]> + Clone,
    ) -> Option<Span> {
        self.clear_unheld();
        let len = parts.clone().map(<[u8]>::len).sum();
        if self.bytes + len > COMMON_BYTES_MAX {
            return None;
        }
        let index = self.block_for(topic, len);
        let block = &mut self.blocks[index as usize];
        let start = block.bytes.len() as u32;
        parts.for_each(|part| block.bytes.extend_from_slice(part));
        self.bytes += len;
        if block.holders == 0 {
            self.list(index);
        }
        Some(Span { block: index, start, len: len as u32 })
    }

    fn block_for(&mut self, topic: u64, len: usize) -> u32 {
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
        let start = span.start as usize;
        &self.blocks[span.block as usize].bytes[start..start + span.len()]
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
        } else if held.block == span.block && held.start + held.len == span.start {
            held.len += span.len;
            true
        } else {
            false
        }
    }

    /// So many pipes that held nothing hold the span now.
    #[inline]
    pub(super) fn hold(&mut self, span: Span, pipes: u32) {
        if !span.is_empty() {
            self.blocks[span.block as usize].holders += pipes;
        }
    }

    #[inline]
    pub(super) fn release(&mut self, held: &mut Span) {
        if !held.is_empty() {
            let block = &mut self.blocks[held.block as usize];
            block.holders -= u32::from(!is_armed(Canary::KeepHolder));
            if block.holders == 0 {
                self.list(held.block);
            }
            *held = Span::default();
        }
    }
}

impl Common {
    /// Asserts that blocks, their holders and their bytes are counted right. `spans`: of all pipes.
    pub(super) fn check(&self, spans: impl Iterator<Item = Span>) {
        let mut holders = vec![0; self.blocks.len()];
        for span in spans.filter(|span| !span.is_empty()) {
            let block = &self.blocks[span.block as usize];
            assert!(
                span.start as usize + span.len() <= block.bytes.len(),
                "a span lies in its block"
            );
            holders[span.block as usize] += 1;
        }
        let mut lists = vec![(0, 0); self.blocks.len()];
        self.unheld.iter().for_each(|index| lists[*index as usize].0 += 1);
        self.vacant.iter().for_each(|index| lists[*index as usize].1 += 1);
        for (index, block) in self.blocks.iter().enumerate() {
            let (listed, vacant) = lists[index];
            assert_eq!(block.holders, holders[index], "holders are pipes with a span of the block");
            assert_eq!(listed, u32::from(block.is_listed), "a block is listed once if it says so");
            assert!(vacant + listed <= 1, "a block is vacant, or held, or about to be looked at");
            assert!(vacant == 0 || block.bytes.is_empty(), "a vacant block is empty");
            let is_kept = block.holders > 0 || block.is_listed || vacant > 0;
            assert!(is_kept, "bytes that no pipe holds are looked at and freed");
        }
        for (topic, index) in &self.open {
            assert_eq!(self.blocks[*index as usize].topic, *topic, "an open block is its topic's");
        }
        let bytes: usize = self.blocks.iter().map(|block| block.bytes.len()).sum();
        assert_eq!(bytes, self.bytes, "bytes accounted are bytes held");
        let vacant = self.vacant.iter().map(|index| self.blocks[*index as usize].bytes.capacity());
        assert_eq!(
            vacant.sum::<usize>(),
            self.spare_bytes,
            "spare capacity is that of vacant blocks"
        );
    }
}
