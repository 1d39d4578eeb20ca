//! The names of the channels.

/// The channels of the namespace `/` below one key.
#[derive(Clone, Debug)]
pub struct Channels {
    everyone: String,
}

/// To whom a channel carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Everybody, or the several rooms that the broadcast itself names.
    Named,
    /// The room of this name.
    Room(&'a str),
}

impl Channels {
    /// `key` is the option `key` of the adapters, by default `socket.io`.
    pub fn new(key: &str) -> Channels {
        Channels { everyone: format!("{key}#/#") }
    }

    /// A pattern of Redis for all of them. Other channels that match it are none of ours; see
    /// [`Channels::scope`].
    pub fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.everyone.len() + 1);
        for letter in self.everyone.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern + "*"
    }

    pub fn room(&self, name: &str) -> String {
        format!("{}{name}#", self.everyone)
    }

    /// A room may hold `#`, so its name is cut out and never split.
    pub fn scope<'a>(&self, channel: &'a str) -> Option<Scope<'a>> {
        match channel.strip_prefix(&self.everyone)? {
            "" => Some(Scope::Named),
            rest => rest.strip_suffix('#').map(Scope::Room),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_no_pattern() {
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
