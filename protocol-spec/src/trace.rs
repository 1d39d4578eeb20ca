use crate::clause::PREFIXES;

/// A clause id found in some text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation<'a> {
    pub id: &'a str,
    /// Line, from 1.
    pub line: usize,
}

/// Every clause id that `text` cites, whether such a clause exists or not.
///
/// An id is a known prefix, `-` and digits, not part of a longer word: `ULIM-3` and `LIM-3a` are
/// none.
pub fn citations(text: &str) -> impl Iterator<Item = Citation<'_>> {
    text.lines().enumerate().flat_map(|(index, line)| {
        line_citations(line).map(move |id| Citation { id, line: index + 1 })
    })
}

fn line_citations(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices('-').filter_map(move |(dash, _)| {
        let head = &line[..dash];
        let prefix = PREFIXES.iter().find(|prefix| head.ends_with(**prefix))?;
        let start = dash - prefix.len();
        let digits = line[dash + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let end = dash + 1 + digits;
        let within_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let free = digits > 0
            && !line[..start].ends_with(|c| within_word(c) || c == '-')
            && !line[end..].starts_with(within_word);
        free.then(|| &line[start..end])
    })
}
