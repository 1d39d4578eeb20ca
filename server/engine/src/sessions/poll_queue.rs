//! What waits for the next GET of a polling session.

use std::collections::VecDeque;

use throng_wire::eio::payload::Out;

use super::bodies::Receiving;
use crate::ids::PollId;

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
