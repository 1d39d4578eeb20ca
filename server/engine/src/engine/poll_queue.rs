//! What waits of a polling session: packets for the next GET, and a POST.

use std::collections::VecDeque;

use throng_wire::eio::payload::{Form, Out};

use super::trust::Trust;
use crate::ids::PollId;

/// What a body costs before its first byte.
const RECEIVING_BYTES: usize = 512;

/// How the body of a POST is to be read.
#[derive(Clone, Copy)]
pub(super) struct Post {
    pub(super) poll: PollId,
    pub(super) form: Form,
    pub(super) is_jsonp: bool,
}

/// A POST whose body is arriving.
pub(super) struct Receiving {
    pub(super) post: Post,
    pub(super) bytes: Vec<u8>,
}

impl Receiving {
    pub(super) fn new(post: Post) -> Receiving {
        Receiving { post, bytes: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes on the account of the session.
    pub(super) fn held(&self) -> usize {
        RECEIVING_BYTES + self.bytes.capacity()
    }

    /// Doubles, but never beyond `most` bytes.
    pub(super) fn add(&mut self, bytes: &[u8], most: usize) {
        let here = self.bytes.len();
        if self.bytes.capacity() - here < bytes.len() {
            self.bytes.reserve_exact(bytes.len().max(here.min(most - here)));
        }
        self.bytes.extend_from_slice(bytes);
    }
}

impl Polling {
    /// Bytes that count for the bound: one packet that is longer than the bound, such as the roster of a large room, is
    /// sent all the same to a user that polls.
    pub(super) fn counted(&self, trust: Trust, bound: usize) -> usize {
        if self.bytes <= bound {
            return self.bytes;
        }
        let longest = match trust {
            Trust::Identified => self.queue.iter().map(bytes_of).max().unwrap_or(0),
            Trust::Anonymous | Trust::Claimed => 0,
        };
        self.bytes - if longest > bound { longest } else { 0 }
    }

    /// The first packets, which have no more than `most` bytes together or are one, and their bytes on the account.
    pub(super) fn take_some(&mut self, most: usize) -> (Vec<Out>, usize) {
        let mut bytes = 0;
        let fits = |packet: &&Out| {
            let is_first = bytes == 0;
            bytes += bytes_of(packet);
            is_first || bytes <= most
        };
        let count = self.queue.iter().take_while(fits).count();
        let packets: Vec<Out> = self.queue.drain(..count).collect();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        let taken = packets.iter().map(bytes_of).sum::<usize>().min(self.bytes);
        self.bytes -= taken;
        (packets, taken)
    }
}

pub(crate) struct Polling {
    pub(super) queue: VecDeque<Out>,
    pub(super) bytes: usize,
    pub(super) parked: Option<Parked>,
    /// The last GET, parked or answered.
    pub(super) last: Option<PollId>,
    /// A POST that is answered when its work is paid for.
    pub(super) late_post: Option<PollId>,
    /// A POST whose body is arriving.
    pub(super) receiving: Option<Receiving>,
    /// The session's handshake asked for base64 instead of binary bodies.
    pub(super) b64: bool,
    /// A probe is under way: a poll is not held back.
    pub(super) is_released: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Parked {
    pub(super) poll: PollId,
    pub(super) jsonp: Option<u32>,
}

impl Polling {
    pub(super) fn new(b64: bool) -> Polling {
        Polling {
            queue: VecDeque::new(),
            bytes: 0,
            parked: None,
            last: None,
            late_post: None,
            receiving: None,
            b64,
            is_released: false,
        }
    }
}

pub(super) fn bytes_of(packet: &Out) -> usize {
    match packet {
        Out::Text(bytes) | Out::Binary(bytes) => bytes.len(),
    }
}
