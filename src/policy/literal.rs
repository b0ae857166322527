//! Literals in rules: the texts that a rule compares with, and their canonical forms.

use serde_json::Value;

/// A text that a rule compares with: exact, or with wildcards.
pub(super) struct Compared {
    /// The pieces between wildcards.
    pub(super) pieces: Vec<String>,
    pub(super) exact: bool,
}

impl Compared {
    pub(super) fn text(&self) -> String {
        self.pieces.join("*")
    }

    pub(super) fn first(&self) -> &str {
        self.pieces.first().map_or("", String::as_str)
    }

    pub(super) fn any(&self, bad: impl Fn(char) -> bool + Copy) -> bool {
        self.pieces.iter().any(|piece| piece.contains(bad))
    }
}

/// Whether the pattern fixes how a text starts.
pub(super) fn starts(compared: &Compared) -> bool {
    compared.exact || !compared.first().is_empty()
}

pub(super) fn dots(compared: &Compared) -> bool {
    let last = compared.pieces.len().saturating_sub(1);
    compared.pieces.iter().enumerate().any(|(i, piece)| {
        piece.contains("/../")
            || piece.contains("/./")
            || i == last && (piece.ends_with("/..") || piece.ends_with("/."))
    })
}

pub(super) fn is_host(text: &str) -> bool {
    !text.ends_with('.') && url::Host::parse(text).is_ok_and(|host| host.to_string() == text)
}

/// The canonical form of an origin; none where it is not one, or has more than an origin has.
pub(super) fn canonical_origin(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    (bare && matches!(url.scheme(), "https" | "http") && url.has_host())
        .then(|| url.origin().ascii_serialization())
}

/// `context.method` of `{".": {"left": {"Var": "context"}, "attr": "method"}}`.
pub(super) fn key_of(tree: &Value) -> Option<String> {
    if let Some(name) = tree.get("Var").and_then(Value::as_str) {
        return Some(name.to_owned());
    }
    let access = tree.get(".")?;
    let left = key_of(access.get("left")?)?;
    Some(format!("{left}.{}", access.get("attr")?.as_str()?))
}

pub(super) fn pattern(tree: &Value) -> Option<Compared> {
    let mut pieces = vec![String::new()];
    for element in tree.as_array()? {
        match element.get("Literal").and_then(Value::as_str) {
            Some(text) => pieces.last_mut()?.push_str(text),
            None => pieces.push(String::new()),
        }
    }
    Some(Compared {
        exact: pieces.len() == 1,
        pieces,
    })
}
