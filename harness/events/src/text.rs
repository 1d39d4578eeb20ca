//! A string with places in it.

use crate::placeholder::{Captured, Placeholder, Values};

/// Literal parts and places, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Place(Placeholder),
}

impl Text {
    /// Letters between braces are a place; other braces are literal.
    pub fn parse(text: &str) -> Result<Text, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        let mut literal = String::new();
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            let name = from[1..].split_once('}').map_or("", |(name, _)| name);
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                literal.push('{');
                rest = &from[1..];
                continue;
            }
            let mark = &from[..name.len() + 2];
            let place = Placeholder::ALL.into_iter().find(|place| place.mark() == mark);
            let place =
                place.ok_or_else(|| format!("{mark} is not a placeholder ({})", marks()))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Place(place));
            rest = &from[mark.len()..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Text(parts))
    }

    /// Whether it is a place and nothing else.
    pub fn is_place(&self) -> bool {
        matches!(self.0.as_slice(), [Part::Place(_)])
    }

    pub fn places(&self) -> impl Iterator<Item = Placeholder> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(place) => Some(*place),
            Part::Literal(_) => None,
        })
    }

    pub fn render(&self, values: &Values<'_>) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Literal(literal) => literal,
                Part::Place(place) => values.of(*place),
            })
            .collect()
    }

    /// `None` if the string does not fit. There is at most one place.
    pub fn fit<'a>(&self, text: &'a str, captured: &mut Captured<'a>) -> Option<()> {
        match self.0.as_slice() {
            [] => text.is_empty().then_some(()),
            [Part::Literal(literal)] => (literal == text).then_some(()),
            [Part::Place(place)] => captured.take(*place, text),
            [Part::Literal(before), Part::Place(place)] => {
                captured.take(*place, text.strip_prefix(before.as_str())?)
            }
            [Part::Place(place), Part::Literal(after)] => {
                captured.take(*place, text.strip_suffix(after.as_str())?)
            }
            [Part::Literal(before), Part::Place(place), Part::Literal(after)] => {
                let inner = text.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                captured.take(*place, inner)
            }
            _ => None,
        }
    }
}

fn marks() -> String {
    Placeholder::ALL.map(Placeholder::mark).join(", ")
}
