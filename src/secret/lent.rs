//! What was lent to one call, and the search for it in what the call sends and returns.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::forms::{Forms, SHORTEST};
use super::scan::{scan, whole_characters};
use super::value::SecretValue;
use crate::call::{Annotations, Completion, Content, ResourceBody};
use crate::reason::{Reason, Refusal};

/// The values lent to one call. Cheap to clone; all clones are one. While nothing is lent, every
/// search ends at once and costs nothing.
#[derive(Clone, Default)]
pub struct Lent(Arc<RwLock<Inner>>);

#[derive(Default)]
struct Inner {
    values: Vec<(Arc<str>, Arc<SecretValue>)>,
    /// Built for the first search after a value was lent.
    forms: Option<Arc<Searched>>,
}

pub(super) struct Searched {
    names: Vec<Arc<str>>,
    /// Absent where the values are too many for one automaton: then nothing passes.
    forms: Option<Forms>,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// A lent value in a request, where the host did not put it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name of the secret.
    pub name: Arc<str>,
    /// Where: `the URL`, `a header`, `the body`; of a question, `a key` or `the state`.
    pub place: &'static str,
}

impl From<Found> for Refusal {
    fn from(found: Found) -> Self {
        Self::new(
            Reason::SecretInRequest,
            format!("a lent secret stands in {} of the request", found.place),
        )
        .with_detail(format!("the secret `{}`", found.name))
    }
}

