//! The canonical form of a JSON value: RFC 8785, with 64-bit integers kept exact.

use serde_json::Value;

/// The canonical text of `value`: members ordered by UTF-16 code units, shortest escapes, no space.
///
/// Integers are written as they are, also beyond 2^53, where RFC 8785 would round them: policy
/// reads 64-bit integers, and must read what the plugin gets.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut out = String::with_capacity(128);
    write(value, &mut out);
    out
}

/// Appends the canonical text of `value`.
pub(crate) fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, (key, member)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
    }
}

fn write_number(number: &serde_json::Number, out: &mut String) {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.is_finite() => {
            out.push_str(ryu_js::Buffer::new().format_finite(float));
        }
        _ => out.push_str(&number.to_string()),
    }
}

/// Appends the canonical text of a string.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    // Whatever is escaped is a character of one byte, so that what stands before it is whole.
    while let Some((plain, escaped)) = rest
        .bytes()
        .position(|b| b < b' ' || matches!(b, b'"' | b'\\'))
        .and_then(|at| rest.split_at_checked(at))
    {
        out.push_str(plain);
        let mut tail = escaped.chars();
        match tail.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\t') => out.push_str("\\t"),
            Some('\n') => out.push_str("\\n"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\r') => out.push_str("\\r"),
            Some(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            None => {}
        }
        rest = tail.as_str();
    }
    out.push_str(rest);
    out.push('"');
}
