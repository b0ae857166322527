//! Which of two versions is the older one: so that an old component does not come back unnoticed.
//!
//! A signed statement gives its component a number that only grows. Without one, what the plugin
//! says of its version is compared, where both can be read. That is no proof, and needs none: a
//! change waits for the operator whatever it says, and what is brought back to use its old flaws is
//! the old file itself, which tells its own version. Who writes another file need not look old.

use std::cmp::Ordering;

use super::diff::Side;

/// The two versions, the accepted one first, where `found` is the older one.
pub(super) fn older(accepted: &Side, found: &Side) -> Option<(String, String)> {
    if let (Some(old), Some(new)) = (&accepted.signed, &found.signed) {
        return (new.version < old.version)
            .then(|| (old.version.to_string(), new.version.to_string()));
    }
    let (old, new) = (
        Version::parse(&accepted.version)?,
        Version::parse(&found.version)?,
    );
    (new.compare(&old) == Ordering::Less).then(|| (accepted.version.clone(), found.version.clone()))
}

/// `1.2.3`, `v1.2`, `1.2.3-rc.1+build`.
#[derive(Debug, PartialEq, Eq)]
struct Version<'a> {
    numbers: Vec<u64>,
    before_release: Option<&'a str>,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split('+').next().unwrap_or(text);
        let (numbers, before_release) = match text.split_once('-') {
            Some((numbers, rest)) => (numbers, Some(rest)),
            None => (text, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let mut numbers: Vec<u64> = numbers
            .split('.')
            .map(|part| digits(part).then(|| part.parse().ok())?)
            .collect::<Option<_>>()?;
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        Some(Self {
            numbers,
            before_release,
        })
    }

    /// Two candidates of one release are not told apart.
    fn compare(&self, other: &Self) -> Ordering {
        let released = |version: &Self| version.before_release.is_none();
        self.numbers
            .cmp(&other.numbers)
            .then(released(self).cmp(&released(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::state::Signed;

    fn side(version: &str, signed: Option<u64>) -> Side {
        Side {
            component: Digest::of(b""),
            version: version.to_owned(),
            signed: signed.map(|version| Signed {
                key: "acme".into(),
                version,
            }),
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        for (accepted, found, is_older) in [
            ("1.2.0", "1.1.9", true),
            ("1.10", "1.9", true),
            ("1.9", "1.10", false),
            ("v2", "v1.9.9", true),
            ("1.0", "1", false),
            ("1", "1.0.0", false),
            ("1.0.0", "1.0.0-rc.1", true),
            ("1.0.0-rc.2", "1.0.0-rc.1", false),
            ("1.0.0+b", "1.0.0+a", false),
            ("2024-01", "2023-01", true),
            // What can't be read is not guessed at.
            ("latest", "1.0", false),
            ("1.0", "", false),
            ("1..0", "0", false),
            ("99999999999999999999", "1", false),
        ] {
            let found = older(&side(accepted, None), &side(found, None));
            assert_eq!(found.is_some(), is_older, "{accepted} {found:?}");
        }
    }

    #[test]
    fn a_signed_version_goes_before_what_the_plugin_says() {
        assert!(older(&side("1", Some(7)), &side("2", Some(6))).is_some());
        assert!(older(&side("2", Some(6)), &side("1", Some(7))).is_none());
        assert!(older(&side("2", Some(6)), &side("1", None)).is_some());
    }
}
