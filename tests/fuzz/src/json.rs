//! The strict reader beside `serde_json`: what it takes, the other takes and reads alike; what it refuses for
//! its form alone, the other refuses; and the canonical text is read as the same value again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tollgate::json::{FaultKind, Limits, canonical, parse, parse_any_number};

fuzz_target!(|text: &[u8]| {
    let limits = Limits::default();
    let other = serde_json::from_slice::<Value>(text);
    for read in [parse, parse_any_number] {
        match (read(text, &limits), &other) {
            (Ok(value), Ok(other)) => {
                assert!(same(&value, other), "{value} is not {other}");
                let written = canonical(&value);
                let again = read(written.as_bytes(), &limits).expect("canonical text is read");
                // A double without a fraction is read back as an integer.
                assert!(same(&again, &value), "{again} is not {value}");
                assert_eq!(canonical(&again), written);
            }
            (Ok(value), Err(error)) => panic!("{value} is not JSON to the other: {error}"),
            (Err(fault), Ok(other)) => {
                assert_ne!(fault.kind, FaultKind::Syntax, "{other}: {fault}");
            }
            (Err(_), Err(_)) => {}
        }
    }
});

/// The same value, where `1.0` is `1`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}
