//! The members of an object of JSON that was checked before, without building anything.

use std::borrow::Cow;

use crate::json;

/// A value, of which only what it is and, for scalars, how it is written matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    /// What the literal means. A lone surrogate becomes U+FFFD.
    Text(Cow<'a, str>),
    /// An object or an array.
    Container,
}

/// Names and values of an object, in the order in which they stand.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    text: &'a str,
    at: usize,
}

/// The members of the object that `text` begins with; what follows it is ignored. `None`: it begins with
/// something else. `text` is, or begins with, valid JSON, as of an argument of an event.
pub fn members(text: &str) -> Option<Members<'_>> {
    let at = json::skip_space(text.as_bytes(), 0);
    (text.as_bytes().get(at) == Some(&b'{')).then_some(Members { text, at: at + 1 })
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        let mut at = json::skip_space(bytes, self.at);
        if bytes[at] == b',' {
            at = json::skip_space(bytes, at + 1);
        }
        if bytes[at] == b'}' {
            self.at = at;
            return None;
        }
        let (name, behind) = self.literal(at);
        let colon = json::skip_space(bytes, behind);
        let at = json::skip_space(bytes, colon + 1);
        let value = match bytes[at] {
            b'"' => {
                let (text, behind) = self.literal(at);
                self.at = behind;
                Value::Text(text)
            }
            first => {
                let end = json::skip_value(self.text, at, json::CHECKED);
                self.at = end.expect("the object was checked");
                match first {
                    b'n' => Value::Null,
                    b't' => Value::Bool(true),
                    b'f' => Value::Bool(false),
                    b'{' | b'[' => Value::Container,
                    _ => Value::Number(&self.text[at..self.at]),
                }
            }
        };
        Some((name, value))
    }
}

impl<'a> Members<'a> {
    /// What the string literal at `at` means, and where it ends.
    fn literal(&self, at: usize) -> (Cow<'a, str>, usize) {
        let (start, bytes) = (at + 1, self.text.as_bytes());
        let end = start + json::plain_prefix(&bytes[start..]);
        if bytes[end] == b'"' {
            return (Cow::Borrowed(&self.text[start..end]), end + 1);
        }
        let end = json::skip_string(bytes, at).expect("the object was checked");
        let text = json::unescape(&self.text[start..end - 1]);
        (text.expect("the object was checked"), end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Vec<(Cow<'_, str>, Value<'_>)>> {
        members(text).map(Iterator::collect)
    }

    #[test]
    fn names_and_values_are_those_of_the_object_and_no_more() {
        let text = r#" { "a" : "x\"y" ,"b":-1.5e3, "c":null,"d" :[{"e":1},"}"],"f":{},"g":true,"h":false} ,2"#;
        let expected = [
            ("a", Value::Text(r#"x"y"#.into())),
            ("b", Value::Number("-1.5e3")),
            ("c", Value::Null),
            ("d", Value::Container),
            ("f", Value::Container),
            ("g", Value::Bool(true)),
            ("h", Value::Bool(false)),
        ];
        let expected = expected.map(|(name, value)| (Cow::Borrowed(name), value));
        assert_eq!(read(text).as_deref(), Some(&expected[..]));
        assert_eq!(read("{}"), Some(Vec::new()));
        assert_eq!(read("{ \n}"), Some(Vec::new()));
        assert_eq!(read("[]"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn a_name_with_escapes_is_what_it_means() {
        let read = read(r#"{"m\u0073g":"\ud83d\ude00\ud800"}"#).expect("an object");
        assert_eq!(read[0].0, "msg");
        assert_eq!(read[0].1, Value::Text("\u{1f600}\u{fffd}".into()));
    }

    proptest! {
        #[test]
        fn members_are_those_that_serde_json_reads(
            texts in proptest::collection::vec((".*", ".*", any::<i64>()), 0..6),
        ) {
            let mut object = serde_json::Map::new();
            for (index, (name, text, number)) in texts.iter().enumerate() {
                object.insert(format!("{name}{index}"), text.as_str().into());
                object.insert(format!("{name}{index}n"), (*number).into());
                object.insert(format!("{name}{index}c"), serde_json::json!([text, {"a": text}]));
            }
            let json = serde_json::Value::Object(object.clone()).to_string();
            let read = read(&json).expect("an object");
            prop_assert_eq!(read.len(), object.len());
            for (name, value) in read {
                let expected = &object[&*name];
                match value {
                    Value::Text(text) => prop_assert_eq!(expected, &*text),
                    Value::Number(number) => prop_assert_eq!(expected.to_string(), number),
                    _ => prop_assert!(expected.is_array()),
                }
            }
        }
    }
}
