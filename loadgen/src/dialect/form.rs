//! A packet with places for what differs from message to message.

/// Where the text stands while a packet is made.
pub const TEXT: &str = "~throng:text~";
/// Where the number of the request stands.
pub const ID: &str = "~throng:id~";

#[derive(Default)]
pub struct Form {
    parts: Vec<Part>,
}

enum Part {
    Literal(String),
    Text,
    Id,
}

impl Form {
    /// A packet in which the marks `TEXT` and `ID` of this module stand.
    #[must_use]
    pub fn of(packet: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = packet;
        while !rest.is_empty() {
            let (at, mark, part) = [(TEXT, Part::Text), (ID, Part::Id)]
                .into_iter()
                .filter_map(|(mark, part)| Some((rest.find(mark)?, mark, part)))
                .min_by_key(|(at, ..)| *at)
                .map_or((rest.len(), "", None), |(at, mark, part)| (at, mark, Some(part)));
            if at > 0 {
                parts.push(Part::Literal(rest[..at].to_owned()));
            }
            parts.extend(part);
            rest = &rest[at + mark.len()..];
        }
        Self { parts }
    }

    /// Appends the packet with `id`, and with what `text` appends.
    pub fn write(&self, out: &mut Vec<u8>, id: Option<u32>, text: impl Fn(&mut Vec<u8>)) {
        for part in &self.parts {
            match part {
                Part::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                Part::Text => text(out),
                Part::Id => out.extend(id.map(|id| id.to_string()).unwrap_or_default().bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_wherever_they_stand() {
        for (packet, want) in [
            (format!("42{ID}[\"m\",\"{TEXT}\",\"{TEXT}!\"]"), "427[\"m\",\"hi\",\"hi!\"]"),
            (TEXT.to_owned(), "hi"),
            (format!("{TEXT}{ID}"), "hi7"),
            ("nothing".to_owned(), "nothing"),
            (String::new(), ""),
        ] {
            let mut out = Vec::new();
            Form::of(&packet).write(&mut out, Some(7), |out| out.extend_from_slice(b"hi"));
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
