//! Placeholders: random texts that stand for lent values in headers, until the host puts those in.
//!
//! For code that builds its own headers (over `wasi:http`). A placeholder is worth nothing but in
//! a request to the bound origin, in a header that carries credentials, and within its call; so a
//! plugin that prints, stores or sends it elsewhere gives nothing away.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::lent::Lent;
use super::value::SecretValue;
use crate::entropy::{Entropy, NoEntropy};
use crate::reason::{Reason, Refusal};

const PREFIX: &str = "tgp_";
/// 192 random bits: nobody meets one by chance. They are 32 letters.
const RANDOM: usize = 24;

/// The headers that carry credentials, in lower case. In any other a value may be logged, cached or
/// echoed by whatever stands between.
pub const HEADERS: &[&str] = &[
    "authorization",
    "api-key",
    "private-token",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
];

/// The placeholders of one call. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Placeholders {
    lent: Lent,
    made: Arc<RwLock<Vec<Placeholder>>>,
}

struct Placeholder {
    text: String,
    name: Arc<str>,
    origin: String,
    value: Arc<SecretValue>,
}

impl fmt::Debug for Placeholders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list()
            .entries(made.iter().map(|p| &p.name))
            .finish()
    }
}

/// A header's value with the secrets in their places.
#[derive(Debug)]
pub struct Substituted {
    /// What goes to the wire, and nowhere else.
    pub value: SecretValue,
    /// The names of the secrets in it, for the record.
    pub names: Vec<Arc<str>>,
}

impl Placeholders {
    /// None yet. Values that get one are searched for with `lent` from then on.
    #[must_use]
    pub fn new(lent: Lent) -> Self {
        Self {
            lent,
            made: Arc::default(),
        }
    }

    /// The placeholder of the secret `name`, bound to `origin` in canonical form; the same each time.
    ///
    /// # Errors
    ///
    /// There are no random bytes.
    pub fn make(
        &self,
        entropy: &dyn Entropy,
        name: &str,
        origin: &str,
        value: &Arc<SecretValue>,
    ) -> Result<String, NoEntropy> {
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.iter().find(|p| *p.name == *name && p.origin == origin) {
            return Ok(known.text.clone());
        }
        let mut random = [0; RANDOM];
        entropy.fill(&mut random)?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        self.lent.lend(name, Arc::clone(value));
        made.push(Placeholder {
            text: text.clone(),
            name: name.into(),
            origin: origin.to_owned(),
            value: Arc::clone(value),
        });
        Ok(text)
    }

    /// The value of the header `header` of a request to `origin` with the secrets in the places of
    /// their placeholders; nothing where it has no placeholder of this call.
    ///
    /// Also within `Basic` credentials. To be called last, on what has been decided and searched.
    ///
    /// # Errors
    ///
    /// `secret.binding`, where a placeholder is bound to another origin, or the header carries no
    /// credentials; `secret.unavailable`, where a value can't stand in a header.
    pub fn substitute(
        &self,
        origin: &str,
        header: &str,
        value: &[u8],
    ) -> Result<Option<Substituted>, Refusal> {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        if made.is_empty() {
            return Ok(None);
        }
        let mut names = Vec::new();
        if let Some(plain) = replace(&made, origin, header, value, &mut names)? {
            return Ok(Some(Substituted {
                value: SecretValue::new(plain),
                names,
            }));
        }
        let Some(user_and_password) = basic(value) else {
            return Ok(None);
        };
        let Some(plain) = replace(&made, origin, header, &user_and_password, &mut names)? else {
            return Ok(None);
        };
        let plain = Zeroizing::new(plain);
        let encoded = Zeroizing::new(STANDARD.encode(&*plain));
        Ok(Some(Substituted {
            value: SecretValue::new([b"Basic ".as_slice(), encoded.as_bytes()].concat()),
            names,
        }))
    }
}

/// The decoded credentials of `Basic`.
fn basic(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    STANDARD.decode(rest.trim_ascii()).ok().map(Zeroizing::new)
}

fn replace(
    made: &[Placeholder],
    origin: &str,
    header: &str,
    value: &[u8],
    names: &mut Vec<Arc<str>>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut out: Option<Vec<u8>> = None;
    for placeholder in made {
        let text = placeholder.text.as_bytes();
        // Looked for in what the plugin wrote: a value that was put in is never searched.
        if !value.windows(text.len()).any(|w| w == text) {
            continue;
        }
        let refuse = |message: &'static str| {
            let detail = format!(
                "the secret `{}` is bound to `{}`; the request goes to `{origin}`, in the header `{}`",
                placeholder.name,
                placeholder.origin,
                header.escape_default()
            );
            Err(Refusal::new(Reason::SecretBinding, message).with_detail(detail))
        };
        if placeholder.origin != origin {
            return refuse("the secret is bound to another origin");
        }
        if !HEADERS.iter().any(|h| h.eq_ignore_ascii_case(header)) {
            return refuse("a secret may stand in headers for credentials only");
        }
        let secret = placeholder.value.expose();
        if secret.iter().any(|b| *b != b'\t' && b.is_ascii_control()) {
            return Err(Refusal::new(
                Reason::SecretUnavailable,
                "the secret can't stand in a header",
            )
            .with_detail(format!(
                "the value of `{}` has a line break or another control character: set it again without",
                placeholder.name
            )));
        }
        let before = out.map(Zeroizing::new);
        out = Some(put(before.as_ref().map_or(value, |b| b), text, secret));
        names.push(Arc::clone(&placeholder.name));
    }
    Ok(out)
}

