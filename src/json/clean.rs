//! What a plugin says to people and models by way of a client, without letters that paint, hide or turn
//! text around.
//!
//! Before anything else is done to it: a value of a secret with an invisible letter in its middle would
//! otherwise be no such value where it is looked for, and one again where it is read.

use serde_json::Value;

use super::plain::is_unsafe;

/// Whether `c` is left out. Lines and tabs may stand in a text.
const fn goes(c: char) -> bool {
    is_unsafe(c) && !matches!(c, '\n' | '\t')
}

/// Leaves out of `text` what is no letter to be seen.
pub(crate) fn clean_text(text: &mut String) {
    text.retain(|c| !goes(c));
}

/// Leaves it out of every text of `value`, the names of members included.
pub(crate) fn clean(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => clean_text(text),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(members) => {
            members.values_mut().for_each(clean);
            if members.keys().any(|name| name.contains(goes)) {
                let all = std::mem::take(members);
                for (mut name, member) in all {
                    clean_text(&mut name);
                    // Of two that look alike one is left, as for whoever reads it.
                    members.entry(name).or_insert(member);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_is_cleaned_however_deep() {
        let mut value = json!({
            "a\u{202e}b": ["x\u{1b}[31m", {"in\u{200b}ner": "two\nlines\tand \u{9b}a tab\u{2028}"}],
            "plain": {"é日🙂": "é日🙂", "n": 1, "t": true, "z": null},
        });
        clean(&mut value);
        assert_eq!(
            value,
            json!({
                "ab": ["x[31m", {"inner": "two\nlines\tand a tab"}],
                "plain": {"é日🙂": "é日🙂", "n": 1, "t": true, "z": null},
            })
        );
        let mut text = json!("a\u{feff}\u{e0041}\u{7f}\rb");
        clean(&mut text);
        assert_eq!(text, json!("ab"));
    }

    #[test]
    fn of_two_names_that_look_alike_one_is_left() {
        let mut value = json!({"a": 1, "a\u{200b}": 2, "b": 3});
        clean(&mut value);
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(2));
        assert_eq!(value["b"], 3);
    }
}
