//! What an edge knows of the rooms that one user has read or chosen about.

use smallvec::SmallVec;

use super::counts::Place;
use super::tips::{Stamp, Tip, Tips};
use crate::choice::Choice;
use crate::ids::{RoomId, Seq};
use crate::lane::Mark;

#[derive(Clone, Copy)]
pub(super) struct KnownMark {
    pub(super) room: RoomId,
    pub(super) choice: Choice,
    pub(super) seq: Seq,
    /// When the number of unread messages changed by it.
    pub(super) changed: Stamp,
    /// The user's place among the room's followers, while they follow it.
    pub(super) place: Option<Place>,
    pub(super) is_reading: bool,
}

impl KnownMark {
    fn new(room: RoomId) -> KnownMark {
        KnownMark {
            room,
            choice: Choice(0),
            seq: Seq(0),
            changed: Stamp::default(),
            place: None,
            is_reading: false,
        }
    }

    fn unread(&self, tip: Seq) -> u64 {
        if self.is_reading { 0 } else { tip.0.max(self.seq.0) - self.seq.0 }
    }
}

/// Spec: UNR-2 to UNR-4.
pub(super) fn unread(mark: Option<&KnownMark>, tip: Tip) -> u64 {
    mark.map_or(tip.seq.0, |mark| mark.unread(tip.seq))
}

/// Sorted by room. Most users know few rooms, and a tree would cost more than the marks.
#[derive(Default)]
pub(super) struct KnownMarks(SmallVec<[KnownMark; 1]>);

impl KnownMarks {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, room: RoomId) -> Option<&KnownMark> {
        let index = self.0.binary_search_by_key(&room, |mark| mark.room).ok()?;
        self.0.get(index)
    }

    pub(super) fn get_mut(&mut self, room: RoomId) -> Option<&mut KnownMark> {
        let index = self.0.binary_search_by_key(&room, |mark| mark.room).ok()?;
        self.0.get_mut(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KnownMark> {
        self.0.iter()
    }

    /// Homes report anew who is reading.
    pub(super) fn stop_reading(&mut self) {
        self.0.iter_mut().for_each(|mark| mark.is_reading = false);
    }

    /// All numbers count as changed.
    pub(super) fn change_all(&mut self, tips: &mut Tips) {
        self.0.iter_mut().for_each(|mark| mark.changed = tips.stamp());
    }

    /// A user never reads less, and never chooses an older thing: of two nodes the one that is behind takes
    /// nothing back. Returns the mark, and whether it changed what the user is to be told of the room, of which
    /// `tip` is known.
    pub(super) fn raise(&mut self, mark: Mark, tip: Option<Seq>) -> (&mut KnownMark, bool) {
        let found = self.0.binary_search_by_key(&mark.room, |known| known.room);
        let index = found.unwrap_or_else(|index| {
            self.0.insert(index, KnownMark::new(mark.room));
            index
        });
        let known = &mut self.0[index];
        let tip = tip.unwrap_or_default();
        let (number, did_follow) = (known.unread(tip), known.choice.follows());
        known.seq = known.seq.max(mark.seq);
        known.choice = known.choice.max(mark.choice.min(Choice::MAX));
        known.is_reading = mark.is_reading;
        let follows = known.choice.follows();
        let is_changed = known.unread(tip) != number || follows != did_follow;
        (known, is_changed && follows)
    }
}
