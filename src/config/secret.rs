//! `[secret.<plugin>.<name>]`, `[vault]` and `[leases]`: where secrets come from, and on what terms they are lent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::places::{
    GitHubAppSecret, JwtSecret, LeaseTerms, Leases, OAuthSecret, SecretPlace, Vault, VaultLogin,
    VaultSecret,
};
use super::quantity::{Quantity, Unit};

const HOUR: u64 = 3_600_000;

/// One secret: where it is, and how it is lent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Secret {
    pub(super) place: SecretPlace,
    pub(super) terms: LeaseTerms,
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    source: Source,
    // How it is lent.
    per: Option<Per>,
    ttl: Option<Span>,
    uses: Option<u32>,
    // Where it is.
    variable: Option<String>,
    path: Option<String>,
    service: Option<String>,
    account: Option<String>,
    field: Option<String>,
    user_field: Option<String>,
    dynamic: Option<bool>,
    parameters: Option<BTreeMap<String, String>>,
    token_url: Option<String>,
    revocation_url: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    scope: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<String>,
    key_id: Option<String>,
    api: Option<String>,
    app: Option<String>,
    installation: Option<u64>,
    repositories: Option<Vec<String>>,
    permissions: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Debug, Clone, Copy, Default)]
#[serde(rename_all = "kebab-case")]
enum Source {
    Env,
    File,
    #[default]
    Store,
    Keyring,
    Vault,
    Oauth,
    Jwt,
    GithubApp,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Per {
    Call,
    Task,
}

/// A time within what a credential may live.
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity {
            name: "ttl",
            unit: Unit::Time,
            least: 1_000,
            most: 24 * HOUR,
        };
        quantity.read(deserializer).map(Self)
    }
}

impl Table {
    /// The keys that are set, but for those that go with every source.
    fn set(&self) -> Vec<&'static str> {
        let all = [
            ("variable", self.variable.is_some()),
            ("path", self.path.is_some()),
            ("service", self.service.is_some()),
            ("account", self.account.is_some()),
            ("field", self.field.is_some()),
            ("user_field", self.user_field.is_some()),
            ("dynamic", self.dynamic.is_some()),
            ("parameters", self.parameters.is_some()),
            ("token_url", self.token_url.is_some()),
            ("revocation_url", self.revocation_url.is_some()),
            ("client_id", self.client_id.is_some()),
            ("client_secret", self.client_secret.is_some()),
            ("scope", self.scope.is_some()),
            ("issuer", self.issuer.is_some()),
            ("subject", self.subject.is_some()),
            ("audience", self.audience.is_some()),
            ("key_id", self.key_id.is_some()),
            ("api", self.api.is_some()),
            ("app", self.app.is_some()),
            ("installation", self.installation.is_some()),
            ("repositories", self.repositories.is_some()),
            ("permissions", self.permissions.is_some()),
        ];
        all.into_iter()
            .filter(|(_, is_set)| *is_set)
            .map(|(key, _)| key)
            .collect()
    }

    fn terms(&self) -> LeaseTerms {
        LeaseTerms {
            per_task: self.per == Some(Per::Task),
            ttl: self.ttl.as_ref().map(|span| span.0),
            uses: self.uses,
        }
    }

    /// Refuses every key that its source does not know, and asks for those that it needs.
    fn known(&self, needed: &[&str], optional: &[&str]) -> Result<(), String> {
        let source = self.source.name();
        let set = self.set();
        if let Some(missing) = needed.iter().find(|key| !set.contains(*key)) {
            return Err(format!(
                "a secret with `source = \"{source}\"` needs `{missing}`"
            ));
        }
        let other = set
            .iter()
            .find(|key| !needed.contains(*key) && !optional.contains(*key));
        match other {
            None => Ok(()),
            Some(other) => Err(format!(
                "a secret with `source = \"{source}\"` has no use for `{other}`"
            )),
        }
    }

    fn place(self) -> Result<SecretPlace, String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Ok(match self.source {
            Source::Store => {
                if !self.set().is_empty() {
                    return Err(
                        "a secret with `source = \"store\"` needs nothing else: set its value with `tollgate secret set`".into(),
                    );
                }
                SecretPlace::Store
            }
            Source::Env => {
                if self.set() != ["variable"] {
                    return Err(
                        "a secret with `source = \"env\"` needs `variable`, and nothing else"
                            .into(),
                    );
                }
                let variable = text(&self.variable);
                let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
                if variable.is_empty() || !variable.bytes().all(letters) {
                    return Err("`variable` can't be an environment variable's name: use letters, digits and `_`".into());
                }
                SecretPlace::Variable(variable)
            }
            Source::File => {
                if self.set() != ["path"] {
                    return Err(
                        "a secret with `source = \"file\"` needs `path`, and nothing else".into(),
                    );
                }
                SecretPlace::File(PathBuf::from(text(&self.path)))
            }
            Source::Keyring => {
                self.known(&["service", "account"], &[])?;
                SecretPlace::Keyring {
                    service: text(&self.service),
                    account: text(&self.account),
                }
            }
            Source::Vault => {
                self.known(&["path", "field"], &["user_field", "dynamic", "parameters"])?;
                let path = text(&self.path);
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
                let is_path = !path.is_empty()
                    && path.bytes().all(plain)
                    && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
                if !is_path {
                    return Err("`path` is no path of the API: write `secret/data/app` or `database/creds/reader`, without `/v1/`".into());
                }
                // Version 2 of the key-value engine has `data` there, and no engine of
                // credentials does.
                let is_kv = path.split('/').nth(1) == Some("data");
                SecretPlace::Vault(VaultSecret {
                    dynamic: self.dynamic.unwrap_or(!is_kv),
                    field: text(&self.field),
                    user_field: self.user_field,
                    parameters: self.parameters.unwrap_or_default(),
                    path,
                })
            }
            Source::Oauth => {
                self.known(
                    &["token_url", "client_id"],
                    &["revocation_url", "client_secret", "scope"],
                )?;
                let revocation_url = self.revocation_url.as_deref();
                SecretPlace::OAuth(OAuthSecret {
                    token_url: own_url("token_url", &text(&self.token_url))?,
                    revocation_url: revocation_url
                        .map(|url| own_url("revocation_url", url))
                        .transpose()?,
                    client_id: text(&self.client_id),
                    client_secret: self.client_secret,
                    scope: self.scope,
                })
            }
            Source::Jwt => {
                self.known(&["issuer", "subject", "audience"], &["key_id"])?;
                SecretPlace::Jwt(JwtSecret {
                    issuer: text(&self.issuer),
                    subject: text(&self.subject),
                    audience: text(&self.audience),
                    key_id: self.key_id,
                })
            }
            Source::GithubApp => {
                self.known(
                    &["app", "installation"],
                    &["api", "repositories", "permissions"],
                )?;
                let api = self
                    .api
                    .unwrap_or_else(|| String::from("https://api.github.com"));
                SecretPlace::GitHubApp(GitHubAppSecret {
                    api: own_base("api", &api)?,
                    app: text(&self.app),
                    installation: self.installation.unwrap_or_default(),
                    repositories: self.repositories.unwrap_or_default(),
                    permissions: self.permissions.unwrap_or_default(),
                })
            }
        })
    }
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::File => "file",
            Self::Store => "store",
            Self::Keyring => "keyring",
            Self::Vault => "vault",
            Self::Oauth => "oauth",
            Self::Jwt => "jwt",
            Self::GithubApp => "github-app",
        }
    }
}

