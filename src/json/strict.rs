//! The strict reader.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::name::shown;

/// Bounds on a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text.
    pub bytes: usize,
    /// Levels of nesting.
    pub depth: usize,
    /// Object keys and array items in all.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Room for a long document passed as an argument; a tool call is no way to upload.
            bytes: 1 << 20,
            // No tool schema seen in the wild nests beyond a dozen; readers elsewhere stop at 64.
            depth: 64,
            // Each key costs memory in the host, in policy and in the guest.
            nodes: 10_000,
        }
    }
}

/// The kinds of fault in a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Not JSON, or not UTF-8.
    Syntax,
    /// A key stands twice in one object.
    DuplicateKey,
    /// A number that has no exact canonical form.
    Number,
    /// Nested too deep.
    TooDeep,
    /// Too many bytes, keys or items.
    TooLarge,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// What and where, for people. Text from outside is escaped and cut.
    pub message: String,
    /// The limit that it goes beyond, for the two kinds that do.
    pub over: Option<Over>,
}

/// How far a text goes beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// `bytes`, `depth` or `nodes`.
    pub limit: &'static str,
    /// What it has; of levels, keys and items, as far as it was read.
    pub used: usize,
    /// What it may have.
    pub allowed: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// The integers up to here are exact in every reader's double (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads one JSON value that fills `text`.
///
/// Integers must fit in 64 bits with sign; `1.0` becomes `1` and `-0` becomes `0`, since these are
/// the same number; other numbers must be finite and below 2^53 in size.
///
/// # Errors
///
/// The first fault, with its place.
pub fn parse(text: &[u8], limits: &Limits) -> Result<Value, Fault> {
    read(text, limits, true)
}

/// As `parse`, but for values that policy never judges: numbers may be any that a double holds.
///
/// # Errors
///
/// As for `parse`.
pub fn parse_any_number(text: &[u8], limits: &Limits) -> Result<Value, Fault> {
    read(text, limits, false)
}

fn read(text: &[u8], limits: &Limits, exact: bool) -> Result<Value, Fault> {
    if text.len() > limits.bytes {
        return Err(Fault {
            kind: FaultKind::TooLarge,
            message: format!(
                "{} bytes of JSON, at most {} are read",
                text.len(),
                limits.bytes
            ),
            over: Some(Over {
                limit: "bytes",
                used: text.len(),
                allowed: limits.bytes,
            }),
        });
    }
    let state = State {
        limits,
        exact,
        nodes: Cell::new(0),
        kind: Cell::new(FaultKind::Syntax),
        over: Cell::new(None),
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    // Depth is counted here, so that the limit is ours and the fault says so.
    let fault = |error: serde_json::Error| Fault {
        kind: if error.is_data() || state.kind.get() != FaultKind::Syntax {
            state.kind.get()
        } else if error.to_string().starts_with("number out of range") {
            FaultKind::Number
        } else if error.to_string().starts_with("recursion limit exceeded") {
            FaultKind::TooDeep
        } else {
            FaultKind::Syntax
        },
        message: error.to_string(),
        over: state.over.get(),
    };
    let value = Seed {
        state: &state,
        depth: 0,
    }
    .deserialize(&mut reader)
    .map_err(fault)?;
    reader.end().map_err(|error| Fault {
        kind: FaultKind::Syntax,
        message: error.to_string(),
        over: None,
    })?;
    Ok(value)
}

struct State<'a> {
    limits: &'a Limits,
    exact: bool,
    nodes: Cell<usize>,
    /// What the visitor found, since an error of `serde` carries only text.
    kind: Cell<FaultKind>,
    over: Cell<Option<Over>>,
}

impl State<'_> {
    fn fail<E: serde::de::Error>(&self, kind: FaultKind, message: impl fmt::Display) -> E {
        self.kind.set(kind);
        E::custom(message)
    }

    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        let nodes = self.nodes.get() + 1;
        self.nodes.set(nodes);
        if nodes > self.limits.nodes {
            self.over.set(Some(Over {
                limit: "nodes",
                used: nodes,
                allowed: self.limits.nodes,
            }));
            return Err(self.fail(
                FaultKind::TooLarge,
                format_args!("more than {} keys and items", self.limits.nodes),
            ));
        }
        Ok(())
    }
}

struct Seed<'a> {
    state: &'a State<'a>,
    depth: usize,
}

