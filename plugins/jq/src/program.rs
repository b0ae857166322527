//! Running a jq filter over one JSON value.
//!
//! Filter and input are the agent's, so both are hostile: what could exhaust the stack (nesting, in
//! the filter, the input and the results) is bounded here and answered with a message; what could
//! run for ever is the host's to end, by fuel. The filter reaches nothing but its input: there is no
//! environment, no clock, no module path and no second input.

use std::fmt;

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars};
use jaq_json::{Num, Val, read};
use serde_json::{Map, Number, Value};

use crate::natives;

/// Bytes of a filter. Longer ones are programs, not filters; and the parser recurses.
pub const FILTER_BYTES: usize = 8 << 10;
/// Brackets open at once in a filter, for the same reason.
pub const FILTER_DEPTH: usize = 64;
/// Levels of nesting in the input and in each result. serde_json's own bound is 128.
pub const VALUE_DEPTH: usize = 128;
/// Bytes of all results together: half of what the host passes on, as text and structure both carry them.
pub const OUTPUT_BYTES: usize = 384 << 10;
/// Results given where the caller names no limit.
pub const DEFAULT_LIMIT: usize = 100;
/// Most results that a caller may ask for.
pub const MAX_LIMIT: usize = 10_000;

/// What a filter gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// In order.
    pub results: Vec<Value>,
    /// Whether there was more than the limits let through.
    pub truncated: bool,
}

/// Why there are no results. Its text is for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError(pub String);

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FilterError {}

fn fail<T>(message: impl Into<String>) -> Result<T, FilterError> {
    Err(FilterError(message.into()))
}

/// Runs `filter` on the JSON text `input` and gives at most `limit` results.
///
/// # Errors
///
/// Where the filter does not compile (with line and column), the input is not JSON, or the filter
/// raises an error that it does not catch (with the results that came before it).
pub fn run(filter: &str, input: &str, limit: usize) -> Result<Outputs, FilterError> {
    let limit = limit.clamp(1, MAX_LIMIT);
    if filter.len() > FILTER_BYTES {
        return fail(format!(
            "the filter is {} bytes long; at most {FILTER_BYTES} are allowed",
            filter.len()
        ));
    }
    if deepest(filter, false) > FILTER_DEPTH {
        return fail(format!(
            "the filter has more than {FILTER_DEPTH} brackets open at once"
        ));
    }
    if deepest(input, true) > VALUE_DEPTH {
        return fail(format!(
            "the input is nested deeper than {VALUE_DEPTH} levels"
        ));
    }
    let input = read::parse_single(input.as_bytes())
        .map_err(|error| FilterError(format!("the input is not JSON: {error}")))?;

    let arena = Arena::default();
    let definitions = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs());
    let modules = Loader::new(definitions)
        .load(
            &arena,
            File {
                code: filter,
                path: (),
            },
        )
        .map_err(|errors| FilterError(load_errors(filter, &errors)))?;
    // `import "data" as $name` is the caller's to resolve; unresolved, running it would panic.
    load::import(&modules, |_| Err(String::new()))
        .map_err(|errors| FilterError(load_errors(filter, &errors)))?;
    let compiled = Compiler::default()
        .with_funs(natives::all())
        .compile(modules)
        .map_err(|errors| FilterError(compile_errors(filter, &errors)))?;

    let context = Ctx::<JustLut<Val>>::new(&compiled.lut, Vars::new([]));
    let mut outputs = Outputs {
        results: Vec::new(),
        truncated: false,
    };
    let mut bytes = 0_usize;
    for result in compiled.id.run((context, input)) {
        let value = match result {
            Ok(value) => value,
            Err(exception) => match exception.get_err() {
                Ok(error) => return fail(raised(&error_text(error), &outputs.results)),
                // `halt` ends the filter; with a status other than 0 it means failure.
                Err(other) => match other.get_halt() {
                    Ok(0) => break,
                    Ok(code) => {
                        return fail(raised(
                            &format!("halted with exit code {code}"),
                            &outputs.results,
                        ));
                    }
                    Err(_) => return fail("the filter broke out of a label that it is not in"),
                },
            },
        };
        if outputs.results.len() == limit {
            outputs.truncated = true;
            break;
        }
        let Some(value) = to_json(&value, VALUE_DEPTH) else {
            return fail(format!(
                "a result is nested deeper than {VALUE_DEPTH} levels"
            ));
        };
        bytes = bytes.saturating_add(size(&value));
        if bytes > OUTPUT_BYTES {
            if outputs.results.is_empty() {
                return fail(format!(
                    "the first result is larger than {OUTPUT_BYTES} bytes; select less of the input"
                ));
            }
            outputs.truncated = true;
            break;
        }
        outputs.results.push(value);
    }
    Ok(outputs)
}

/// The text of an error that is a text, any other as JSON.
fn error_text(error: jaq_json::Error) -> String {
    match error.into_val() {
        Val::TStr(text) => String::from_utf8_lossy(&text).into_owned(),
        other => other.to_string(),
    }
}