/// What the paths of an API are put after, without a slash at its end.
fn own_base(key: &str, text: &str) -> Result<String, String> {
    own_url(key, text.trim_end_matches('/'))
}

/// A URL that the host itself asks, as it is written.
fn own_url(key: &str, text: &str) -> Result<String, String> {
    match crate::egress::CanonicalUrl::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(refusal) => Err(format!(
            "`{key}` is no URL that can be asked: {}",
            refusal.message
        )),
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = Table::deserialize(deserializer)?;
        let terms = table.terms();
        if terms.uses == Some(0) {
            return Err(D::Error::custom(
                "`uses` is 0: a credential that can't be used is none",
            ));
        }
        let place = table.place().map_err(D::Error::custom)?;
        Ok(Self { place, terms })
    }
}

/// `[vault]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultTable {
    address: String,
    namespace: Option<String>,
    token_file: Option<PathBuf>,
    role_id: Option<String>,
    secret_id_file: Option<PathBuf>,
    mount: Option<String>,
    policies: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for Vault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = VaultTable::deserialize(deserializer)?;
        let login = match (table.token_file, table.role_id, table.secret_id_file) {
            (Some(file), None, None) if table.mount.is_none() => VaultLogin::TokenFile(file),
            (None, Some(role_id), Some(secret_id_file)) => VaultLogin::AppRole {
                mount: table.mount.unwrap_or_else(|| String::from("approle")),
                role_id,
                secret_id_file,
            },
            _ => {
                return Err(D::Error::custom(
                    "`[vault]` needs `token_file`, or `role_id` and `secret_id_file` (and `mount`, where AppRole is not at `approle`)",
                ));
            }
        };
        Ok(Self {
            address: own_base("address", &table.address).map_err(D::Error::custom)?,
            namespace: table.namespace,
            login,
            policies: table.policies.unwrap_or_default(),
        })
    }
}

/// `[leases]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct LeasesTable {
    pending: Option<u32>,
    ttl: Option<Span>,
}

impl<'de> Deserialize<'de> for Leases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = LeasesTable::deserialize(deserializer)?;
        let default = Self::default();
        Ok(Self {
            most_pending: table
                .pending
                .map_or(default.most_pending, |most| most as usize),
            ttl: table.ttl.map_or(default.ttl, |span| span.0),
        })
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
