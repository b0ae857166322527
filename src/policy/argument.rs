//! From a tool's input schema to Cedar types, and from arguments to Cedar values.
//!
//! Cedar has no floats and no null, its sets have no order, and its JSON form gives `__entity` and
//! `__extn` a meaning. So the mapping is our own: strings, integers, booleans, arrays of one such
//! type (as sets), and objects with named properties (as records). Whatever else a schema allows is
//! in neither the Cedar schema nor the context, and is listed as unmapped: a rule that names it
//! fails at load. Values are built as expressions and never parsed as Cedar JSON, so every key and
//! text is plain data.
//!
//! A property that may be `null` (as `Option` becomes with schemars) is an optional attribute, and
//! `null` is its absence.

use cedar_policy::RestrictedExpression;
use serde::Serialize;
use serde_json::{Map, Value};

/// Deeper schemas are left unmapped; `$ref` cycles end here.
const MAX_DEPTH: usize = 16;

/// A part of a tool's arguments that policies can't see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmapped {
    /// The tool.
    pub tool: String,
    /// Where, such as `args.filter.weight`.
    pub path: String,
    /// Why it has no Cedar type.
    pub why: &'static str,
}

/// A Cedar type that arguments can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Whole,
    Truth,
    Set(Box<Kind>),
    Record(Vec<Field>),
}

/// One attribute of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// The attributes of `context.args` for a tool with this input schema, and what is left out.
pub(super) fn fields(tool: &str, schema: &Value) -> (Vec<Field>, Vec<Unmapped>) {
    let mut mapper = Mapper {
        tool,
        root: schema,
        unmapped: Vec::new(),
    };
    let fields = mapper.record(schema, "args", 0);
    (fields, mapper.unmapped)
}

struct Mapper<'a> {
    tool: &'a str,
    root: &'a Value,
    unmapped: Vec<Unmapped>,
}

/// A mapped type, and whether `null` is allowed beside it.
struct Mapped {
    kind: Kind,
    nullable: bool,
}

impl From<Kind> for Mapped {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            nullable: false,
        }
    }
}

impl<'a> Mapper<'a> {
    fn leave(&mut self, path: &str, why: &'static str) {
        self.unmapped.push(Unmapped {
            tool: self.tool.to_owned(),
            path: path.to_owned(),
            why,
        });
    }

    fn record(&mut self, schema: &'a Value, path: &str, depth: usize) -> Vec<Field> {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let mut fields = Vec::new();
        for (name, property) in properties(schema) {
            let path = format!("{path}.{name}");
            match self.kind(property, &path, depth + 1) {
                Ok(mapped) => fields.push(Field {
                    name: name.clone(),
                    required: required.contains(&name.as_str()) && !mapped.nullable,
                    kind: mapped.kind,
                }),
                Err(why) => self.leave(&path, why),
            }
        }
        if schema
            .get("additionalProperties")
            .is_some_and(|more| *more != Value::Bool(false) && *more != Value::Bool(true))
            || schema.get("patternProperties").is_some()
        {
            self.leave(&format!("{path}.*"), "properties without a fixed name");
        }
        fields
    }

    fn kind(
        &mut self,
        schema: &'a Value,
        path: &str,
        depth: usize,
    ) -> Result<Mapped, &'static str> {
        if depth > MAX_DEPTH {
            return Err("nested too deep, or in terms of itself");
        }
        let Value::Object(members) = schema else {
            return Err("any value is allowed");
        };
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            let target = reference
                .strip_prefix('#')
                .and_then(|pointer| self.root.pointer(pointer))
                .ok_or("a `$ref` that points outside of the schema")?;
            return self.kind(target, path, depth + 1);
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(branches) = members.get(word).and_then(Value::as_array) {
                return self.alternatives(branches, path, depth);
            }
        }
        if members.contains_key("allOf") {
            return Err("`allOf`");
        }
        if let Some(values) = members.get("enum").and_then(Value::as_array) {
            return constants(values);
        }
        if let Some(value) = members.get("const") {
            return constants(std::slice::from_ref(value));
        }
        let (name, nullable) = type_name(members)?;
        let kind = match name {
            "string" => Kind::Text,
            "integer" => Kind::Whole,
            "boolean" => Kind::Truth,
            "array" => {
                if members.contains_key("prefixItems") {
                    return Err("an array whose items differ by position");
                }
                let items = members.get("items").ok_or("an array of any values")?;
                let item = self.kind(items, &format!("{path}[]"), depth + 1)?;
                if item.nullable {
                    return Err("an array whose items may be `null`");
                }
                Kind::Set(Box::new(item.kind))
            }
            "object" => {
                if properties(schema).next().is_none() {
                    return Err("an object without named properties");
                }
                Kind::Record(self.record(schema, path, depth))
            }
            "number" => return Err("numbers that are not whole have no Cedar type"),
            _ => return Err("a type that Cedar does not have"),
        };
        Ok(Mapped { kind, nullable })
    }

    /// Branches of one and the same type, beside `null`, are that type.
    fn alternatives(
        &mut self,
        branches: &'a [Value],
        path: &str,
        depth: usize,
    ) -> Result<Mapped, &'static str> {
        let mut found: Option<Kind> = None;
        let mut nullable = false;
        for branch in branches {
            if branch.get("type").and_then(Value::as_str) == Some("null") {
                nullable = true;
                continue;
            }
            let mapped = self.kind(branch, path, depth + 1)?;
            nullable |= mapped.nullable;
            match &found {
                Some(kind) if *kind != mapped.kind => {
                    return Err("alternatives of different types");
                }
                _ => found = Some(mapped.kind),
            }
        }
        let kind = found.ok_or("only `null`")?;
        Ok(Mapped { kind, nullable })
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn type_name(members: &Map<String, Value>) -> Result<(&str, bool), &'static str> {
    match members.get("type") {
        Some(Value::String(name)) => Ok((name, false)),
        Some(Value::Array(names)) => {
            let mut rest = names
                .iter()
                .filter_map(Value::as_str)
                .filter(|n| *n != "null");
            match (rest.next(), rest.next()) {
                (Some(name), None) => Ok((name, names.iter().any(|n| n == "null"))),
                _ => Err("several types"),
            }
        }
        _ => Err("any value is allowed"),
    }
}

