use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::sweep;

fn deep(depth_max: u32) -> Limits {
    Limits { depth_max, values_max: u32::MAX }
}

fn is_valid(text: &str) -> Result<(), Fault> {
    let end = skip_value(text, 0, deep(64))?;
    if skip_space(text.as_bytes(), end) == text.len() { Ok(()) } else { Err(Fault::JsonInvalid) }
}

/// What `serde_json` says about the syntax alone: unlike `Value`, `IgnoredAny` does not mind lone
/// surrogates and numbers out of range, nor does JavaScript.
fn serde_says(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

const TEXTS: [&str; 8] = [
    r#"["message",{"msg":"hi ü☃😀","n":-1.5e+10,"x":[true,false,null,{}]},[],0]"#,
    r#"{"a":{"b":[[],[{}]]},"\u00e9\n\"\\":"\ud83d\ude00"}"#,
    " [ 1 , 2 ] ",
    "0.0e-0",
    r#""long enough for words of eight bytes, with \" and \\ inside""#,
    "{}",
    "true",
    "\t{\"a\" : \"\u{7f}\" }\r\n",
];

#[test]
fn agrees_with_serde_json_on_every_damage() {
    for text in TEXTS {
        assert_eq!(is_valid(text), Ok(()), "{text}");
        sweep::damaged(text.as_bytes(), |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                assert_eq!(is_valid(text).is_ok(), serde_says(text), "{text:?}");
            }
        });
    }
}

#[test]
fn javascript_numbers_and_lone_surrogates_are_valid() {
    for text in [r#""\ud800""#, "1e999", "-0", "123456789012345678901234567890"] {
        assert_eq!(is_valid(text), Ok(()), "{text}");
    }
    for text in ["01", "-", "1.", ".5", "+1", "1e", "0x1", "NaN", "'a'", "[1,]", "{,}", "\u{a0}1"] {
        assert_eq!(is_valid(text), Err(Fault::JsonInvalid), "{text}");
    }
}

#[test]
fn nesting_is_bounded_and_not_by_the_stack() {
    let nested = |open: &str, close: &str, depth| open.repeat(depth) + "1" + &close.repeat(depth);
    assert_eq!(is_valid(&nested("[", "]", 64)), Ok(()));
    assert_eq!(is_valid(&nested("[", "]", 65)), Err(Fault::JsonTooDeep));
    assert_eq!(is_valid(&nested("{\"a\":", "}", 64)), Ok(()));
    assert_eq!(is_valid(&nested("{\"a\":", "}", 65)), Err(Fault::JsonTooDeep));
    assert_eq!(is_valid(&"[".repeat(4 << 20)), Err(Fault::JsonTooDeep));
    // An empty container is a level like any other.
    assert_eq!(skip_value("[[]]", 0, deep(2)), Ok(4));
    assert_eq!(skip_value("[[]]", 0, deep(1)), Err(Fault::JsonTooDeep));
    // The bits of the stack do not run out below the cap.
    let cap = DEPTH_CAP as usize;
    let mixed = "[{\"a\":".repeat(cap / 2) + "1" + &"}]".repeat(cap / 2);
    assert_eq!(skip_value(&mixed, 0, deep(u32::MAX)), Ok(mixed.len()));
    assert_eq!(skip_value(&nested("[", "]", cap + 1), 0, deep(u32::MAX)), Err(Fault::JsonTooDeep));
}

#[test]
fn containers_close_with_their_own_bracket() {
    for text in ["[}", "{]", "[{]}", "[1}", "{\"a\":1]", "]", "[[1]"] {
        assert_eq!(is_valid(text), Err(Fault::JsonInvalid), "{text}");
    }
}

#[test]
fn a_lone_surrogate_becomes_the_replacement_character() {
    assert_eq!(unescape(r"a\ud83d").as_deref(), Ok("a\u{fffd}"));
    assert_eq!(unescape(r"\ud83d\ude00").as_deref(), Ok("😀"));
    assert_eq!(unescape(r"\u+123"), Err(Fault::JsonInvalid));
    assert_eq!(unescape(r"\u12"), Err(Fault::JsonInvalid));
    assert_eq!(unescape(r"\x"), Err(Fault::JsonInvalid));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".*", inner), 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn takes_what_serde_json_writes(value in json(), pretty in any::<bool>()) {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        prop_assert_eq!(skip_value(&text, 0, deep(64)), Ok(text.len()));
    }

    #[test]
    fn agrees_with_serde_json_on_any_text(text in r#"[\[\]{}",:\\ue0-9.+\-truefalsn \t]{0,30}"#) {
        prop_assert_eq!(is_valid(&text).is_ok(), serde_says(&text));
    }

    #[test]
    fn string_literals_are_what_serde_json_reads_back(text in any::<String>()) {
        let mut literal = String::new();
        put_str(&mut literal, &text);
        prop_assert_eq!(serde_json::from_str(&literal).ok(), Some(text.clone()));
        prop_assert_eq!(skip_value(&literal, 0, deep(0)), Ok(literal.len()));
        prop_assert_eq!(&*unescape(&literal[1..literal.len() - 1])?, &*text);
        // The same escapes as JavaScript: short forms where there are any, nothing else.
        prop_assert_eq!(literal, serde_json::to_string(&text).expect("a string"));
    }
}
