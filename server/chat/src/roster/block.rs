//! A whole roster, encoded once for all members that get it.
//!
//! In a room that ten thousand enter it is a megabyte, and all of them want it: it is taken when the
//! one there is will not do, not for each of them, and the members' pipes share its bytes.

use bytes::Bytes;

use super::Roster;
use crate::frames::{self, Meta};
use crate::ids::Seq;

/// So many are given a roster that is not the newest any more before a newer one is encoded for
/// those who want the newest: encoding costs as much as a few sends.
const USES_MAX: u32 = 16;

pub(super) struct Block {
    pub(super) version: u64,
    /// Identifies and orders blocks and other things that happen to a roster.
    pub(super) serial: u64,
    pub(super) uses: u32,
    online: u32,
    json: String,
    /// As an event: under which name, and after which message.
    frame: Option<(&'static str, Seq, Bytes)>,
}

impl Block {
    /// It is not the newest, and enough have been given it.
    pub(super) fn is_worn(&self, version: u64) -> bool {
        self.version < version && self.uses >= USES_MAX
    }
}

impl Roster {
    /// Sees to it that the block is of the present version.
    pub(super) fn take_block(&mut self) {
        if self.updates.block.as_ref().is_some_and(|block| block.version == self.version) {
            return;
        }
        let block = Block {
            version: self.version,
            serial: self.updates.next_serial(),
            uses: 0,
            online: self.online(),
            json: self.json(),
            frame: None,
        };
        self.updates.block = Some(block);
    }

    /// The block as the event `name` for a member that has received the messages up to `seq`.
    pub(super) fn block_frame(&mut self, name: &'static str, seq: Seq) -> Bytes {
        let room = self.room;
        let block = self.updates.block.as_mut().expect("the caller took a block");
        match &block.frame {
            Some((known, at, frame)) if *known == name && *at == seq => frame.clone(),
            _ => {
                let meta = Meta { room, seq, online: block.online, version: block.version };
                let frame = frames::roster(name, &block.json, meta);
                block.frame = Some((name, seq, frame.clone()));
                frame
            }
        }
    }
}
