//! msgpack as JavaScript writes it, converted to the JSON that JavaScript would have written.

use std::fmt::Write;

use rmpv::ValueRef;
use time::OffsetDateTime;
use time::macros::format_description;

/// The value is binary, which the text of an event cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IsBinary;

/// JavaScript's `undefined`, as its encoder writes it.
const UNDEFINED: i8 = 0;
const TIMESTAMP: i8 = -1;
/// Largest double below which every integer is exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

pub(super) fn write(value: &ValueRef<'_>, text: &mut String) -> Result<(), IsBinary> {
    match value {
        ValueRef::Nil => text.push_str("null"),
        ValueRef::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
        ValueRef::Integer(number) => put(text, number),
        ValueRef::F32(number) => write_number(f64::from(*number), text),
        ValueRef::F64(number) => write_number(*number, text),
        ValueRef::String(string) => write_text(&String::from_utf8_lossy(string.as_bytes()), text),
        ValueRef::Binary(_) => return Err(IsBinary),
        ValueRef::Ext(TIMESTAMP, bytes) => match iso_time(bytes) {
            Some(time) => write_text(&time, text),
            None => text.push_str("null"),
        },
        ValueRef::Ext(..) => text.push_str("null"),
        ValueRef::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        ValueRef::Map(entries) => {
            text.push('{');
            let mut is_first = true;
            for (key, value) in entries {
                if matches!(value, ValueRef::Ext(UNDEFINED, _)) {
                    continue;
                }
                if !is_first {
                    text.push(',');
                }
                is_first = false;
                write_key(key, text)?;
                text.push(':');
                write(value, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

/// Keys of objects are strings, whatever they were in msgpack.
fn write_key(key: &ValueRef<'_>, text: &mut String) -> Result<(), IsBinary> {
    let mut written = String::new();
    write(key, &mut written)?;
    if written.starts_with('"') {
        text.push_str(&written);
    } else {
        write_text(&written, text);
    }
    Ok(())
}

fn write_number(number: f64, text: &mut String) {
    if !number.is_finite() {
        text.push_str("null");
    } else if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        put(text, number as i64);
    } else {
        put(text, serde_json::Value::from(number));
    }
}

fn write_text(string: &str, text: &mut String) {
    put(text, serde_json::Value::from(string));
}

fn put(text: &mut String, value: impl std::fmt::Display) {
    write!(text, "{value}").expect("writing to a string does not fail");
}

/// The three lengths of the timestamp extension.
fn iso_time(bytes: &[u8]) -> Option<String> {
    let (seconds, nanoseconds) = match bytes.len() {
        4 => (i64::from(u32::from_be_bytes(bytes.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(bytes.try_into().ok()?);
            ((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32)
        }
        12 => {
            let (nanoseconds, seconds) = bytes.split_at(4);
            let nanoseconds = u32::from_be_bytes(nanoseconds.try_into().ok()?);
            (i64::from_be_bytes(seconds.try_into().ok()?), nanoseconds)
        }
        _ => return None,
    };
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    let time = time.replace_nanosecond(nanoseconds).ok()?;
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.format(&format).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(hex: &str) -> Result<String, IsBinary> {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal");
        let value = rmpv::decode::read_value_ref(&mut &bytes[..]).expect("msgpack");
        let mut text = String::new();
        write(&value, &mut text).map(|()| text)
    }

    #[test]
    fn values_are_written_as_javascript_would() {
        for (hex, expected) in [
            ("c0", "null"),
            ("c3", "true"),
            ("ff", "-1"),
            ("cfffffffffffffffff", "18446744073709551615"),
            ("ca3fc00000", "1.5"),
            ("cb4014000000000000", "5"),
            ("cb7ff8000000000000", "null"),
            ("cb7e37e43c8800759c", "1e+300"),
            ("a3610a62", r#""a\nb""#),
            ("a1ff", "\"\u{fffd}\""),
            ("93d4000001a178", r#"[null,1,"x"]"#),
            ("82a161d40000a16201", r#"{"b":1}"#),
            ("812a01", r#"{"42":1}"#),
            ("d6ff00000001", r#""1970-01-01T00:00:01.000Z""#),
            ("d7ff1dcd650000000001", r#""1970-01-01T00:00:01.125Z""#),
            ("c70cff07735940ffffffffffffffff", r#""1969-12-31T23:59:59.125Z""#),
            ("d6050000000a", "null"),
        ] {
            assert_eq!(json(hex).as_deref(), Ok(expected), "{hex}");
        }
        assert_eq!(json("91c40101"), Err(IsBinary));
    }
}
