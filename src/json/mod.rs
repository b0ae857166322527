//! JSON from outside, read once and strictly: what policy judges is what the plugin gets.
//!
//! `serde_json::Value` silently keeps the last of two equal keys, so two readers of one text may
//! judge and run different things. Everything that an agent sends is read here instead: duplicate
//! keys, numbers without an exact form, and excess in depth or size are refused, and what remains
//! has one canonical form (RFC 8785), whose SHA-256 stands in the journal.

mod canonical;
mod clean;
pub(crate) mod plain;
mod strict;

pub use canonical::canonical;
pub(crate) use canonical::{write as write_canonical, write_string as write_canonical_string};
pub(crate) use clean::{clean, clean_text};
pub use strict::{Fault, FaultKind, Limits, Over, parse, parse_any_number};

use std::sync::Arc;

use serde_json::Value;

use crate::digest::Digest;
use crate::limits::reached;
use crate::reason::{Reason, Refusal};

/// A call's arguments: an object, its canonical text, and the digest of that text.
#[derive(Debug, Clone)]
pub struct Arguments {
    value: Arc<Value>,
    canonical: Arc<str>,
    digest: Digest,
}

impl Arguments {
    /// Reads arguments.
    ///
    /// # Errors
    ///
    /// An `args.*` refusal: not JSON, not an object, a duplicate key, a number that is not exact,
    /// or more than `limits` allows.
    pub fn parse(text: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let value = parse(text, limits).map_err(Refusal::from)?;
        if !value.is_object() {
            return Err(Refusal::new(
                Reason::ArgsInvalid,
                "the arguments are not a JSON object",
            ));
        }
        Ok(Self::of(value))
    }

    /// No arguments.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Value::Object(serde_json::Map::new()))
    }

    // INVARIANT: `value` came from `parse`, so that its numbers have a canonical form.
    fn of(value: Value) -> Self {
        let canonical = canonical(&value);
        Self {
            digest: Digest::of(canonical.as_bytes()),
            canonical: canonical.into(),
            value: Arc::new(value),
        }
    }

    /// The object.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The object's members.
    #[must_use]
    pub fn members(&self) -> Option<&serde_json::Map<String, Value>> {
        self.value.as_object()
    }

    /// The text that the plugin gets.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The digest of that text.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let reason = match fault.kind {
            FaultKind::Syntax => Reason::ArgsInvalid,
            FaultKind::DuplicateKey => Reason::ArgsDuplicateKey,
            FaultKind::Number => Reason::ArgsNumber,
            FaultKind::TooDeep => Reason::ArgsTooDeep,
            FaultKind::TooLarge => Reason::ArgsTooLarge,
        };
        let Some(over) = fault.over else {
            return Self::new(reason, fault.message);
        };
        let limit = format!("arguments.{}", over.limit);
        Self::new(reason, reached(&limit, over.used, over.allowed, "")).with_detail(fault.message)
    }
}
