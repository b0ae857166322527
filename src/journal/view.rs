//! Arguments as a record keeps them: redacted, cut, and safe to show.
//!
//! The digest says exactly what the arguments were; the view is for the person who reads the record.
//! It never has the value of a member whose name looks like a credential's. That is a safety net
//! for models that put a secret into an argument; it can't know a secret under another name, which
//! is why a journal is for its owner only.

use serde_json::Value;

use super::escape::{escape_bytes, head};
use super::record::ArgumentsView;
use crate::digest::Digest;
use crate::json::canonical;

/// Bytes of a whole view. A screen of text; arguments of most calls fit whole.
pub const VIEW_BYTES: usize = 2048;
/// Bytes of one string in it: room for a URL or a sentence, and other members still show.
const STRING_BYTES: usize = 256;
/// Items of one list or members of one object in it.
const ITEMS: usize = 64;
/// Levels of nesting in it.
const DEPTH: usize = 16;

const REDACTED: &str = "[redacted]";
const MORE: &str = "\u{2026}";

/// The view of arguments; `bytes` is the length of their canonical text.
#[must_use]
pub fn view(arguments: &Value, digest: Digest, bytes: usize) -> ArgumentsView {
    let mut cut = false;
    let shown = canonical(&shorten(arguments, DEPTH, &mut cut));
    let text = head(&shown, VIEW_BYTES);
    ArgumentsView {
        digest: Some(digest),
        bytes: bytes as u64,
        cut: cut || text.len() < shown.len(),
        view: text.to_owned(),
    }
}

/// The view of what came in place of arguments and was not JSON, or not JSON that is taken.
///
/// Nothing in it can be told to be a credential or not, so of text that names one only the start up
/// to that name is kept.
#[must_use]
pub fn view_of_text(text: &[u8]) -> ArgumentsView {
    let safe = text.get(..credential_at(text)).unwrap_or(text);
    let (view, cut) = escape_bytes(safe, VIEW_BYTES);
    ArgumentsView {
        digest: None,
        bytes: text.len() as u64,
        cut: cut || safe.len() < text.len(),
        view,
    }
}

fn shorten(value: &Value, depth: usize, cut: &mut bool) -> Value {
    match value {
        Value::String(text) => Value::String(shorten_text(text, cut)),
        Value::Array(_) | Value::Object(_) if depth == 0 => {
            *cut = true;
            Value::String(MORE.to_owned())
        }
        Value::Array(items) => {
            let mut shown: Vec<_> = items
                .iter()
                .take(ITEMS)
                .map(|item| shorten(item, depth - 1, cut))
                .collect();
            if items.len() > ITEMS {
                *cut = true;
                shown.push(Value::String(format!("{MORE} ({} items)", items.len())));
            }
            Value::Array(shown)
        }
        Value::Object(members) => {
            let mut shown = serde_json::Map::new();
            for (name, member) in members.iter().take(ITEMS) {
                let member = if is_credential(name) && !matches!(member, Value::Null) {
                    *cut = true;
                    Value::String(REDACTED.to_owned())
                } else {
                    shorten(member, depth - 1, cut)
                };
                shown.insert(shorten_text(name, cut), member);
            }
            if members.len() > ITEMS {
                *cut = true;
                shown.insert(
                    MORE.to_owned(),
                    Value::String(format!("({} members)", members.len())),
                );
            }
            Value::Object(shown)
        }
        other => other.clone(),
    }
}

fn shorten_text(text: &str, cut: &mut bool) -> String {
    if looks_like_credential(text) {
        *cut = true;
        return REDACTED.to_owned();
    }
    if text.len() <= STRING_BYTES {
        return text.to_owned();
    }
    *cut = true;
    format!("{}{MORE} ({} bytes)", head(text, STRING_BYTES), text.len())
}

/// Parts of names under which people and programs keep credentials, in lower case, without separators.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "token",
    "secret",
    "authorization",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "credential",
    "cookie",
    "bearer",
    "sessionid",
    "otp",
];

