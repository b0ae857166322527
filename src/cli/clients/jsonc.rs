//! A server in a JSON file, as editors write it: with comments and trailing commas.
//!
//! The file is never written anew: the text of one member is put in, and the rest stays letter by letter.
//! Comments and trailing commas are first made blank, byte for byte, so that a strict reader reads the
//! rest and every place in it is a place in the file.

use std::ops::Range;

use serde_json::{Map, Value};

use super::Broken;

/// The server `name` in `table`.
pub(super) fn get(text: &str, table: &str, name: &str) -> Result<Option<Value>, Broken> {
    let whole = whole(&Blank::of(text))?;
    Ok(whole
        .get(table)
        .and_then(|servers| servers.get(name))
        .cloned())
}

/// The text with the server `name` in `table`.
pub(super) fn put(text: &str, table: &str, name: &str, server: &Value) -> Result<String, Broken> {
    let blank = Blank::of(text);
    let old = whole(&blank)?;
    let new = changed(text, &blank, table, name, server)?;
    // INVARIANT: nothing but this server changed, whatever the form of the file.
    if with(old, table, name, server) != whole(&Blank::of(&new))? {
        return Err(Broken(
            "it is written in a way that can't be added to".to_owned(),
        ));
    }
    Ok(new)
}

fn with(
    mut old: Map<String, Value>,
    table: &str,
    name: &str,
    server: &Value,
) -> Map<String, Value> {
    let servers = old
        .entry(table)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Some(servers) = servers.as_object_mut() {
        servers.insert(name.to_owned(), server.clone());
    }
    old
}

fn whole(blank: &Blank) -> Result<Map<String, Value>, Broken> {
    if blank.text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(&blank.text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Broken("it is no JSON object".to_owned())),
        Err(error) => Err(Broken(format!("it is not JSON: {error}"))),
    }
}

fn changed(
    text: &str,
    blank: &Blank,
    table: &str,
    name: &str,
    server: &Value,
) -> Result<String, Broken> {
    let fresh = |unit: &str, indent: &str, members: &[(&str, &Value)]| {
        let lines: Vec<String> = members
            .iter()
            .map(|(key, value)| format!("{indent}{}", member(key, value, indent, unit)))
            .collect();
        lines.join(",\n")
    };
    let Some(root) = blank.text.find('{') else {
        let mut servers = Map::new();
        servers.insert(name.to_owned(), server.clone());
        let whole = fresh("  ", "  ", &[(table, &Value::Object(servers))]);
        let before = text.trim_end();
        let line = if before.is_empty() { "" } else { "\n" };
        return Ok(format!("{before}{line}{{\n{whole}\n}}\n"));
    };
    let root = object(&blank.text, root)?;
    let Some(found) = root.only(table)? else {
        let mut servers = Map::new();
        servers.insert(name.to_owned(), server.clone());
        return Ok(root.with(text, blank, table, &Value::Object(servers)));
    };
    let servers = object(&blank.text, found.start)
        .map_err(|_| Broken(format!("`{table}` in it is no object")))?;
    match servers.only(name)? {
        None => Ok(servers.with(text, blank, name, server)),
        Some(value) => {
            let (indent, unit) = servers.indents(text);
            let server = render(server, &indent, &unit);
            Ok(splice(text, value, &server))
        }
    }
}

fn splice(text: &str, place: Range<usize>, new: &str) -> String {
    let (before, after) = (text.get(..place.start), text.get(place.end..));
    format!(
        "{}{new}{}",
        before.unwrap_or_default(),
        after.unwrap_or_default()
    )
}

fn member(key: &str, value: &Value, indent: &str, unit: &str) -> String {
    format!("{}: {}", Value::from(key), render(value, indent, unit))
}

/// A value over lines, the first of which stands behind `indent`.
fn render(value: &Value, indent: &str, unit: &str) -> String {
    let pretty = format!("{value:#}");
    let mut out = String::new();
    for (number, line) in pretty.lines().enumerate() {
        if number > 0 {
            out.push('\n');
            out.push_str(indent);
        }
        let rest = line.trim_start_matches(' ');
        for _ in 0..(line.len() - rest.len()) / 2 {
            out.push_str(unit);
        }
        out.push_str(rest);
    }
    out
}

/// A text with its comments and trailing commas made blank; every byte is where it was.
struct Blank {
    text: String,
    /// Where trailing commas were.
    commas: Vec<usize>,
}

