//! The memberships of one session.

use smallvec::SmallVec;

/// Names a membership among those of its session: an answer about an earlier one in a room must not
/// touch the present one. Grows with each membership of the session, and wraps around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MembershipId(pub u32);

/// One stay of a session in a room, from its first request to join until the home has answered that it
/// left. There may be two in one room: an old one that the home has not ended yet, and a new one behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership<R> {
    /// The room.
    pub room: R,
    /// Its name.
    pub id: MembershipId,
    /// Joins sent and not answered.
    pub joining: u16,
    /// The home was asked to end it. It lasts until the answer: what was sent before still arrives.
    pub is_leaving: bool,
    /// Place among the room's [`Members`](super::Members), while the session receives what they do.
    pub index: Option<u32>,
}

/// The memberships of one session, in the order of their first joins. `R` names a room.
#[derive(Debug)]
pub struct Memberships<R> {
    list: SmallVec<[Membership<R>; 1]>,
    last_id: MembershipId,
}

impl<R> Default for Memberships<R> {
    fn default() -> Memberships<R> {
        Memberships { list: SmallVec::new(), last_id: MembershipId::default() }
    }
}

impl<R: Copy + PartialEq> Memberships<R> {
    /// Names a further membership.
    pub fn next_id(&mut self) -> MembershipId {
        self.last_id.0 = self.last_id.0.wrapping_add(1);
        self.last_id
    }

    /// A join was sent: of a new membership, or once more of one that there is.
    pub fn joining(&mut self, room: R, id: MembershipId) {
        match self.get_mut(id) {
            Some(membership) => membership.joining += 1,
            None => {
                let membership =
                    Membership { room, id, joining: 1, is_leaving: false, index: None };
                self.list.push(membership);
            }
        }
    }

    /// The home has answered a join. `None`: the membership is over, its end overtook the answer.
    ///
    /// # Panics
    /// When more joins are answered than were sent.
    pub fn answered(&mut self, id: MembershipId) -> Option<&mut Membership<R>> {
        let membership = self.get_mut(id)?;
        let joining = membership.joining.checked_sub(1);
        membership.joining = joining.expect("a home answers each join once");
        Some(membership)
    }

    /// The membership of that name.
    pub fn get_mut(&mut self, id: MembershipId) -> Option<&mut Membership<R>> {
        self.list.iter_mut().find(|membership| membership.id == id)
    }

    /// The membership in the room that is not leaving.
    pub fn current(&self, room: R) -> Option<&Membership<R>> {
        self.list.iter().find(|membership| membership.room == room && !membership.is_leaving)
    }

    /// As [`Memberships::current`].
    pub fn current_mut(&mut self, room: R) -> Option<&mut Membership<R>> {
        self.list.iter_mut().find(|membership| membership.room == room && !membership.is_leaving)
    }

    /// The session's place among the room's [`Members`](super::Members), if it is one of them.
    pub fn index_in(&self, room: R) -> Option<u32> {
        let of_room = self.list.iter().filter(|membership| membership.room == room);
        of_room.filter_map(|membership| membership.index).next()
    }

    /// The membership with which the session is among the room's [`Members`](super::Members).
    ///
    /// # Panics
    /// When it is not.
    pub fn listed_mut(&mut self, room: R) -> &mut Membership<R> {
        let mut memberships = self.list.iter_mut();
        let listed = memberships.find(|member| member.room == room && member.index.is_some());
        listed.expect("a member has a membership")
    }

    /// The membership is over. `None` if it was over before.
    pub fn end(&mut self, id: MembershipId) -> Option<Membership<R>> {
        let place = self.list.iter().position(|membership| membership.id == id)?;
        Some(self.list.remove(place))
    }

    /// All of them are over.
    pub fn end_all(&mut self) -> impl Iterator<Item = Membership<R>> + use<R> {
        std::mem::take(&mut self.list).into_iter()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Membership<R>> {
        self.list.iter()
    }

    /// How many there are, leaving ones included.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// How many rooms the session is in or has asked to join: a room that it leaves counts no more.
    pub fn rooms(&self) -> usize {
        self.list.iter().filter(|membership| !membership.is_leaving).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Asserts that names are unique, and that a session joins a room once and is its member once.
    ///
    /// # Panics
    /// When that does not hold.
    pub fn check(&self) {
        for (place, membership) in self.list.iter().enumerate() {
            let others = || self.list[..place].iter();
            let of_room = || others().filter(|other| other.room == membership.room);
            assert!(
                others().all(|other| other.id != membership.id),
                "a membership has its own name"
            );
            let is_second = of_room().any(|other| !(other.is_leaving || membership.is_leaving));
            assert!(!is_second, "a session joins a room once");
            let is_double =
                membership.index.is_some() && of_room().any(|other| other.index.is_some());
            assert!(!is_double, "a session is a room's member once");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_lasts_until_its_leave_is_answered_and_another_may_follow_it() {
        let mut memberships = Memberships::default();
        let first = memberships.next_id();
        memberships.joining('a', first);
        memberships.answered(first).expect("it was asked for").index = Some(0);
        memberships.current_mut('a').expect("it was joined").is_leaving = true;
        assert_eq!(memberships.current('a'), None);
        let second = memberships.next_id();
        memberships.joining('a', second);
        memberships.check();
        assert_eq!(memberships.current('a').map(|it| it.id), Some(second));
        assert_eq!(memberships.listed_mut('a').id, first);
        assert_eq!(memberships.end(first).and_then(|it| it.index), Some(0));
        assert_eq!(memberships.end(first), None);
        assert_eq!(memberships.len(), 1);
    }

    #[test]
    fn an_answer_about_a_membership_that_is_over_touches_no_other() {
        let mut memberships = Memberships::default();
        let [first, second] = [(); 2].map(|()| memberships.next_id());
        memberships.joining('a', first);
        memberships.end_all().for_each(|ended| assert_eq!(ended.id, first));
        memberships.joining('a', second);
        assert_eq!(memberships.answered(first), None);
        assert_eq!(memberships.current('a').map(|it| it.joining), Some(1));
    }

    #[test]
    #[should_panic(expected = "a home answers each join once")]
    fn an_answer_that_was_not_asked_for_is_a_bug() {
        let mut memberships = Memberships::default();
        let id = memberships.next_id();
        memberships.joining('a', id);
        memberships.answered(id);
        memberships.answered(id);
    }

    #[test]
    #[should_panic(expected = "a session joins a room once")]
    fn two_memberships_of_a_room_are_a_bug() {
        let mut memberships = Memberships::default();
        for id in [(); 2].map(|()| memberships.next_id()) {
            memberships.joining('a', id);
        }
        memberships.check();
    }
}
