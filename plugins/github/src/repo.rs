//! Names of repositories, and the paths made of them.
//!
//! The name comes from the agent and goes into a path, so it is held against what GitHub allows; nothing that could
//! end a segment, climb out of it or add a query gets through.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A repository, `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repo {
    owner: String,
    name: String,
}

impl Repo {
    /// Reads `owner/name`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fail = || {
            let shown: String = text
                .chars()
                .filter(|c| !c.is_control() && *c != '`')
                .take(80)
                .collect();
            format!(
                "`{shown}` is not a repository; write it as `owner/name`, such as `rust-lang/rust`"
            )
        };
        let (owner, name) = text.split_once('/').ok_or_else(fail)?;
        // Managed accounts have an underscore in their names; the rest is GitHub's rule for logins.
        let owner_fits = (1..=39).contains(&owner.len())
            && owner
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !owner.starts_with('-');
        let name_fits = (1..=100).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            && name != "."
            && name != "..";
        if owner_fits && name_fits {
            Ok(Self {
                owner: owner.to_owned(),
                name: name.to_owned(),
            })
        } else {
            Err(fail())
        }
    }

    /// `/repos/owner/name` and what follows.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/repos/{}/{}{rest}", self.owner, self.name)
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `?a=b&c=d`, each value percent-encoded.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, KEPT)))
        .collect();
    format!("?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_as_github_allows_them() {
        for name in [
            "rust-lang/rust",
            "a/b",
            "microsoft/vscode.dev",
            "x_corp/a_b-c.d",
            "0/0",
            "a/...",
            "a/.github",
        ] {
            assert_eq!(Repo::parse(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn names_that_could_change_the_path_are_refused() {
        for name in [
            "",
            "a",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a/..",
            "../b",
            "a/.",
            "a/b?x=1",
            "a/b#c",
            "a/b%2f..",
            "a b/c",
            "a/b c",
            "-a/b",
            "a\\b/c",
            "a/b\n",
            "ä/b",
            "a/b\u{0}",
            "a/b@main",
            "https://github.com/a/b",
            "a/b:8080",
            "a//b",
        ] {
            assert!(
                Repo::parse(name)
                    .unwrap_err()
                    .contains("is not a repository"),
                "{name:?}"
            );
        }
        assert!(Repo::parse(&format!("{}/b", "a".repeat(40))).is_err());
        assert!(Repo::parse(&format!("a/{}", "b".repeat(101))).is_err());
        assert!(Repo::parse(&"x".repeat(100_000)).unwrap_err().len() < 300);
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(
            query(&[("q", "a b&c=d#é+"), ("page", "2")]),
            "?q=a%20b%26c%3Dd%23%C3%A9%2B&page=2"
        );
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_two_plain_segments(text in "\\PC{0,20}/\\PC{0,20}") {
            if let Ok(repo) = Repo::parse(&text) {
                let path = repo.path("/issues");
                prop_assert_eq!(path.matches('/').count(), 4);
                prop_assert!(path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.".contains(&b)));
                prop_assert!(!path.contains("/../") && !path.contains("/./"));
            }
        }
    }
}