impl Lent {
    /// Nothing is lent yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on, `value` is searched for, under the name `name`.
    pub fn lend(&self, name: &str, value: Arc<SecretValue>) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if inner
            .values
            .iter()
            .any(|(n, v)| **n == *name && v.expose() == value.expose())
        {
            return;
        }
        inner.values.push((name.into(), value));
        inner.forms = None;
    }

    /// Whether nothing is lent, so that every search ends at once.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner.values.is_empty()
    }

    /// The names of the secrets lent, in the order of lending.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner
            .values
            .iter()
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }

    /// What to search with, if there is anything to search for.
    pub(super) fn searched(&self) -> Option<Arc<Searched>> {
        {
            let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if inner.values.is_empty() {
                return None;
            }
            if let Some(forms) = &inner.forms {
                return Some(Arc::clone(forms));
            }
        }
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let values: Vec<&[u8]> = inner.values.iter().map(|(_, v)| v.expose()).collect();
        let forms = Arc::new(Searched {
            names: inner
                .values
                .iter()
                .map(|(name, _)| Arc::clone(name))
                .collect(),
            forms: Forms::of(&values).ok(),
        });
        inner.forms = Some(Arc::clone(&forms));
        Some(forms)
    }

    /// `text` without any lent value, and how many stretches were taken out.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> (Cow<'t, str>, u64) {
        let Some(searched) = self.searched() else {
            return (Cow::Borrowed(text), 0);
        };
        let Some(hits) = searched.hits(text.as_bytes(), false) else {
            return (Cow::Borrowed("[redacted]"), 1);
        };
        if hits.is_empty() {
            return (Cow::Borrowed(text), 0);
        }
        let mut out = String::with_capacity(text.len());
        let (mut at, mut count) = (0, 0);
        for (range, name) in hits {
            let range = whole_characters(text, range);
            out.push_str(text.get(at..range.start).unwrap_or_default());
            out.push_str(&mark(name));
            at = at.max(range.end);
            count += 1;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        (Cow::Owned(out), count)
    }

    /// `bytes` without any lent value, and how many stretches were taken out.
    #[must_use]
    pub fn redact_bytes<'b>(&self, bytes: &'b [u8]) -> (Cow<'b, [u8]>, u64) {
        let Some(searched) = self.searched() else {
            return (Cow::Borrowed(bytes), 0);
        };
        let Some(hits) = searched.hits(bytes, false) else {
            return (Cow::Borrowed(b"[redacted]"), 1);
        };
        if hits.is_empty() {
            return (Cow::Borrowed(bytes), 0);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let (mut at, mut count) = (0, 0);
        for (range, name) in hits {
            out.extend_from_slice(bytes.get(at..range.start).unwrap_or_default());
            out.extend_from_slice(mark(name).as_bytes());
            at = range.end;
            count += 1;
        }
        out.extend_from_slice(bytes.get(at..).unwrap_or_default());
        (Cow::Owned(out), count)
    }

    /// Takes lent values out of `text`; how many.
    pub fn redact_in_place(&self, text: &mut String) -> u64 {
        match self.redact(text) {
            (Cow::Owned(clean), count) => {
                *text = clean;
                count
            }
            (Cow::Borrowed(clean), count) if count > 0 => {
                *text = clean.to_owned();
                count
            }
            _ => 0,
        }
    }

    /// Takes lent values out of every text, key and number of `value`; how many.
    pub fn redact_json(&self, value: &mut Value) -> u64 {
        if self.searched().is_none() {
            return 0;
        }
        match value {
            Value::Null | Value::Bool(_) => 0,
            Value::Number(number) => {
                let mut text = number.to_string();
                let count = self.redact_in_place(&mut text);
                if count > 0 {
                    *value = Value::String(text);
                }
                count
            }
            Value::String(text) => self.redact_in_place(text),
            Value::Array(items) => items.iter_mut().map(|item| self.redact_json(item)).sum(),
            Value::Object(members) => {
                let mut count = members.values_mut().map(|v| self.redact_json(v)).sum();
                if members.keys().any(|key| self.redact(key).1 > 0) {
                    let old = std::mem::take(members);
                    for (mut key, member) in old {
                        count += self.redact_in_place(&mut key);
                        members.insert(key, member);
                    }
                }
                count
            }
        }
    }

    /// Takes lent values out of all of a result; how many.
    pub fn redact_completion(&self, completion: &mut Completion) -> u64 {
        if self.searched().is_none() {
            return 0;
        }
        let mut count = 0;
        let Completion {
            content,
            structured,
            is_error: _,
            meta,
        } = completion;
        for block in content {
            count += self.redact_block(block);
        }
        if let Some(value) = structured {
            count += self.redact_json(value);
        }
        let mut members = Value::Object(std::mem::take(meta));
        count += self.redact_json(&mut members);
        if let Value::Object(members) = members {
            *meta = members;
        }
        count
    }

    fn redact_block(&self, block: &mut Content) -> u64 {
        let texts = |texts: Vec<&mut String>| -> u64 {
            texts
                .into_iter()
                .map(|text| self.redact_in_place(text))
                .sum()
        };
        let bytes = |bytes: &mut Vec<u8>| match self.redact_bytes(bytes) {
            (_, 0) => 0,
            (clean, count) => {
                let clean = clean.into_owned();
                *bytes = clean;
                count
            }
        };
        let hints = |hints: &mut Option<Annotations>| {
            let modified = hints.as_mut().and_then(|h| h.last_modified.as_mut());
            modified.map_or(0, |text| self.redact_in_place(text))
        };
        match block {
            Content::Text { text, annotations } => texts(vec![text]) + hints(annotations),
            Content::Image(media) | Content::Audio(media) => {
                bytes(&mut media.data)
                    + texts(vec![&mut media.mime_type])
                    + hints(&mut media.annotations)
            }
            Content::Resource {
                uri,
                mime_type,
                body,
                annotations,
            } => {
                let body = match body {
                    ResourceBody::Text(text) => self.redact_in_place(text),
                    ResourceBody::Blob(blob) => bytes(blob),
                };
                let about = std::iter::once(uri).chain(mime_type).collect();
                body + texts(about) + hints(annotations)
            }
            Content::Link {
                uri,
                name,
                title,
                description,
                mime_type,
                size: _,
                annotations,
            } => {
                let optional = [title, description, mime_type].into_iter().flatten();
                texts([uri, name].into_iter().chain(optional).collect()) + hints(annotations)
            }
        }
    }

    /// The first lent value in a request that the plugin made, before the host puts any in.
    ///
    /// `url` is canonical; header names count as well, and each header stands by itself.
    #[must_use]
    pub fn finds_in_request<'h>(
        &self,
        url: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        body: &[u8],
    ) -> Option<Found> {
        self.finds_in_head(url, headers)
            .or_else(|| self.finds_in_body(body))
    }

    /// The first lent value in `bytes`, which stand at `place`.
    pub(crate) fn finds_in(&self, bytes: &[u8], place: &'static str) -> Option<Found> {
        self.searched()?.first(bytes, false, place)
    }

    /// The first lent value in a request's body, which may be long.
    #[must_use]
    pub fn finds_in_body(&self, body: &[u8]) -> Option<Found> {
        self.searched()?.first(body, false, "the body")
    }

    /// The same for all but the body.
    #[must_use]
    pub fn finds_in_head<'h>(
        &self,
        url: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Option<Found> {
        let searched = self.searched()?;
        let first = |bytes: &[u8], host, place| searched.first(bytes, host, place);
        // A host's name is the part whose letters lose their case; a value there leaves by DNS.
        first(url.as_bytes(), true, "the URL").or_else(|| {
            headers.into_iter().find_map(|(name, value)| {
                // HTTP folds the case of names.
                first(name.as_bytes(), true, "a header").or_else(|| first(value, false, "a header"))
            })
        })
    }
}

impl Searched {
    fn first(&self, bytes: &[u8], host: bool, place: &'static str) -> Option<Found> {
        match self.hits(bytes, host) {
            None => Some(Found {
                name: "unknown".into(),
                place,
            }),
            Some(hits) => hits.first().map(|(_, name)| Found {
                name: (*name).into(),
                place,
            }),
        }
    }

    fn hits(&self, bytes: &[u8], host: bool) -> Option<Vec<(std::ops::Range<usize>, &str)>> {
        let forms = self.forms.as_ref()?;
        // The shortest form of the shortest value is not shorter than this.
        if bytes.len() < SHORTEST {
            return Some(Vec::new());
        }
        let name = |value: usize| self.names.get(value).map_or("unknown", |name| name);
        let hits = scan(forms, bytes, host);
        Some(
            hits.into_iter()
                .map(|hit| (hit.range, name(hit.value)))
                .collect(),
        )
    }
}

fn mark(name: &str) -> String {
    format!("[redacted:{name}]")
}
