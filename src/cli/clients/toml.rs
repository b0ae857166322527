//! A server in a TOML file: everything else stays letter by letter.

use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item, Table, Value as Edited};

use super::Broken;

fn parse(text: &str) -> Result<DocumentMut, Broken> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        Broken(format!("it is not TOML: {}", error.message()))
    })
}

/// The server `name`, as JSON.
pub(super) fn get(text: &str, table: &str, name: &str) -> Result<Option<Value>, Broken> {
    let document: Value = ::toml::from_str(text)
        .map_err(|error| Broken(format!("it is not TOML: {}", error.message())))?;
    let found = document.get(table).and_then(|servers| servers.get(name));
    Ok(found.cloned())
}

/// The text with the server `name` in `table`.
pub(super) fn put(text: &str, table: &str, name: &str, server: &Value) -> Result<String, Broken> {
    let mut document = parse(text)?;
    let mut own = Table::new();
    for (key, value) in server.as_object().into_iter().flatten() {
        own.insert(key, Item::Value(edited(value)));
    }
    let servers = document.entry(table).or_insert_with(|| {
        let mut servers = Table::new();
        // `[mcp_servers]` itself needs no line.
        servers.set_implicit(true);
        Item::Table(servers)
    });
    let Some(servers) = servers.as_table_like_mut() else {
        return Err(Broken(format!("`{table}` in it is no table")));
    };
    servers.insert(name, Item::Table(own));
    let new = document.to_string();
    // INVARIANT: nothing but this server changed, whatever the form of the file.
    if with(text, table, name, server)? != whole(&new)? {
        return Err(Broken(format!(
            "`{table}` in it is written in a way that can't be added to"
        )));
    }
    Ok(new)
}

fn edited(value: &Value) -> Edited {
    match value {
        Value::Array(items) => items.iter().map(edited).collect::<Array>().into(),
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        // Servers have nothing else; as text it would be told apart below.
        other => other.to_string().into(),
    }
}

fn whole(text: &str) -> Result<Value, Broken> {
    ::toml::from_str(text).map_err(|error| Broken(format!("it is not TOML: {}", error.message())))
}

fn with(text: &str, table: &str, name: &str, server: &Value) -> Result<Value, Broken> {
    let mut all = whole(text)?;
    if let Some(members) = all.as_object_mut() {
        let servers = members
            .entry(table)
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(servers) = servers.as_object_mut() {
            servers.insert(name.to_owned(), server.clone());
        }
    }
    Ok(all)
}
