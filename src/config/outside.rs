//! `[admin]` and `[[webhook]]`: how people outside of the terminal hear of approvals, and answer them.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::SecretPlace;
use super::file::Address;
use super::secret::Secret;

/// The listener of the admin API and the approval page.
///
/// Off unless the file has an `[admin]` table: what nobody asked for does not listen, two homes on
/// one machine do not fight for a port, and without it approvals are answered with `tollgate
/// approvals` all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How people's browsers reach it, without a slash at the end: `https://approve.example`. Where
    /// it is not set, `http://` and the address that it listens on.
    pub url: Option<String>,
    /// Further values of `Host` that are answered.
    pub allowed_hosts: Vec<String>,
}

/// A server that is told of each new hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to.
    pub url: String,
    /// The key that signs what is sent.
    pub secret: SecretPlace,
}

/// `[admin]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AdminTable {
    listen: Option<Spanned<Address>>,
    url: Option<Base>,
    allowed_hosts: Vec<String>,
}

impl AdminTable {
    pub(super) fn admin(&self) -> Admin {
        Admin {
            // Beside the endpoint for agents, and on loopback: credentials go over it in the clear.
            listen: self.listen.as_ref().map_or_else(
                || SocketAddr::from(([127, 0, 0, 1], 8788)),
                |l| l.get_ref().0,
            ),
            url: self.url.as_ref().map(|url| url.0.clone()),
            allowed_hosts: self.allowed_hosts.clone(),
        }
    }
}

/// `[[webhook]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookTable {
    url: Target,
    pub(super) secret: Place,
}

impl WebhookTable {
    pub(super) fn webhook(&self) -> Webhook {
        Webhook {
            url: self.url.0.clone(),
            secret: self.secret.0.clone(),
        }
    }
}

/// The origin under which browsers reach the admin listener.
#[derive(Debug, Clone, PartialEq)]
struct Base(String);

impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || {
            D::Error::custom(format_args!(
                "`{}` is not where browsers can reach the approval page: write \"https://<host>\", without user, path or query (or `http` on loopback)",
                text.escape_default()
            ))
        };
        let url = url::Url::parse(&text).map_err(|_| wrong())?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if !bare || url.host_str().is_none() || !safe(&url) {
            return Err(wrong());
        }
        Ok(Self(url.origin().ascii_serialization()))
    }
}

/// Where events are sent.
#[derive(Debug, Clone, PartialEq)]
struct Target(String);

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Without the text: such URLs often carry a token.
        let wrong = || {
            D::Error::custom(
                "`url` is not where a webhook can be sent: write \"https://<host>/<path>\", without user or fragment (or `http` on loopback)",
            )
        };
        let url = url::Url::parse(&text).map_err(|_| wrong())?;
        let plain =
            url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !plain || url.host_str().is_none() || !safe(&url) {
            return Err(wrong());
        }
        Ok(Self(url.into()))
    }
}

/// The URL of a service that the host speaks to, without a slash at the end; nothing where it has a user,
/// a query or a fragment, or what goes there can be read on the way.
pub(super) fn service(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    (plain && url.host_str().is_some() && safe(&url))
        .then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// Whether what goes there can't be read on the way.
fn safe(url: &url::Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", _) => true,
        ("http", Some(url::Host::Ipv4(ip))) => ip.is_loopback(),
        ("http", Some(url::Host::Ipv6(ip))) => ip.is_loopback(),
        ("http", Some(url::Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

/// A place outside of the host's own store, whose secrets belong to plugins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place(pub(super) SecretPlace);

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Secret::deserialize(deserializer)?.place {
            place @ (SecretPlace::File(_) | SecretPlace::Variable(_)) => Ok(Self(place)),
            _ => Err(D::Error::custom(
                "a secret that goes along is in a file or a variable: write `{ source = \"file\", path = \"…\" }` or `{ source = \"env\", variable = \"…\" }`",
            )),
        }
    }
}

impl WebhookTable {
    /// Makes a relative path start from `folder`.
    pub(super) fn within(&mut self, folder: &std::path::Path) {
        if let SecretPlace::File(path) = &mut self.secret.0 {
            *path = PathBuf::from(folder).join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("/home/tollgate.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_listens_that_was_not_asked_for() {
        assert_eq!(read("").unwrap().admin, None);
        let admin = read("[admin]").unwrap().admin.unwrap();
        assert_eq!(admin.listen.to_string(), "127.0.0.1:8788");
        assert_eq!(admin.url, None);
        let admin = read("[admin]\nlisten = \"127.0.0.1:0\"\nurl = \"https://Approve.example/\"")
            .unwrap()
            .admin
            .unwrap();
        assert_eq!(admin.url.as_deref(), Some("https://approve.example"));
    }

    #[test]
    fn a_page_that_can_be_read_on_the_way_is_refused() {
        for url in [
            "http://approve.example",
            "https://approve.example/x",
            "https://a@approve.example",
            "https://approve.example?x",
            "approve.example",
            "ftp://approve.example",
        ] {
            let said = read(&format!("[admin]\nurl = \"{url}\"")).unwrap_err();
            assert!(said.contains("approval page"), "{url}: {said}");
        }
        for url in [
            "http://127.0.0.1:9",
            "http://[::1]:9",
            "http://localhost:9",
            "https://a.example:9",
        ] {
            assert!(read(&format!("[admin]\nurl = \"{url}\"")).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_listener_that_others_can_reach_wants_tls() {
        let found = |text: &str| {
            let found = read(text).unwrap().findings(&Default::default());
            found
                .into_iter()
                .map(|found| format!("{}: {}", found.line, found.message))
                .collect::<Vec<_>>()
        };
        assert_eq!(found("[admin]"), [""; 0]);
        let open = found("[admin]\nlisten = \"0.0.0.0:1\"");
        assert!(
            open.len() == 1 && open[0].starts_with("2: ") && open[0].contains("TLS"),
            "{open:?}"
        );
        let behind = "[admin]\nlisten = \"0.0.0.0:1\"\nurl = \"https://approve.example\"";
        assert_eq!(found(behind), [""; 0]);
    }

    #[test]
    fn a_webhook_has_a_url_and_a_place_for_its_key() {
        let hook = |url: &str, secret: &str| {
            read(&format!(
                "[[webhook]]\nurl = \"{url}\"\nsecret = {{ {secret} }}\n"
            ))
        };
        let file = "source = \"file\", path = \"hook.key\"";
        let config = hook("https://hooks.example/x?token=1", file).unwrap();
        assert_eq!(
            config.webhooks[0].secret,
            SecretPlace::File("/home/hook.key".into())
        );
        assert!(hook("http://127.0.0.1:9/x", file).is_ok());
        let said = hook("http://hooks.example/SECRET", file).unwrap_err();
        assert!(!said.contains("SECRET"), "{said}");
        assert!(hook("https://hooks.example/", "source = \"store\"").is_err());
        assert!(read("[[webhook]]\nurl = \"https://hooks.example/\"").is_err());
    }
}
