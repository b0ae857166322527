//! Templates of URIs: what a plugin says that its resources are called, and which of them a URI is.
//!
//! Of RFC 6570 only simple expressions, `{name}`, and none beside another, so that a URI has one reading
//! at most. A value is what stands in the URI, byte for byte: nothing is decoded between the check and
//! the plugin.

use serde_json::{Map, Value};

use crate::name::is_plain;

/// Bytes of a URI, or of a template.
pub(crate) const MAX_URI: usize = 2 << 10;
/// Variables of a template.
const MAX_VARIABLES: usize = 16;
/// The argument that holds the whole URI.
pub(crate) const URI: &str = "uri";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

/// A template, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

/// Whether `uri` is one that a plugin may offer, or a client ask for: a scheme, and visible ASCII.
pub(crate) fn is_uri(uri: &str) -> bool {
    uri.len() <= MAX_URI
        && uri.bytes().all(|byte| byte.is_ascii_graphic())
        && scheme(uri).is_some_and(|(_, rest)| !rest.is_empty())
}

/// The scheme (RFC 3986) and what follows it.
fn scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let starts = scheme.bytes().next()?.is_ascii_alphabetic();
    (starts && scheme.bytes().all(fits)).then_some((scheme, rest))
}

impl Template {
    /// Reads `text`; what is wrong with it, where it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if !is_uri(text) {
            return Err(
                "it is no absolute URI of visible ASCII, at most 2 KiB, with a literal scheme",
            );
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            if literal.contains('}') {
                return Err("a `}` without its `{`");
            }
            let (name, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
            if !is_plain(name) || name.contains('-') {
                return Err("an expression is `{name}`, of letters, digits and `_`");
            }
            if name == URI {
                return Err("no variable is named `uri`");
            }
            let variable = Part::Variable(name.to_owned());
            if parts.contains(&variable) {
                return Err("a variable stands there twice");
            }
            if literal.is_empty() && matches!(parts.last(), Some(Part::Variable(_))) {
                return Err("something has to stand between two variables");
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(variable);
            rest = after;
        }
        if rest.contains('}') {
            return Err("a `}` without its `{`");
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let template = Self(parts);
        match template.variables().count() {
            0 => Err("it has no variable; a resource with one address is a URI"),
            count if count > MAX_VARIABLES => Err("it has more than 16 variables"),
            _ => Ok(template),
        }
    }

    /// The names of its variables, in their order.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The values of its variables, where `uri` is one of its. A value ends where what follows it stands
    /// for the first time; the last one reaches as far as it can.
    pub(crate) fn values(&self, uri: &str) -> Option<Map<String, Value>> {
        if !is_uri(uri) {
            return None;
        }
        let mut values = Map::new();
        let mut rest = uri;
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Part::Variable(name) => {
                    let value = match parts.next() {
                        None => std::mem::take(&mut rest),
                        Some(Part::Variable(_)) => return None,
                        Some(Part::Literal(literal)) => {
                            let (value, after) = if parts.peek().is_none() {
                                (rest.strip_suffix(literal.as_str())?, "")
                            } else {
                                // From the second byte on: a value is never empty. All of it is ASCII.
                                let tail = rest.get(1..)?;
                                let at = tail.find(literal.as_str())? + 1;
                                (rest.get(..at)?, rest.get(at + literal.len()..)?)
                            };
                            rest = after;
                            value
                        }
                    };
                    if value.is_empty() || value.contains('/') {
                        return None;
                    }
                    values.insert(name.clone(), value.into());
                }
            }
        }
        rest.is_empty().then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values(template: &str, uri: &str) -> Option<Value> {
        Template::parse(template)
            .unwrap()
            .values(uri)
            .map(Value::Object)
    }

    #[test]
    fn a_uri_has_one_reading() {
        let data = "test://template/{id}/data";
        assert_eq!(
            values(data, "test://template/123/data"),
            Some(json!({"id": "123"}))
        );
        for other in [
            "test://template//data",
            "test://template/a/b/data",
            "test://template/1/data/",
            "test://template/1",
            "other://template/1/data",
            "test://template/\u{e9}/data",
            "",
        ] {
            assert_eq!(values(data, other), None, "{other}");
        }
        assert_eq!(
            values("notes://{folder}/{id}.md", "notes://a%2Fb/x.md.md"),
            Some(json!({"folder": "a%2Fb", "id": "x.md"}))
        );
        assert_eq!(
            values("x:{a}-{b}", "x:1-2-3"),
            Some(json!({"a": "1", "b": "2-3"}))
        );
    }

    #[test]
    fn other_templates_are_refused() {
        for text in [
            "test://plain",
            "{scheme}://x",
            "test://{a}{b}",
            "test://{a}/{a}",
            "test://{uri}",
            "test://{+path}",
            "test://{a",
            "test://a}",
            "test://{}",
            "no-scheme/{a}",
            "test://{a b}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(a in "[a-z0-9%.]{1,12}", b in "[A-Za-z0-9._~%]{1,12}") {
            let found = values("x://{first}/y/{second}", &format!("x://{a}/y/{b}"));
            prop_assert_eq!(found, Some(json!({"first": a, "second": b})));
        }

        #[test]
        fn nothing_breaks_it(template in ".{0,40}", uri in ".{0,40}") {
            if let Ok(template) = Template::parse(&template)
                && let Some(values) = template.values(&uri)
            {
                prop_assert_eq!(values.len(), template.variables().count());
            }
        }
    }
}
