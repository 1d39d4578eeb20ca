//! The places of a template, what is put there, and what was found there.

/// A place of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    Room,
    Text,
    Member,
}

impl Placeholder {
    pub const ALL: [Placeholder; 3] = [Placeholder::Room, Placeholder::Text, Placeholder::Member];

    /// As it stands in a file.
    pub fn mark(self) -> &'static str {
        match self {
            Placeholder::Room => "{room}",
            Placeholder::Text => "{text}",
            Placeholder::Member => "{member}",
        }
    }
}

/// What is put into the places of an event that is emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    /// The room it is about.
    pub room: &'a str,
    /// The text of a message.
    pub text: &'a str,
    /// The Socket.IO id of the client that emits.
    pub member: &'a str,
}

impl<'a> Values<'a> {
    pub(crate) fn of(&self, place: Placeholder) -> &'a str {
        match place {
            Placeholder::Room => self.room,
            Placeholder::Text => self.text,
            Placeholder::Member => self.member,
        }
    }
}

/// What was found in the places of an event that was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured<'a> {
    /// The room, if the template has a place for it; the same in all places.
    pub room: Option<&'a str>,
    /// The text, if the template has a place for it; the same in all places.
    pub text: Option<&'a str>,
    /// The Socket.IO ids, in the order of the template and its lists, repeats included.
    pub members: Vec<&'a str>,
}

impl<'a> Captured<'a> {
    /// Takes what stands in one place; `None` if another place had something else.
    pub(crate) fn take(&mut self, place: Placeholder, found: &'a str) -> Option<()> {
        let slot = match place {
            Placeholder::Room => &mut self.room,
            Placeholder::Text => &mut self.text,
            Placeholder::Member => {
                self.members.push(found);
                return Some(());
            }
        };
        (*slot.get_or_insert(found) == found).then_some(())
    }
}
