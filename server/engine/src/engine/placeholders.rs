//! Whether the placeholders of a binary packet name its attachments.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Whether every placeholder in `data` names one of `count` attachments. Nothing is built: a packet may
/// hold as many values as fit.
///
/// Spec: SIO-54.
pub(super) fn are_valid(data: &str, count: u32) -> bool {
    let mut json = serde_json::Deserializer::from_str(data);
    let seen = Values { count: u64::from(count) }.deserialize(&mut json);
    // What this reader refuses and the decoder let pass has lone surrogates; an application refuses it later.
    seen.map_or(true, |seen| seen.is_valid)
}

/// One value, as far as its container must know it.
struct Seen {
    is_valid: bool,
    is_true: bool,
    number: Option<u64>,
}

const PLAIN: Seen = Seen { is_valid: true, is_true: false, number: None };

#[derive(Clone, Copy)]
struct Values {
    count: u64,
}

impl<'de> DeserializeSeed<'de> for Values {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, is_true: bool) -> Result<Seen, E> {
        Ok(Seen { is_true, ..PLAIN })
    }

    fn visit_u64<E>(self, number: u64) -> Result<Seen, E> {
        Ok(Seen { number: Some(number), ..PLAIN })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(PLAIN)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        Ok(PLAIN)
    }

    fn visit_str<E>(self, _: &str) -> Result<Seen, E> {
        Ok(PLAIN)
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(PLAIN)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Seen, A::Error> {
        let mut is_valid = true;
        while let Some(seen) = items.next_element_seed(self)? {
            is_valid &= seen.is_valid;
        }
        Ok(Seen { is_valid, ..PLAIN })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Seen, A::Error> {
        let (mut is_placeholder, mut number, mut is_valid) = (false, None, true);
        while let Some(key) = fields.next_key::<Cow<'de, str>>()? {
            let seen = fields.next_value_seed(self)?;
            match &*key {
                "_placeholder" => is_placeholder = seen.is_true,
                "num" => number = seen.number,
                _ => {}
            }
            is_valid &= seen.is_valid;
        }
        if is_placeholder {
            is_valid = number.is_some_and(|number| number < self.count);
        }
        Ok(Seen { is_valid, ..PLAIN })
    }
}

#[cfg(test)]
mod tests {
    use super::are_valid;

    #[test]
    fn a_placeholder_names_an_attachment_wherever_it_stands() {
        for (data, want) in [
            (r#"["x",{"_placeholder":true,"num":0}]"#, true),
            (r#"["x",{"_placeholder":true,"num":1}]"#, false),
            (r#"["x",[{"a":{"num":1,"_placeholder":true}}]]"#, false),
            (r#"["x",{"_placeholder":true}]"#, false),
            (r#"["x",{"_placeholder":true,"num":-1}]"#, false),
            (r#"["x",{"_placeholder":true,"num":"0"}]"#, false),
            (r#"["x",{"_placeholder":1,"num":7}]"#, true),
            (r#"["x",{"_placeholder":false,"num":7,"a":[1,2.5,null,"s"]}]"#, true),
            (r#"["x","\ud800"]"#, true),
            ("", true),
        ] {
            assert_eq!(are_valid(data, 1), want, "{data}");
        }
    }
}