fn raised(message: &str, before: &[Value]) -> String {
    let message: String = message.chars().take(2_000).collect();
    match before.len() {
        0 => format!("the filter failed: {message}"),
        1 => format!("the filter failed after 1 result: {message}"),
        count => format!("the filter failed after {count} results: {message}"),
    }
}

/// The most brackets open at once. In JSON those in strings don't count; in a filter they do, since
/// strings there hold code (`"\(...)"`).
fn deepest(text: &str, json: bool) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if json && in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' | b'(' => {
                depth += 1;
                most = most.max(depth);
            }
            b']' | b'}' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// A value as plain JSON, or none where it is nested too deeply. What JSON lacks becomes what jq
/// makes of it: NaN is null, infinities are the largest numbers, and keys are texts.
fn to_json(value: &Val, depth: usize) -> Option<Value> {
    Some(match value {
        Val::Null => Value::Null,
        Val::Bool(b) => Value::Bool(*b),
        Val::Num(number) => number_to_json(number),
        Val::TStr(bytes) | Val::BStr(bytes) => {
            Value::String(String::from_utf8_lossy(bytes).into_owned())
        }
        Val::Arr(items) => {
            let depth = depth.checked_sub(1)?;
            Value::Array(
                items
                    .iter()
                    .map(|item| to_json(item, depth))
                    .collect::<Option<_>>()?,
            )
        }
        Val::Obj(members) => {
            let depth = depth.checked_sub(1)?;
            let mut map = Map::new();
            for (key, member) in members.iter() {
                let key = match key {
                    Val::TStr(bytes) | Val::BStr(bytes) => {
                        String::from_utf8_lossy(bytes).into_owned()
                    }
                    other => to_json(other, depth)?.to_string(),
                };
                map.insert(key, to_json(member, depth)?);
            }
            Value::Object(map)
        }
    })
}

fn number_to_json(number: &Num) -> Value {
    let float = |x: f64| {
        let x = if x.is_infinite() {
            f64::MAX.copysign(x)
        } else {
            x
        };
        // Whole numbers are written as such, as jq does: `6 / 2` is 3, not 3.0.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "in the range where every whole double is an i64"
        )]
        if x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0 {
            Value::from(x as i64)
        } else {
            Number::from_f64(x).map_or(Value::Null, Value::Number)
        }
    };
    match number {
        Num::Float(x) => float(*x),
        other => {
            let text = other.to_string();
            match text.parse::<i64>() {
                Ok(whole) => Value::from(whole),
                // Past 64 bits, or a decimal: the nearest double.
                Err(_) => text.parse().map_or(Value::Null, float),
            }
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(s) => s.len() + 3,
        Value::Array(items) => items.iter().map(size).fold(2, usize::saturating_add),
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| k.len() + 4 + size(v))
            .fold(2, usize::saturating_add),
    }
}

/// `line 1, column 5` of `part`, which lies within `whole`.
fn position(whole: &str, part: &str) -> String {
    let at = load::span(whole, part).start;
    let before = whole.get(..at).unwrap_or(whole);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("line {line}, column {column}")
}

fn found(part: &str) -> String {
    match part.chars().next() {
        None => "the end".to_owned(),
        Some(_) => format!("`{}`", part.chars().take(24).collect::<String>()),
    }
}

fn load_errors(filter: &str, errors: &load::Errors<&str, ()>) -> String {
    let mut lines = Vec::new();
    for (_, error) in errors {
        match error {
            load::Error::Io(errors) => {
                for (path, _) in errors {
                    lines.push(format!(
                        "{}: modules can't be loaded here",
                        position(filter, path)
                    ));
                }
            }
            load::Error::Lex(errors) => {
                for (expected, at) in errors {
                    lines.push(format!(
                        "{}: expected {}, found {}",
                        position(filter, at),
                        expected.as_str(),
                        found(at)
                    ));
                }
            }
            load::Error::Parse(errors) => {
                for (expected, at) in errors {
                    lines.push(format!(
                        "{}: expected {}, found {}",
                        position(filter, at),
                        expected.as_str(),
                        found(at)
                    ));
                }
            }
        }
    }
    does_not_compile(lines)
}

fn compile_errors(filter: &str, errors: &jaq_core::compile::Errors<&str, ()>) -> String {
    let mut lines = Vec::new();
    for (_, errors) in errors {
        for (name, undefined) in errors {
            let kind = match undefined {
                jaq_core::compile::Undefined::Filter(arity) => {
                    format!("filter `{name}` with {arity} arguments")
                }
                other => format!("{} `{name}`", other.as_str()),
            };
            lines.push(format!("{}: there is no {kind}", position(filter, name)));
        }
    }
    does_not_compile(lines)
}

fn does_not_compile(mut lines: Vec<String>) -> String {
    lines.truncate(8);
    format!("the filter does not compile: {}", lines.join("; "))
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