impl Blank {
    fn of(text: &str) -> Self {
        let mut out = text.as_bytes().to_vec();
        let mut commas = Vec::new();
        // A comma that nothing has followed yet.
        let mut comma = None;
        let mut bytes = text.bytes().enumerate().peekable();
        let mut blank = |from: usize, to: usize| {
            for byte in out.get_mut(from..to).unwrap_or_default() {
                // Lines stay lines.
                if !matches!(*byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
        };
        // What some editors begin a file with.
        if text.starts_with('\u{feff}') {
            blank(0, '\u{feff}'.len_utf8());
        }
        while let Some((at, byte)) = bytes.next() {
            match (byte, bytes.peek().map(|(_, next)| *next)) {
                (b'"', _) => {
                    comma = None;
                    let mut escaped = false;
                    for (_, byte) in bytes.by_ref() {
                        match byte {
                            _ if escaped => escaped = false,
                            b'\\' => escaped = true,
                            b'"' => break,
                            _ => {}
                        }
                    }
                }
                (b'/', Some(b'/')) => {
                    let mut end = text.len();
                    for (at, byte) in bytes.by_ref() {
                        if byte == b'\n' {
                            end = at;
                            break;
                        }
                    }
                    blank(at, end);
                }
                (b'/', Some(b'*')) => {
                    bytes.next();
                    let (mut end, mut star) = (text.len(), false);
                    for (at, byte) in bytes.by_ref() {
                        if star && byte == b'/' {
                            end = at + 1;
                            break;
                        }
                        star = byte == b'*';
                    }
                    blank(at, end);
                }
                (b',', _) => comma = Some(at),
                (b'}' | b']', _) => {
                    if let Some(at) = comma.take() {
                        blank(at, at + 1);
                        commas.push(at);
                    }
                }
                (byte, _) if byte.is_ascii_whitespace() => {}
                _ => comma = None,
            }
        }
        // Whole characters were made blank, or none of them.
        let text = String::from_utf8(out).unwrap_or_default();
        Self { text, commas }
    }
}

/// An object, and the places of its members.
struct Object {
    /// From its brace to behind the other.
    place: Range<usize>,
    members: Vec<(String, Range<usize>, Range<usize>)>,
}

/// The object that begins at `at` of a text that is strict JSON.
fn object(text: &str, at: usize) -> Result<Object, Broken> {
    let broken = || Broken("it is no JSON object".to_owned());
    let mut members = Vec::new();
    let mut next = at + 1;
    if text.as_bytes().get(at) != Some(&b'{') {
        return Err(broken());
    }
    loop {
        next = skip(text, next);
        match text.as_bytes().get(next) {
            Some(b'}') => {
                let place = at..next + 1;
                return Ok(Object { place, members });
            }
            Some(b',') => next += 1,
            Some(b'"') => {
                let key = value(text, next).ok_or_else(broken)?;
                let name = text
                    .get(key.clone())
                    .and_then(|key| serde_json::from_str(key).ok());
                let colon = skip(text, key.end);
                let place = value(text, skip(text, colon + 1)).ok_or_else(broken)?;
                next = place.end;
                members.push((name.ok_or_else(broken)?, key, place));
            }
            _ => return Err(broken()),
        }
    }
}

fn skip(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + (rest.len() - rest.trim_start().len())
}

/// The value that begins at `at`, by the strict reader itself.
fn value(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    Some(at..at + values.byte_offset())
}

impl Object {
    /// The place of the only member of this name.
    fn only(&self, name: &str) -> Result<Option<Range<usize>>, Broken> {
        let mut found = self.members.iter().filter(|(key, ..)| key == name);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((_, _, place)), None) => Ok(Some(place.clone())),
            _ => Err(Broken(format!("`{name}` stands in it twice"))),
        }
    }

    /// What its members' lines begin with, and what each level has more than the one before.
    fn indents(&self, text: &str) -> (String, String) {
        let own = indent(text, self.place.start);
        let first = self.members.first().map(|(_, key, _)| key.start);
        match first.and_then(|first| alone(text, first)) {
            Some(members) => {
                let unit = members.strip_prefix(own.as_str()).filter(|u| !u.is_empty());
                let unit = unit.unwrap_or("  ").to_owned();
                (members, unit)
            }
            None => (format!("{own}  "), "  ".to_owned()),
        }
    }

    /// The text with one more member, behind all others.
    fn with(&self, text: &str, blank: &Blank, key: &str, value: &Value) -> String {
        let (indent_of_members, unit) = self.indents(text);
        let member = member(key, value, &indent_of_members, &unit);
        let close = self.place.end - 1;
        let last = self
            .members
            .last()
            .map_or(self.place.start + 1, |(_, _, place)| place.end);
        // What stands between the last member and the brace stays: a comment, or a comma.
        let between = text.get(last..close).unwrap_or_default().trim_end();
        let has_comma = blank.commas.iter().any(|at| (last..close).contains(at));
        let comma = if self.members.is_empty() || has_comma {
            ""
        } else {
            ","
        };
        let own = indent(text, self.place.start);
        let new = format!("{comma}{between}\n{indent_of_members}{member}\n{own}");
        splice(text, last..close, &new)
    }
}

/// The blanks that the line of `at` begins with.
fn indent(text: &str, at: usize) -> String {
    let line = line(text, at);
    let blanks = line.len() - line.trim_start().len();
    line.get(..blanks).unwrap_or_default().to_owned()
}

