//! Consecutive messages of one room as they are sent.
//!
//! Each message is written once, as all but its author read it. What its author reads differs in the first member of the
//! event: the frame up to there is written for them aside, and what follows is the same bytes.

use std::ops::Range;

use crate::ids::{AckId, Seq, SessionId, UserId};

/// Consecutive messages of one room.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order; not empty.
    pub(crate) messages: Vec<Sequenced>,
    /// The frames of all messages, end to end, for members who wrote none of them.
    pub(crate) shared: Vec<u8>,
    /// The beginnings of the frames for their authors.
    pub(crate) heads: Vec<u8>,
}

/// One numbered message.
#[derive(Debug)]
pub(crate) struct Sequenced {
    /// Who wrote it.
    pub(crate) author: UserId,
    /// Its number in the room.
    pub(crate) seq: Seq,
    /// Its number in the store.
    pub(crate) id: i64,
    /// The session of this node that published, and the ack it wants.
    pub(crate) publisher: Option<SessionId>,
    /// Under which id `publisher` waits for the answer.
    pub(crate) ack: AckId,
    /// Of [`Batch::shared`].
    pub(crate) frame: Range<usize>,
    /// In [`Batch::shared`]: from here on it is what its author reads too.
    pub(crate) tail_at: usize,
    /// Of [`Batch::heads`].
    pub(crate) head: Range<usize>,
}

impl Batch {
    /// The numbers of its messages, in order.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> {
        self.messages.iter().map(|message| message.seq)
    }

    /// The frame of one of its messages as this user reads it, in two parts.
    pub(crate) fn frame(&self, message: &Sequenced, reader: UserId) -> [&[u8]; 2] {
        if message.author == reader {
            [&self.heads[message.head.clone()], &self.shared[message.tail_at..message.frame.end]]
        } else {
            [&self.shared[message.frame.clone()], &[]]
        }
    }

    /// All frames as this user reads them, end to end, in parts.
    pub(crate) fn frames(&self, reader: UserId) -> impl Iterator<Item = &[u8]> + Clone {
        self.messages.iter().flat_map(move |message| self.frame(message, reader))
    }

    /// Bytes of memory.
    pub(crate) fn capacity(&self) -> usize {
        let messages = self.messages.capacity() * size_of::<Sequenced>();
        self.shared.capacity() + self.heads.capacity() + messages
    }

    /// Empties it, for other messages.
    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.shared.clear();
        self.heads.clear();
    }
}
