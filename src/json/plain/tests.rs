use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

/// Something of each kind that serde knows.
#[derive(Debug, Clone, Serialize)]
struct Everything {
    text: String,
    letter: char,
    numbers: (i8, i16, i32, i64, u8, u16, u32, u64),
    floats: (f32, f64),
    yes: bool,
    nothing: Option<u8>,
    something: Option<String>,
    unit: (),
    marker: Marker,
    new: New,
    pair: Pair,
    variants: Vec<Variant>,
    by_name: BTreeMap<String, u64>,
    by_number: BTreeMap<i32, bool>,
    by_kind: BTreeMap<Kind, ()>,
    empty: Vec<u8>,
}

#[derive(Debug, Clone, Serialize)]
struct Marker;
#[derive(Debug, Clone, Serialize)]
struct New(u64);
#[derive(Debug, Clone, Serialize)]
struct Pair(String, u8);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    FirstOne,
    Second,
}

#[derive(Debug, Clone, Serialize)]
enum Variant {
    Unit,
    New(String),
    Tuple(u8, String),
    Fields { a: u8, b: Option<String> },
}

fn everything() -> impl Strategy<Value = Everything> {
    let texts = ("[ -~]{0,9}", any::<String>(), any::<char>());
    let numbers = (
        any::<(i8, i16, i32, i64, u8, u16, u32, u64)>(),
        any::<(f32, f64)>(),
    );
    let maps = (
        proptest::collection::btree_map("[a-z\"]{0,3}", any::<u64>(), 0..4),
        proptest::collection::btree_map(any::<i32>(), any::<bool>(), 0..4),
    );
    (texts, numbers, maps, any::<Option<u8>>()).prop_map(|(texts, numbers, maps, nothing)| {
        let (plain, text, letter) = texts;
        Everything {
            text: plain.clone(),
            letter,
            numbers: numbers.0,
            floats: numbers.1,
            yes: numbers.0.0 > 0,
            nothing,
            something: Some(text.clone()),
            unit: (),
            marker: Marker,
            new: New(numbers.0.7),
            pair: Pair(plain.clone(), numbers.0.4),
            variants: vec![
                Variant::Unit,
                Variant::New(text.clone()),
                Variant::Tuple(numbers.0.4, plain.clone()),
                Variant::Fields {
                    a: numbers.0.4,
                    b: nothing.map(|_| text),
                },
            ],
            by_name: maps.0,
            by_number: maps.1,
            by_kind: [(Kind::FirstOne, ()), (Kind::Second, ())].into(),
            empty: Vec::new(),
        }
    })
}

fn written(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out).unwrap();
    out
}

/// As the definition has it: what `serde_json` writes, with each unsafe letter as an escape.
fn by_definition(value: &impl Serialize) -> String {
    let mut out = String::new();
    for c in serde_json::to_string(value).unwrap().chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::String),
        "[\"\\\\\u{7f}\u{85}\u{200b}\u{202e}a\u{e0041}\n]{0,5}".prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 30, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn every_kind_of_value_is_written_as_others_write_it(value in everything()) {
        prop_assert_eq!(String::from_utf8(written(&value)).unwrap(), by_definition(&value));
    }

    #[test]
    fn whatever_is_written_is_read_back_and_is_plain(value in value()) {
        let text = String::from_utf8(written(&value)).unwrap();
        prop_assert_eq!(&text, &by_definition(&value));
        prop_assert_eq!(text.chars().find(|c| is_unsafe(*c)), None);
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_text_is_what_would_be_written_or_it_is_not(
        value in value(), at in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let text = written(&value);
        if value.is_object() || value.is_array() {
            let (first, second) = text.split_at(1);
            prop_assert!(is_written_as(&value, [first, second]));
        }
        prop_assert!(is_written_as(&value, [b"", &text]));
        let mut other = text.clone();
        let at = at.index(other.len());
        other[at] = byte;
        prop_assert_eq!(is_written_as(&value, [b"", &other]), other == text);
        other[at] = text[at];
        other.push(byte);
        prop_assert!(!is_written_as(&value, [b"", &other]), "more than it");
        other.truncate(at);
        prop_assert!(!is_written_as(&value, [b"", &other]), "less than it");
    }
}

#[test]
fn a_key_that_is_no_text_and_no_number_is_refused() {
    let map: BTreeMap<Vec<u8>, u8> = [(vec![1], 2)].into();
    assert!(write(&map, &mut Vec::new()).is_err());
}