/// The same, where nothing else stands before `at`.
fn alone(text: &str, at: usize) -> Option<String> {
    let line = line(text, at);
    let starts_line = text.get(..at)?.ends_with(line) && at > line.len();
    (line.trim().is_empty() && starts_line).then(|| line.to_owned())
}

/// The line of `at`, up to there.
fn line(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    before.rsplit('\n').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn put_it(text: &str) -> String {
        put(
            text,
            "mcpServers",
            "tollgate",
            &json!({"command": "/t", "args": ["a b"]}),
        )
        .unwrap()
    }

    #[test]
    fn an_empty_file_and_an_empty_object() {
        let whole = "{\n  \"mcpServers\": {\n    \"tollgate\": {\n      \"command\": \"/t\",\n      \"args\": [\n        \"a b\"\n      ]\n    }\n  }\n}";
        assert_eq!(put_it(""), format!("{whole}\n"));
        assert_eq!(put_it("{}"), whole);
        assert_eq!(put_it("// mine\n"), format!("// mine\n{whole}\n"));
        assert_eq!(put_it("{\n}\n"), format!("{whole}\n"));
    }

    #[test]
    fn what_is_there_stays_letter_by_letter() {
        let text = "\u{feff}// my servers, with a } in it\n{\n\t\"theme\" : \"dark\", /* , } */\n\t\"mcpServers\": {\n\t\t\"other\": { \"command\": \"x // no comment\", \"args\": [1,2,], }, // last\n\t\t// end\n\t},\n\t\"more\": [ 1, 2 ],\n}\n";
        let expected = text.replace(
            "\n\t\t// end\n\t},",
            "\n\t\t// end\n\t\t\"tollgate\": {\n\t\t\t\"command\": \"/t\",\n\t\t\t\"args\": [\n\t\t\t\t\"a b\"\n\t\t\t]\n\t\t}\n\t},",
        );
        let new = put_it(text);
        assert_eq!(new, expected);
        // The same again changes nothing, and another in its place changes only that.
        assert_eq!(put_it(&new), new);
        let other = put(&new, "mcpServers", "tollgate", &json!({"url": "u"})).unwrap();
        assert_eq!(
            get(&other, "mcpServers", "tollgate").unwrap(),
            Some(json!({"url": "u"}))
        );
        assert!(other.contains("// end") && other.contains("\"theme\" : \"dark\", /* , } */"));
    }

    #[test]
    fn a_comma_is_put_where_one_is_needed() {
        for (text, expected) in [
            ("{\"a\":1}", "{\"a\":1,\n"),
            ("{\"a\":1, // why\n}", "{\"a\":1, // why\n"),
            ("{\"a\":1 // why\n}", "{\"a\":1, // why\n"),
            ("{ // nothing\n}", "{ // nothing\n"),
        ] {
            let new = put_it(text);
            assert!(new.starts_with(expected), "{new}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_not_written() {
        for text in [
            "{",
            "[]",
            "5",
            "{\"a\":1} x",
            "{\"a\":1,,}",
            "{,}",
            "{\"mcpServers\": []}",
            "{\"mcpServers\": {}, \"mcpServers\": {\"a\": 1}}",
            "{\"mcpServers\": {\"tollgate\": 1, \"tollgate\": 2}}",
            "{'a': 1}",
            "/* no end",
            "\"",
        ] {
            let new = put(text, "mcpServers", "tollgate", &json!({}));
            if text == "/* no end" {
                // Blank to the end, as an empty file: what was there stays, and what follows can't be read.
                assert!(new.is_err(), "{text}");
                continue;
            }
            assert!(new.is_err(), "{text}: {new:?}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~é/*{},\"\\\\]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z/*\"]{0,6}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn only_the_server_changes(
            mut members in prop::collection::hash_map("[a-z/*\"]{0,6}", any_json(), 0..5),
            servers in prop::option::of(prop::collection::hash_map("[a-z]{1,4}|tollgate", any_json(), 0..4)),
            server in prop::collection::hash_map("[a-z]{1,6}", "[ -~]{0,12}", 0..4),
            pretty in any::<bool>(),
        ) {
            members.remove("mcpServers");
            let mut old: Map<String, Value> = members.into_iter().collect();
            if let Some(servers) = servers {
                old.insert("mcpServers".into(), Value::Object(servers.into_iter().collect()));
            }
            let server = json!(server);
            let text = if pretty { format!("{:#}", Value::Object(old.clone())) } else { Value::Object(old.clone()).to_string() };
            let new = put(&text, "mcpServers", "tollgate", &server).unwrap();
            let read: Map<String, Value> = serde_json::from_str(&new).unwrap();
            prop_assert_eq!(read, with(old, "mcpServers", "tollgate", &server));
        }

        #[test]
        fn nothing_makes_it_fail_and_places_stay(text in "[{}\\[\\],:\"/*\\n ae1é\\\\]{0,40}") {
            let blank = Blank::of(&text);
            prop_assert_eq!(blank.text.len(), text.len());
            let _ = put(&text, "mcpServers", "tollgate", &json!({"a": 1}));
        }
    }
}