/// Whether a member by this name is likely to hold a credential. `page_token` and `max_tokens` are
/// redacted too: a cursor that can't be read back costs little, a token that can costs all.
fn is_credential(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    // Three letters are a part of many words.
    NAMES
        .iter()
        .any(|part| plain == *part || (part.len() > 3 && plain.contains(part)))
        || matches!(plain.as_str(), "auth" | "pin" | "cvv" | "signature")
}

/// How tokens of well-known kinds start, whatever the member is called.
const PREFIXES: &[&str] = &[
    "Bearer ",
    "bearer ",
    "Basic ",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk-",
    "AKIA",
    "ASIA",
    "eyJ",
    "-----BEGIN ",
    "hvs.",
];

fn looks_like_credential(text: &str) -> bool {
    // Shorter is not a token but, say, a word that starts alike.
    text.len() >= 16
        && PREFIXES.iter().any(|prefix| {
            text.strip_prefix(prefix).is_some_and(|rest| {
                *prefix == "-----BEGIN " || !rest.trim().contains(char::is_whitespace)
            })
        })
}

/// Where text that is not understood first names a credential, or its length.
fn credential_at(text: &[u8]) -> usize {
    let window = text.get(..text.len().min(VIEW_BYTES * 2)).unwrap_or(text);
    let lower = window.to_ascii_lowercase();
    let names = NAMES.iter().map(|name| name.as_bytes());
    let spelt: [&[u8]; 4] = [b"api_key", b"api-key", b"private_key", b"access_key"];
    names
        .chain(spelt)
        .filter(|name| name.len() > 3)
        .filter_map(|name| {
            let at = lower.windows(name.len()).position(|part| part == name)?;
            Some(at + name.len())
        })
        .min()
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn shown(value: &Value) -> ArgumentsView {
        let text = canonical(value);
        view(value, Digest::of(text.as_bytes()), text.len())
    }

    #[test]
    fn credentials_are_redacted_by_name_and_by_form() {
        let view = shown(&json!({
            "API-Key": "canary", "nested": [{"githubToken": {"value": "canary"}}],
            "note": "ghp_canarycanarycanary", "header": "Bearer canarycanary",
            "sk-canarycanarycanary": 1, "author": "kept",
        }));
        assert!(!view.view.contains("canary"), "{}", view.view);
        assert!(view.view.contains("\"author\":\"kept\""), "{}", view.view);
        assert!(view.cut);
    }

    #[test]
    fn small_arguments_are_kept_whole() {
        let view = shown(&json!({"b": 1, "a": ["x", null, true]}));
        assert_eq!(view.view, r#"{"a":["x",null,true],"b":1}"#);
        assert!(!view.cut);
    }

    #[test]
    fn ten_megabytes_leave_a_digest_and_a_start() {
        let view = shown(&json!({"text": "é".repeat(5 << 20), "more": "seen"}));
        assert!(view.cut && view.digest.is_some());
        assert!(view.bytes > 10 << 20);
        assert!(view.view.contains("(10485760 bytes)"), "{}", view.view);
        assert!(view.view.contains("\"more\":\"seen\""));
    }

    #[test]
    fn text_that_is_not_json_is_escaped_and_stops_at_a_credential() {
        let view = view_of_text(b"{\"a\":\xff\x1b[2J\n, \"password\": \"canary\"");
        assert_eq!(view.view, "{\"a\":\\xff\\u{1b}[2J\\n, \"password");
        assert!(view.cut && view.digest.is_none());
    }

    proptest! {
        #[test]
        fn a_view_is_bounded_and_safe(text in proptest::collection::vec(any::<u8>(), 0..6000)) {
            let view = view_of_text(&text);
            prop_assert!(view.view.len() <= VIEW_BYTES);
            prop_assert!(!view.view.contains(crate::json::plain::is_unsafe));
            let lossy = String::from_utf8_lossy(&text).into_owned();
            let view = shown(&json!({ "x": lossy, "y": [text] }));
            prop_assert!(view.view.len() <= VIEW_BYTES);
        }
    }
}