/// `within` with `with` in each place of `text`.
fn put(within: &[u8], text: &[u8], with: &[u8]) -> Vec<u8> {
    // Room for all of it at once: a buffer that grows leaves copies of a secret behind.
    let places = within.windows(text.len()).filter(|w| *w == text).count();
    let mut out = Vec::with_capacity(within.len() + places * with.len());
    let mut rest = within;
    while let [first, after @ ..] = rest {
        if let Some(after) = rest.strip_prefix(text) {
            out.extend_from_slice(with);
            rest = after;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    const ORIGIN: &str = "https://api.github.com";
    const CANARY: &str = "canary-9f86d081884c7d65";

    fn placeholders() -> (Placeholders, String) {
        let placeholders = Placeholders::new(Lent::new());
        let value = Arc::new(SecretValue::new(CANARY.into()));
        let text = placeholders
            .make(&SeededEntropy::default(), "token", ORIGIN, &value)
            .unwrap();
        (placeholders, text)
    }

    #[test]
    fn it_becomes_the_value_towards_the_bound_origin() {
        let (placeholders, text) = placeholders();
        assert_eq!((text.len(), text.starts_with(PREFIX)), (36, true));
        for (header, given, sent) in [
            (
                "authorization",
                format!("Bearer {text}"),
                format!("Bearer {CANARY}"),
            ),
            ("X-Api-Key", text.clone(), CANARY.to_owned()),
            (
                "authorization",
                format!("{text}{text}"),
                format!("{CANARY}{CANARY}"),
            ),
            (
                "Authorization",
                format!("basic {}", STANDARD.encode(format!("me:{text}"))),
                format!("Basic {}", STANDARD.encode(format!("me:{CANARY}"))),
            ),
        ] {
            let done = placeholders.substitute(ORIGIN, header, given.as_bytes());
            let done = done.unwrap().unwrap();
            assert_eq!(done.value.expose(), sent.as_bytes());
            assert_eq!(done.names, ["token".into()]);
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        let (placeholders, _) = placeholders();
        let foreign = format!("{PREFIX}{}", "A".repeat(32));
        for value in [
            "",
            "Bearer x",
            "Basic ??",
            "Basic bWU6eA==",
            foreign.as_str(),
        ] {
            let done = placeholders.substitute(ORIGIN, "authorization", value.as_bytes());
            assert!(done.unwrap().is_none(), "{value}");
        }
    }

    #[test]
    fn another_origin_or_header_is_refused() {
        let (placeholders, text) = placeholders();
        let basic = format!("Basic {}", STANDARD.encode(format!("me:{text}")));
        for (origin, header) in [
            ("https://evil.example", "authorization"),
            ("https://api.github.com:8443", "authorization"),
            ("http://api.github.com", "authorization"),
            (ORIGIN, "cookie"),
            (ORIGIN, "user-agent"),
        ] {
            for value in [&text, &basic] {
                let refusal = placeholders.substitute(origin, header, value.as_bytes());
                let refusal = refusal.unwrap_err();
                assert_eq!(refusal.reason, Reason::SecretBinding);
                assert!(!refusal.message.contains("github"));
            }
        }
    }

    #[test]
    fn each_secret_has_one_and_calls_share_none() {
        let (one, text) = placeholders();
        let entropy = SeededEntropy(9.into());
        let value = Arc::new(SecretValue::new(CANARY.into()));
        assert_eq!(one.make(&entropy, "token", ORIGIN, &value).unwrap(), text);
        let other = one.make(&entropy, "other", ORIGIN, &value).unwrap();
        assert_ne!(other, text);
        let two = Placeholders::new(Lent::new());
        two.make(&entropy, "token", ORIGIN, &value).unwrap();
        assert!(
            two.substitute(ORIGIN, "authorization", text.as_bytes())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_value_with_a_line_break_stays_home() {
        let placeholders = Placeholders::new(Lent::new());
        let value = Arc::new(SecretValue::new(b"canary\r\nx: y".to_vec()));
        let text = placeholders
            .make(&SeededEntropy::default(), "t", ORIGIN, &value)
            .unwrap();
        let refusal = placeholders
            .substitute(ORIGIN, "authorization", text.as_bytes())
            .unwrap_err();
        assert_eq!(refusal.reason, Reason::SecretUnavailable);
    }

    #[test]
    fn what_has_a_placeholder_is_searched_for_and_shown_by_nothing() {
        let lent = Lent::new();
        let placeholders = Placeholders::new(lent.clone());
        let value = Arc::new(SecretValue::new(CANARY.into()));
        let text = placeholders
            .make(&SeededEntropy::default(), "token", ORIGIN, &value)
            .unwrap();
        assert_eq!(lent.redact(CANARY).0, "[redacted:token]");
        let done = placeholders
            .substitute(ORIGIN, "x-api-key", text.as_bytes())
            .unwrap();
        let shown = format!("{lent:?} {placeholders:?} {done:?} {value:?}");
        assert!(
            !shown.contains("canary") && !shown.contains(&text),
            "{shown}"
        );
    }
}
