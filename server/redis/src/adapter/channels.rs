//! The names of channels.

/// The channels of the namespace `/` below one key.
#[derive(Clone, Debug)]
pub struct Channels {
    /// The channel of broadcasts that name their receivers, and prefix of the channels of rooms.
    prefix: String,
}

/// The receivers of the broadcasts on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Named by the broadcast: everyone, or several rooms.
    Named,
    /// The members of this room.
    Room(&'a str),
}

impl Channels {
    /// `key` is the option `key` of the adapters, by default `socket.io`.
    pub fn new(key: &str) -> Channels {
        Channels { prefix: format!("{key}#/#") }
    }

    /// A Redis pattern that matches all of them, and others; see [`Channels::scope`].
    pub fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.prefix.len() + 1);
        for letter in self.prefix.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern + "*"
    }

    /// The channel of a room.
    pub fn room(&self, name: &str) -> String {
        format!("{}{name}#", self.prefix)
    }

    /// The receivers, or `None` for a channel that is not one of these. The name of a room may
    /// contain `#`, so prefix and suffix are stripped instead of splitting at `#`.
    pub fn scope<'a>(&self, channel: &'a str) -> Option<Scope<'a>> {
        match channel.strip_prefix(&self.prefix)? {
            "" => Some(Scope::Named),
            rest => rest.strip_suffix('#').map(Scope::Room),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_escaped_in_the_pattern() {
        assert_eq!(Channels::new("socket.io").pattern(), "socket.io#/#*");
        assert_eq!(Channels::new(r"a*[b]?\").pattern(), r"a\*\[b\]\?\\#/#*");
    }

    #[test]
    fn a_channel_names_its_room() {
        let channels = Channels::new("socket.io");
        assert_eq!(channels.scope("socket.io#/#"), Some(Scope::Named));
        assert_eq!(channels.scope(&channels.room("room1")), Some(Scope::Room("room1")));
        assert_eq!(channels.scope("socket.io#/#/foo#x#"), Some(Scope::Room("/foo#x")));
        for other in ["socket.io#/chat#", "socket.io-request#/#", "socket.io#/#x", "other#/#", ""] {
            assert_eq!(channels.scope(other), None, "{other}");
        }
    }
}
