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
#[derive(Clone, Default)]
pub struct Placeholders {
    made: Arc<RwLock<Vec<Placeholder>>>,
}

struct Placeholder {
    text: String,
    name: Arc<str>,
    origin: String,
}

/// Gives the value of a secret by its name.
type Values<'v> = &'v dyn Fn(&str) -> Option<Arc<SecretValue>>;

impl fmt::Debug for Placeholders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list()
            .entries(made.iter().map(|p| &p.name))
            .finish()
    }
}

impl Placeholders {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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
    ) -> Result<String, NoEntropy> {
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.iter().find(|p| *p.name == *name && p.origin == origin) {
            return Ok(known.text.clone());
        }
        let mut random = [0; RANDOM];
        entropy.fill(&mut random)?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        made.push(Placeholder {
            text: text.clone(),
            name: name.into(),
            origin: origin.to_owned(),
        });
        Ok(text)
    }

    /// The names of the secrets whose placeholders stand in the header `header` of a request to
    /// `origin`. Also within `Basic` credentials.
    ///
    /// # Errors
    ///
    /// `secret.binding`, where a placeholder is bound to another origin, or the header carries no
    /// credentials.
    pub fn names(
        &self,
        origin: &str,
        header: &str,
        value: &[u8],
    ) -> Result<Vec<Arc<str>>, Refusal> {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        let mut names = Vec::new();
        if made.is_empty() {
            return Ok(names);
        }
        let decoded = basic(value);
        for placeholder in made.iter() {
            let text = placeholder.text.as_bytes();
            let stands = |value: &[u8]| value.windows(text.len()).any(|w| w == text);
            if stands(value) || decoded.as_ref().is_some_and(|decoded| stands(decoded)) {
                placeholder.fits(origin, header)?;
                names.push(Arc::clone(&placeholder.name));
            }
        }
        Ok(names)
    }

    /// The value of the header `header` with the secrets in the places of their placeholders;
    /// nothing where it has no placeholder of this call.
    ///
    /// To be called last, on what has been decided and searched; `values` gives what was lent for it.
    ///
    /// # Errors
    ///
    /// As for `names`; `secret.unavailable`, where a value can't stand in a header.
    pub fn substitute(
        &self,
        origin: &str,
        header: &str,
        value: &[u8],
        values: Values<'_>,
    ) -> Result<Option<SecretValue>, Refusal> {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        if made.is_empty() {
            return Ok(None);
        }
        if let Some(plain) = replace(&made, origin, header, value, values)? {
            return Ok(Some(SecretValue::new(plain)));
        }
        let Some(user_and_password) = basic(value) else {
            return Ok(None);
        };
        let Some(plain) = replace(&made, origin, header, &user_and_password, values)? else {
            return Ok(None);
        };
        let plain = Zeroizing::new(plain);
        let encoded = Zeroizing::new(STANDARD.encode(&*plain));
        let whole = [b"Basic ".as_slice(), encoded.as_bytes()].concat();
        Ok(Some(SecretValue::new(whole)))
    }
}

impl Placeholder {
    /// Whether it may stand there.
    fn fits(&self, origin: &str, header: &str) -> Result<(), Refusal> {
        let refuse = |message: &'static str| {
            let detail = format!(
                "the secret `{}` is bound to `{}`; the request goes to `{origin}`, in the header `{}`",
                self.name,
                self.origin,
                header.escape_default()
            );
            Err(Refusal::new(Reason::SecretBinding, message).with_detail(detail))
        };
        if self.origin != origin {
            return refuse("the secret is bound to another origin");
        }
        if !HEADERS.iter().any(|h| h.eq_ignore_ascii_case(header)) {
            return refuse("a secret may stand in headers for credentials only");
        }
        Ok(())
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
    values: Values<'_>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut out: Option<Vec<u8>> = None;
    for placeholder in made {
        let text = placeholder.text.as_bytes();
        // Looked for in what the plugin wrote: a value that was put in is never searched.
        if !value.windows(text.len()).any(|w| w == text) {
            continue;
        }
        placeholder.fits(origin, header)?;
        let secret = values(&placeholder.name).ok_or_else(|| {
            Refusal::new(
                Reason::SecretUnavailable,
                "the secret was not lent to this request",
            )
        })?;
        let secret = secret.expose();
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

    fn canary(_: &str) -> Option<Arc<SecretValue>> {
        Some(Arc::new(SecretValue::new(CANARY.into())))
    }

    fn placeholders() -> (Placeholders, String) {
        let placeholders = Placeholders::new();
        let text = placeholders
            .make(&SeededEntropy::default(), "token", ORIGIN)
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
            let names = placeholders.names(ORIGIN, header, given.as_bytes());
            assert_eq!(names.unwrap(), ["token".into()]);
            let done = placeholders.substitute(ORIGIN, header, given.as_bytes(), &canary);
            assert_eq!(done.unwrap().unwrap().expose(), sent.as_bytes());
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
            let value = value.as_bytes();
            let done = placeholders.substitute(ORIGIN, "authorization", value, &canary);
            assert!(done.unwrap().is_none());
            let names = placeholders.names(ORIGIN, "authorization", value);
            assert!(names.unwrap().is_empty());
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
                let refusals = [
                    placeholders.names(origin, header, value.as_bytes()).err(),
                    placeholders
                        .substitute(origin, header, value.as_bytes(), &canary)
                        .err(),
                ];
                for refusal in refusals {
                    let refusal = refusal.unwrap();
                    assert_eq!(refusal.reason, Reason::SecretBinding);
                    assert!(!refusal.message.contains("github"));
                }
            }
        }
    }

    #[test]
    fn each_secret_has_one_and_calls_share_none() {
        let (one, text) = placeholders();
        let entropy = SeededEntropy(9.into());
        assert_eq!(one.make(&entropy, "token", ORIGIN).unwrap(), text);
        let other = one.make(&entropy, "other", ORIGIN).unwrap();
        assert_ne!(other, text);
        let two = Placeholders::new();
        two.make(&entropy, "token", ORIGIN).unwrap();
        assert!(
            two.substitute(ORIGIN, "authorization", text.as_bytes(), &canary)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_value_with_a_line_break_and_one_that_was_not_lent_stay_home() {
        let (placeholders, text) = placeholders();
        let broken = |_: &str| Some(Arc::new(SecretValue::new(b"canary\r\nx: y".to_vec())));
        let nothing = |_: &str| None;
        for values in [&broken as Values<'_>, &nothing] {
            let refusal = placeholders
                .substitute(ORIGIN, "authorization", text.as_bytes(), values)
                .unwrap_err();
            assert_eq!(refusal.reason, Reason::SecretUnavailable);
        }
    }

    #[test]
    fn none_is_shown() {
        let (placeholders, text) = placeholders();
        let done = placeholders
            .substitute(ORIGIN, "x-api-key", text.as_bytes(), &canary)
            .unwrap();
        let shown = format!("{placeholders:?} {done:?}");
        assert!(
            !shown.contains("canary") && !shown.contains(&text),
            "{shown}"
        );
    }
}
