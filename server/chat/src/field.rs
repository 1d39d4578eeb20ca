//! JSON values of which only the kind and, for scalars, the value matter.

use std::borrow::Cow;

use throng_wire::sio::Value;

/// A JSON value of which only the kind and, for scalars, the value matter.
#[derive(Debug, Default)]
pub(crate) enum Field<'a> {
    #[default]
    Absent,
    Null,
    Bool(bool),
    /// `None`: it is no integer of 32 bits, or a negative one.
    Number(Option<u32>),
    Text(Cow<'a, str>),
    Other,
}

impl<'a> From<Value<'a>> for Field<'a> {
    fn from(value: Value<'a>) -> Field<'a> {
        match value {
            Value::Null => Field::Null,
            Value::Bool(value) => Field::Bool(value),
            Value::Number(number) => Field::Number(integer(number)),
            Value::Text(text) => Field::Text(text),
            Value::Container => Field::Other,
        }
    }
}

/// `2.0` and `2e0` are integers too.
fn integer(number: &str) -> Option<u32> {
    number.parse().ok().or_else(|| {
        let value: f64 = number.parse().ok()?;
        let is_whole = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
        is_whole.then_some(value as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_may_be_written_in_any_way() {
        for (number, value) in [
            ("7", Some(7)),
            ("-0", Some(0)),
            ("7.0", Some(7)),
            ("70e-1", Some(7)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("123456789012345678901234567890", None),
            ("1e999", None),
            ("7.5", None),
            ("-7", None),
        ] {
            assert_eq!(integer(number), value, "{number}");
        }
    }
}