impl<'a> Seed<'a> {
    fn deeper<E: serde::de::Error>(&self) -> Result<Seed<'a>, E> {
        let depth = self.depth + 1;
        if depth > self.state.limits.depth {
            self.state.over.set(Some(Over {
                limit: "depth",
                used: depth,
                allowed: self.state.limits.depth,
            }));
            return Err(self.state.fail(
                FaultKind::TooDeep,
                format_args!("nested deeper than {} levels", self.state.limits.depth),
            ));
        }
        Ok(Seed {
            state: self.state,
            depth,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        if !self.state.exact {
            return Ok(Value::Number(value.into()));
        }
        i64::try_from(value)
            .map(|value| Value::Number(value.into()))
            .map_err(|_| {
                self.state.fail(
                    FaultKind::Number,
                    format_args!("`{value}` does not fit in a 64-bit integer with sign"),
                )
            })
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let inexact = || {
            self.state.fail(
                FaultKind::Number,
                format_args!("`{value}` has no exact canonical form: numbers beyond 2^53 must be 64-bit integers"),
            )
        };
        if !self.state.exact && value.is_finite() && value.abs() >= EXACT {
            return Number::from_f64(value)
                .map(Value::Number)
                .ok_or_else(inexact);
        }
        if value.is_nan() || value.abs() >= EXACT {
            return Err(inexact());
        }
        if value.fract() == 0.0 {
            // Below 2^53 every integral double prints as that integer, exactly.
            let integer: i64 = format!("{value:.0}").parse().map_err(|_| inexact())?;
            return Ok(Value::Number(integer.into()));
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(inexact)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.deeper()?)? {
            self.state.count()?;
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.state.count()?;
            if members.contains_key(&key) {
                let key = shown(&key, 64);
                return Err(self.state.fail(
                    FaultKind::DuplicateKey,
                    format_args!("the key `{key}` stands twice in one object"),
                ));
            }
            let member = map.next_value_seed(self.deeper()?)?;
            members.insert(key, member);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::super::canonical;
    use super::*;
    use proptest::prelude::*;

    fn kind(text: &str) -> Option<FaultKind> {
        parse(text.as_bytes(), &Limits::default())
            .err()
            .map(|f| f.kind)
    }

    fn form(text: &str) -> String {
        canonical(&parse(text.as_bytes(), &Limits::default()).unwrap())
    }

    #[test]
    fn a_key_may_not_stand_twice_however_it_is_spelt() {
        assert_eq!(
            kind(r#"{"host":"ok","\u0068ost":"evil"}"#),
            Some(FaultKind::DuplicateKey)
        );
        assert_eq!(
            kind(r#"{"a":[{"b":1,"b":1}]}"#),
            Some(FaultKind::DuplicateKey)
        );
        assert_eq!(kind(r#"{"a":{"b":1},"c":{"b":1}}"#), None);
    }

    #[test]
    fn numbers_have_one_form_or_none() {
        assert_eq!(form("[1.0, 1, 1e0, 10e-1, -0, -0.0, 0]"), "[1,1,1,1,0,0,0]");
        assert_eq!(form("[0.1, 1e-7, 123456.75]"), "[0.1,1e-7,123456.75]");
        assert_eq!(form("[9223372036854775807]"), "[9223372036854775807]");
        for text in [
            "1e400",
            "18446744073709551616",
            "9223372036854775808",
            "1e300",
            "-1e17",
            "9007199254740993.0",
        ] {
            assert_eq!(kind(text), Some(FaultKind::Number), "{text}");
        }
        for text in ["NaN", "Infinity", "+1", "01", "1.", ".5", "0x10"] {
            assert_eq!(kind(text), Some(FaultKind::Syntax), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_unicode_is_refused() {
        assert_eq!(kind(r#"["\ud800"]"#), Some(FaultKind::Syntax));
        let overlong = parse(b"[\"\xc0\xaf\"]", &Limits::default());
        assert_eq!(overlong.unwrap_err().kind, FaultKind::Syntax);
    }

    #[test]
    fn excess_is_refused_and_named() {
        let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(kind(&deep(64)), None);
        assert_eq!(kind(&deep(65)), Some(FaultKind::TooDeep));
        assert_eq!(kind(&deep(200)), Some(FaultKind::TooDeep));
        assert_eq!(kind(&deep(100_000)), Some(FaultKind::TooDeep));
        let wide = format!("[{}1]", "1,".repeat(10_000));
        assert_eq!(kind(&wide), Some(FaultKind::TooLarge));
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        assert_eq!(kind(&long), Some(FaultKind::TooLarge));
    }

    #[test]
    fn members_are_ordered_by_utf16() {
        // RFC 8785, section 3.2.3.
        let text = "{\"\u{20ac}\":1,\"\\r\":2,\"\u{fb33}\":3,\"1\":4,\"\u{1f600}\":5,\"\u{80}\":6,\"\u{f6}\":7}";
        assert_eq!(
            form(text),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|n| Value::Number(n.into())),
            (-1e15f64..1e15).prop_map(|n| serde_json::json!(n)),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
                proptest::collection::hash_map(any::<String>(), inner, 0..8)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_is_idempotent_and_reads_back_equal(value in any_json()) {
            let once = canonical(&parse(value.to_string().as_bytes(), &Limits::default()).unwrap());
            let again = parse(once.as_bytes(), &Limits::default()).unwrap();
            prop_assert_eq!(canonical(&again), once);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes, &Limits::default());
        }
    }
}
