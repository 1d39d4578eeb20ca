//! The names of rooms and users in other programs.

/// Names of rooms in the original's sets and in the channels of Socket.IO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomNames {
    before: String,
    after: String,
}

/// What a name refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The room of this id.
    Room(u32),
    /// The room of one user's own connections, `uid_7`.
    User(u32),
}

const USER: &str = "uid_";

impl RoomNames {
    /// `pattern` contains `{id}` once: `room{id}`. `None` if a name could mean two rooms.
    pub fn new(pattern: &str) -> Option<RoomNames> {
        let (before, after) = pattern.split_once("{id}")?;
        let is_ambiguous = after.contains("{id}")
            || before.ends_with(|c: char| c.is_ascii_digit())
            || before.starts_with(USER);
        (!is_ambiguous).then(|| RoomNames { before: before.to_owned(), after: after.to_owned() })
    }

    /// Name of a room.
    pub fn room(&self, id: u32) -> String {
        format!("{}{id}{}", self.before, self.after)
    }

    /// Name of the room of one user's connections.
    pub fn user(&self, id: u32) -> String {
        format!("{USER}{id}")
    }

    /// What `name` refers to: a name of the pattern, or an id alone.
    pub fn meaning(&self, name: &str) -> Option<Named> {
        if let Some(user) = name.strip_prefix(USER) {
            return number(user).map(Named::User);
        }
        let by_pattern = name
            .strip_prefix(self.before.as_str())
            .and_then(|rest| rest.strip_suffix(self.after.as_str()))
            .and_then(number);
        by_pattern.or_else(|| number(name)).map(Named::Room)
    }
}

/// A number without a sign and leading zeros.
fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_known_by_its_pattern_and_its_number() {
        let names = RoomNames::new("room{id}").expect("a pattern");
        assert_eq!(names.room(7), "room7");
        for (name, expected) in [
            ("room7", Some(Named::Room(7))),
            ("7", Some(Named::Room(7))),
            ("uid_7", Some(Named::User(7))),
            ("room07", None),
            ("room+7", None),
            ("room", None),
            ("uid_", None),
            ("room4294967296", None),
            ("7eHxbKnqCAAAB", None),
        ] {
            assert_eq!(names.meaning(name), expected, "{name}");
        }
    }

    #[test]
    fn a_pattern_is_unambiguous() {
        for wrong in ["room", "room{id}{id}", "room1{id}", "uid_{id}"] {
            assert_eq!(RoomNames::new(wrong), None, "{wrong}");
        }
        assert!(RoomNames::new("{id}").is_some());
    }
}
