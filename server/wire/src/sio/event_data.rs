//! An event that is kept, with what its decoder found in it.

use std::borrow::Cow;
use std::ops::Range;

use super::decode::{Event, event};
use crate::Fault;

/// The JSON array of an event, and where its name and its arguments are: nobody reads the name twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventData {
    json: String,
    name: Name,
    args: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Inside(Range<usize>),
    /// It has escapes.
    Unescaped(Box<str>),
}

impl EventData {
    /// Of the data of an event packet that [`decode()`](super::decode()) accepted.
    ///
    /// # Errors
    /// Only for data that `decode` would not have let pass.
    pub fn parse(json: &str) -> Result<EventData, Fault> {
        Ok(EventData::new(json, &event(json)?, String::new()))
    }

    /// `event` was found in `json`, as by [`decode_with_event`](super::decode_with_event). It is kept in
    /// `buffer`.
    ///
    /// # Panics
    /// When it was not.
    pub fn new(json: &str, event: &Event<'_>, mut buffer: String) -> EventData {
        let inside = |part: &str| {
            let start = part.as_ptr().addr().checked_sub(json.as_ptr().addr());
            let start = start.filter(|start| start + part.len() <= json.len());
            let start = start.expect("a part of an event is in its data");
            start..start + part.len()
        };
        let name = match &event.name {
            Cow::Borrowed(name) => Name::Inside(inside(name)),
            Cow::Owned(name) => Name::Unescaped(name.as_str().into()),
        };
        let args = if event.args.is_empty() { 0..0 } else { inside(event.args) };
        buffer.clear();
        buffer.push_str(json);
        EventData { json: buffer, name, args }
    }

    /// The event's name; a number is taken as its own text.
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Inside(range) => &self.json[range.clone()],
            Name::Unescaped(name) => name,
        }
    }

    /// Raw JSON of the arguments, with their commas: `{"a":1},2`. Empty if none.
    pub fn args(&self) -> &str {
        &self.json[self.args.clone()]
    }

    /// Bytes of the JSON.
    pub fn len(&self) -> usize {
        self.json.len()
    }

    /// Never: an event has a name.
    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// Where in the JSON a part of it ends, which is of [`EventData::args`].
    pub fn end_of(&self, part: &str) -> Option<usize> {
        let end = part.as_ptr().addr() + part.len();
        let end = end.checked_sub(self.json.as_ptr().addr())?;
        (end <= self.json.len()).then_some(end)
    }

    /// The memory of the JSON, for the next one.
    pub fn into_buffer(self) -> String {
        self.json
    }
}

#[cfg(test)]
mod tests {
    use super::EventData;
    use crate::sio::event;

    #[test]
    fn name_and_arguments_are_those_that_the_decoder_finds() {
        for json in [
            r#"["say"]"#,
            r#"[""]"#,
            r#"[ "say" , {"a":[1,"]"]}, 2 ] "#,
            r#"["s\u0061y\n",null]"#,
            r#"["h\u00e9",1]"#,
            "[\"hé\", \"\u{1f600}\"]",
            "[7,8]",
        ] {
            let found = event(json).unwrap_or_else(|fault| panic!("{json}: {fault:?}"));
            let data = EventData::parse(json).unwrap_or_else(|fault| panic!("{json}: {fault:?}"));
            assert_eq!((data.name(), data.args()), (&*found.name, found.args), "{json}");
            let args_end = json.rfind(found.args).expect("they are in it") + found.args.len();
            let end = data.end_of(data.args()).filter(|_| !found.args.is_empty());
            assert_eq!(end, Some(args_end).filter(|_| !found.args.is_empty()));
            assert_eq!(data.end_of(json), None, "another text");
            assert_eq!(data.len(), json.len());
            assert_eq!(EventData::new(json, &found, data.clone().into_buffer()), data);
        }
        assert!(EventData::parse("[]").is_err() && EventData::parse("{}").is_err());
    }

    #[test]
    #[should_panic(expected = "a part of an event is in its data")]
    fn parts_of_another_text_are_a_bug() {
        let other = event(r#"["say",1]"#).expect("an event");
        EventData::new(&String::from(r#"["s"]"#), &other, String::new());
    }
}
