//! Strings of bytes that tell what a line says, without reading it.
//!
//! A quote within a string is always written `\"` in a line, and so `"agent":"` followed by an id and a quote
//! can't stand inside of a text that somebody wrote.

use memchr::memmem::{self, Finder};

use super::line;

/// What bounds the value of a member that is a whole string.
const END: &[u8] = b"\"";
/// What may follow an origin in a URL.
const AFTER_ORIGIN: &[u8] = b"/?#\"";
/// What may follow a host in one.
const AFTER_HOST: &[u8] = b":/?#\"";

/// Where an agent stands by its whole identity.
pub(super) const OF_AGENT: &[&str] = &["\"agent\":", "\"subject\":"];
/// Where an agent stands by its name, because an operator named it so.
pub(super) const ABOUT_AGENT: &[&str] = &[
    "\"change\":\"agent.added\",\"subject\":",
    "\"change\":\"agent.rotated\",\"subject\":",
    "\"change\":\"agent.revoked\",\"subject\":",
    "\"change\":\"agent.lifted\",\"subject\":",
    "\"scope\":\"agent\",\"subject\":",
];
/// Where a person stands.
pub(super) const OF_USER: &[&str] = &[
    "\"user\":",
    "\"by\":",
    "\"change\":\"person.added\",\"subject\":",
    "\"change\":\"person.rotated\",\"subject\":",
    "\"change\":\"person.removed\",\"subject\":",
];
/// Where a task stands.
pub(super) const OF_TASK: &[&str] = &["\"task\":", "\"parent\":", "\"subject\":"];
/// Where a plugin stands by its name, as what something was done to.
pub(super) const ABOUT_PLUGIN: &[&str] = &[
    "\"change\":\"plugin.pinned\",\"subject\":",
    "\"change\":\"plugin.accepted\",\"subject\":",
    "\"change\":\"plugin.quarantined\",\"subject\":",
    "\"change\":\"plugin.refused\",\"subject\":",
    "\"change\":\"plugin.removed\",\"subject\":",
    "\"change\":\"plugin.revoked\",\"subject\":",
    "\"change\":\"plugin.lifted\",\"subject\":",
    "\"scope\":\"plugin\",\"subject\":",
];

/// A string of bytes to search for, and what must stand around it.
#[derive(Debug)]
pub(super) struct Needle {
    finder: Finder<'static>,
    /// One of these stands right before it; empty: anything.
    before: &'static [&'static str],
    /// Or it is in the list that is the value of one of these members.
    lists: &'static [&'static str],
    /// One of these bytes comes right behind it; empty: anything.
    after: &'static [u8],
}

impl Needle {
    /// Where it is found in `text` for the first time.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        self.finder.find(text)
    }

    /// Whether what stands around `place`, where it was found, is as it has to be.
    pub(super) fn fits(&self, text: &[u8], place: usize) -> bool {
        let (before, rest) = text.split_at_checked(place).unwrap_or_default();
        let behind = rest.get(self.finder.needle().len());
        let is_bare = self.before.is_empty() && self.lists.is_empty();
        (is_bare
            || self
                .before
                .iter()
                .any(|wanted| before.ends_with(wanted.as_bytes()))
            || self.lists.iter().any(|list| is_in_list(before, list)))
            && (self.after.is_empty() || behind.is_some_and(|byte| self.after.contains(byte)))
    }
}

/// Whether `before`, which ends where a string begins, is within the list that is the value of `list`.
fn is_in_list(before: &[u8], list: &str) -> bool {
    const OPEN: &[u8] = b"\":[";
    if !before.ends_with(b"[") && !before.ends_with(b",") {
        return false;
    }
    let Some(open) = memmem::rfind(before, OPEN) else {
        return false;
    };
    let (head, items) = before.split_at_checked(open).unwrap_or_default();
    let named = head
        .strip_suffix(list.as_bytes())
        .is_some_and(|rest| rest.ends_with(b"\""));
    // Ids and names of persons have no brackets in them: one that closes, closes the list.
    named && !items.contains(&b']')
}

/// The bytes as they are, behind one of `before` and followed by one of `after`.
pub(super) fn needle(
    bytes: &[u8],
    before: &'static [&'static str],
    after: &'static [u8],
) -> Needle {
    Needle {
        finder: Finder::new(bytes).into_owned(),
        before,
        lists: &[],
        after,
    }
}

/// A string that is all of a value: behind one of `before`, or in one of `lists`.
pub(super) fn whole(
    text: &str,
    before: &'static [&'static str],
    lists: &'static [&'static str],
) -> Needle {
    Needle {
        lists,
        ..needle(&line::quoted(text), before, &[])
    }
}

/// The member `key`, whose value is `text`.
pub(super) fn member(key: &str, text: &str) -> Needle {
    start_of(key, text, END)
}

/// The member `key`, whose value starts with `text`, and then comes one of `after`.
pub(super) fn start_of(key: &str, text: &str, after: &'static [u8]) -> Needle {
    let mut bytes = format!("\"{key}\":").into_bytes();
    let quoted = line::quoted(text);
    bytes.extend_from_slice(quoted.strip_suffix(b"\"").unwrap_or(&quoted));
    needle(&bytes, &[], after)
}

/// A place that a host call went to, or a lease is bound to: an origin, or a host.
pub(super) fn origin_needles(origin: &str) -> Vec<Needle> {
    // As browsers show it.
    let origin = origin.strip_suffix('/').unwrap_or(origin);
    let schemes: &[&str] = if origin.contains("://") {
        &[""]
    } else {
        &["https://", "http://"]
    };
    let after = if origin.contains("://") {
        AFTER_ORIGIN
    } else {
        AFTER_HOST
    };
    schemes
        .iter()
        .flat_map(|scheme| {
            let text = format!("{scheme}{origin}");
            ["target", "origin"].map(|key| start_of(key, &text, after))
        })
        .collect()
}
