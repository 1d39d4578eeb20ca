//! What a room may send of its roster in a second (PRES-52).
//!
//! Whole rosters sent again to members that had one grow with the square of the room on every change, and
//! merging changes saves them: they have a small budget. What a member must get once, merging does not
//! save: the first roster, and, in mode delta, each entry that comes or goes. It has a large one. Each is
//! halved when two kinds of it wait, so that neither keeps the other waiting.

use throng_engine::Bucket;

/// What has been used of each; [`Rates`](super::rates::Rates) says how much there is.
#[derive(Default)]
pub(super) struct Budgets {
    /// Of the small one: whole rosters, and the events of members in mode delta or count.
    pub(super) again: Bucket,
    pub(super) events: Bucket,
    /// Of the large one: first rosters, and changes.
    pub(super) first: Bucket,
    pub(super) changes: Bucket,
}