fn constants(values: &[Value]) -> Result<Mapped, &'static str> {
    let mut found: Option<Kind> = None;
    let mut nullable = false;
    for value in values {
        let kind = match value {
            Value::Null => {
                nullable = true;
                continue;
            }
            Value::String(_) => Kind::Text,
            Value::Bool(_) => Kind::Truth,
            Value::Number(number) if number.is_i64() => Kind::Whole,
            _ => return Err("a constant that Cedar has no type for"),
        };
        match &found {
            Some(other) if *other != kind => return Err("constants of different types"),
            _ => found = Some(kind),
        }
    }
    let kind = found.ok_or("only `null`")?;
    Ok(Mapped { kind, nullable })
}

/// The Cedar record of `members`, by these fields. Members without a field, or whose name is not
/// `wanted`, are left out.
///
/// # Errors
///
/// The path of the first member that is not of its type, or that is required and absent, wanted or
/// not: arguments that don't conform to the tool's schema are not decided on.
pub(super) fn record(
    fields: &[Field],
    members: &Map<String, Value>,
    path: &str,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<RestrictedExpression, String> {
    let mut pairs = Vec::with_capacity(fields.len());
    for field in fields {
        let path = || format!("{path}.{}", field.name);
        match members.get(&field.name) {
            None | Some(Value::Null) if !field.required => {}
            None => return Err(path()),
            Some(value) if wanted(&field.name) => {
                pairs.push((field.name.clone(), express(&field.kind, value, &path)?));
            }
            Some(value) => conforms(&field.kind, value, &path)?,
        }
    }
    RestrictedExpression::new_record(pairs).map_err(|_| path.to_owned())
}

/// Whether `value` is of this type; as [`express`], without building it.
fn conforms(kind: &Kind, value: &Value, path: &dyn Fn() -> String) -> Result<(), String> {
    match (kind, value) {
        (Kind::Text, Value::String(_)) | (Kind::Truth, Value::Bool(_)) => Ok(()),
        (Kind::Whole, Value::Number(number)) if number.is_i64() => Ok(()),
        (Kind::Set(item), Value::Array(values)) => values
            .iter()
            .try_for_each(|value| conforms(item, value, &|| format!("{}[]", path()))),
        (Kind::Record(fields), Value::Object(members)) => fields.iter().try_for_each(|field| {
            let path = || format!("{}.{}", path(), field.name);
            match members.get(&field.name) {
                None | Some(Value::Null) if !field.required => Ok(()),
                None => Err(path()),
                Some(value) => conforms(&field.kind, value, &path),
            }
        }),
        _ => Err(path()),
    }
}

fn express(
    kind: &Kind,
    value: &Value,
    path: &dyn Fn() -> String,
) -> Result<RestrictedExpression, String> {
    match (kind, value) {
        (Kind::Text, Value::String(text)) => Ok(RestrictedExpression::new_string(text.clone())),
        (Kind::Truth, Value::Bool(truth)) => Ok(RestrictedExpression::new_bool(*truth)),
        (Kind::Whole, Value::Number(number)) => number
            .as_i64()
            .map(RestrictedExpression::new_long)
            .ok_or_else(path),
        (Kind::Set(item), Value::Array(values)) => values
            .iter()
            .map(|value| express(item, value, &|| format!("{}[]", path())))
            .collect::<Result<Vec<_>, _>>()
            .map(RestrictedExpression::new_set),
        (Kind::Record(fields), Value::Object(members)) => {
            record(fields, members, &path(), &|_| true)
        }
        _ => Err(path()),
    }
}
