//! Packets that are too long to be parsed: what an application gets instead.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use throng_wire::sio;

/// What stands before the data of a packet, at most: type, count of attachments, namespace, id.
const HEAD_BYTES_MAX: usize = 64;

/// How an application wants packets that are too long to be parsed.
#[derive(Clone, Copy, Debug)]
pub struct LongPackets {
    /// Longest data that is parsed.
    pub bytes_max: usize,
    /// Finds the one text that may be longer: the inside of a string of JSON, or a part of it that leaves
    /// a string. It looks at the whole packet, and so must be fast whatever that is.
    pub find: fn(&str) -> Option<Range<usize>>,
}

/// What was taken out of an event before it was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Omitted {
    /// A long text.
    Text {
        /// Where in the data it was.
        at: usize,
        /// As it was sent.
        text: Bytes,
    },
    /// All arguments, and the end of a name that is long itself: there was no text to take out, or too
    /// much besides it.
    Arguments,
}

impl Omitted {
    /// The same, counted from `before` bytes further on. A client may have put such a text before that, into
    /// the query of a namespace: there it is no argument.
    pub(crate) fn behind(self, before: usize) -> Omitted {
        let Omitted::Text { at, text } = self else { return Omitted::Arguments };
        match at.checked_sub(before) {
            Some(at) => Omitted::Text { at, text },
            None => Omitted::Arguments,
        }
    }
}

/// A packet, short enough to be parsed.
pub(crate) struct Shortened<'a> {
    pub(crate) packet: Cow<'a, str>,
    /// `at` counts in the packet.
    pub(crate) omitted: Option<Omitted>,
}

impl LongPackets {
    /// `None`: it is long, and no event.
    pub(crate) fn shorten<'a>(&self, packet: &'a str) -> Option<Shortened<'a>> {
        let bytes_max = self.bytes_max + HEAD_BYTES_MAX;
        // A CONNECT without JSON is only a name.
        let is_name = packet.starts_with('0') && !packet.contains('{');
        if packet.len() <= bytes_max || is_name {
            return Some(Shortened { packet: packet.into(), omitted: None });
        }
        let found = if sio::is_plain_event(packet) { (self.find)(packet) } else { None };
        if let Some(range) = found.filter(|range| packet.len() - range.len() <= bytes_max) {
            let (before, after) = (&packet[..range.start], &packet[range.end..]);
            let text = Bytes::copy_from_slice(packet[range.clone()].as_bytes());
            let omitted = Some(Omitted::Text { at: range.start, text });
            return Some(Shortened { packet: [before, after].concat().into(), omitted });
        }
        let packet = sio::without_args(packet)?.into();
        Some(Shortened { packet, omitted: Some(Omitted::Arguments) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds what is between two stars.
    const LONG: LongPackets = LongPackets {
        bytes_max: 20,
        find: |packet| {
            let start = packet.find('*')? + 1;
            Some(start..start + packet[start..].find('*')?)
        },
    };

    fn shortened(packet: &str) -> Option<(String, Option<Omitted>)> {
        let Shortened { packet, omitted } = LONG.shorten(packet)?;
        Some((packet.into_owned(), omitted))
    }

    #[test]
    fn what_is_short_or_becomes_short_is_whole() {
        let at_bound = format!(r#"2["x","{}"]"#, "a".repeat(84 - 9));
        assert_eq!(at_bound.len(), LONG.bytes_max + HEAD_BYTES_MAX);
        assert_eq!(shortened(&at_bound), Some((at_bound.clone(), None)));
        let long = "b".repeat(1000);
        let text = Omitted::Text { at: 10, text: Bytes::from(long.clone()) };
        let packet = format!(r#"27["x",{{"*{long}*":1}}]"#);
        assert_eq!(shortened(&packet), Some((r#"27["x",{"**":1}]"#.to_owned(), Some(text))));
    }

    #[test]
    fn a_long_name_of_a_namespace_is_whole() {
        let packet = format!("0/{}", "n".repeat(1000));
        assert_eq!(shortened(&packet), Some((packet.clone(), None)));
    }

    #[test]
    fn of_what_stays_long_the_name_remains() {
        let long = "b".repeat(1000);
        for (packet, short) in [
            (format!(r#"27["x","{long}"]"#), r#"27["x"]"#),
            (format!(r#"2/n,["x","*{long}*","{long}"]"#), r#"2/n,["x"]"#),
            (format!(r#"52-7[ "x\"y","*{long}*"]"#), r#"52-7["x\"y"]"#),
        ] {
            assert_eq!(shortened(&packet), Some((short.to_owned(), Some(Omitted::Arguments))));
        }
        for packet in [format!(r#"0{{"token":"{long}"}}"#), format!(r#"37["{long}"]"#)] {
            assert_eq!(shortened(&packet), None);
        }
    }
}
