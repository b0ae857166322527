//! Secrets: where their values come from, and where they must never go.
//!
//! A secret belongs to a plugin and is named `<plugin>/<name>`. A plugin gets a handle or a
//! placeholder, and the host puts the value in on the way out, towards the bound origin only. What
//! was lent to a call is searched for in everything that the call sends and returns.

mod aside;
mod forms;
mod jws;
mod keyring;
mod lent;
mod minted;
mod oauth;
mod placeholder;
mod reach;
mod scan;
mod source;
mod store;
mod value;
mod vault;
mod views;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

pub use aside::aside;
pub use forms::SHORTEST as SHORTEST_SEARCHED;
pub use lent::{Found, Lent};
pub use placeholder::{HEADERS as PLACEHOLDER_HEADERS, Placeholders};
pub use reach::Reach;
pub use source::{Ask, Issued, Nature, Renewed, SecretSource, Source, SourceError};
pub use store::{Store, StoreError};
pub use value::{MAX_VALUE, SecretValue};

use crate::config::{Config, LeaseTerms, Leases, SecretPlace};
use crate::entropy::SharedEntropy;
use crate::home::Home;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};

/// Every secret that the host can lend.
#[derive(Clone)]
pub struct Secrets {
    store: Store,
    configured: BTreeMap<(PluginName, String), Configured>,
    /// For all that has no place of its own.
    stored: Arc<dyn Source>,
    vault: Option<Arc<vault::Vault>>,
    reach: Option<Reach>,
    settings: Leases,
}

#[derive(Clone)]
struct Configured {
    source: Arc<dyn Source>,
    terms: LeaseTerms,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("store", &self.store.path())
            .field("configured", &self.configured.keys())
            .finish_non_exhaustive()
    }
}

/// Where sources look up environment variables.
type Lookup = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

impl Secrets {
    /// The secrets of `home`, from where `config` says; those from beyond this machine by way of
    /// `reach`, and without it not at all. Cheap: made anew when the configuration changes.
    #[must_use]
    pub fn new(home: &Home, config: &Config, entropy: SharedEntropy, reach: Option<Reach>) -> Self {
        Self::with_variables(home, config, entropy, reach, |name| std::env::var_os(name))
    }

    /// The same, with another way to look up environment variables.
    #[must_use]
    pub fn with_variables(
        home: &Home,
        config: &Config,
        entropy: SharedEntropy,
        reach: Option<Reach>,
        lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Self {
        let lookup: Lookup = Arc::new(lookup);
        let store = Store::new(home, Arc::clone(&entropy));
        let vault = config.vault.as_ref().zip(reach.as_ref());
        let vault =
            vault.map(|(vault, reach)| Arc::new(vault::Vault::new(vault.clone(), reach.clone())));
        let stored: Arc<dyn Source> = Arc::new(source::Local {
            kind: "store",
            source: Arc::new(store.clone()),
        });
        let source = |place: &SecretPlace| -> Arc<dyn Source> {
            let local =
                |kind, source: Arc<dyn SecretSource>| Arc::new(source::Local { kind, source });
            match (place, &reach) {
                (SecretPlace::Store, _) => Arc::clone(&stored),
                (SecretPlace::Variable(variable), _) => {
                    let name = variable.clone();
                    let lookup = Arc::clone(&lookup);
                    local("env", Arc::new(source::Variable { name, lookup }))
                }
                (SecretPlace::File(path), _) => {
                    local("file", Arc::new(source::File { path: path.clone() }))
                }
                (SecretPlace::Keyring { service, account }, _) => Arc::new(keyring::Keyring {
                    service: service.clone(),
                    account: account.clone(),
                }),
                (SecretPlace::Vault(secret), _) => match &vault {
                    Some(vault) => Arc::new(vault::VaultSource {
                        vault: Arc::clone(vault),
                        secret: secret.clone(),
                    }),
                    None => Arc::new(source::Nowhere("vault", "`tollgate.toml` has no `[vault]`")),
                },
                (SecretPlace::OAuth(config), Some(reach)) => Arc::new(oauth::OAuth {
                    config: config.clone(),
                    store: store.clone(),
                    reach: reach.clone(),
                }),
                (SecretPlace::Jwt(config), Some(reach)) => Arc::new(minted::Jwt {
                    config: config.clone(),
                    store: store.clone(),
                    reach: reach.clone(),
                    entropy: Arc::clone(&entropy),
                }),
                (SecretPlace::GitHubApp(config), Some(reach)) => Arc::new(minted::GitHubApp {
                    config: config.clone(),
                    store: store.clone(),
                    reach: reach.clone(),
                }),
                (_, None) => Arc::new(source::Nowhere(
                    "none",
                    "nothing beyond this machine is asked here",
                )),
            }
        };
        let configured = config
            .secret_places()
            .map(|(plugin, name, place)| {
                let secret = Configured {
                    source: source(place),
                    terms: config.secret_terms(plugin, name),
                };
                ((plugin.clone(), name.to_owned()), secret)
            })
            .collect();
        Self {
            configured,
            stored,
            vault,
            reach,
            settings: config.leases,
            store,
        }
    }

    /// Where the secret `name` of `plugin` comes from, and on what terms it is lent.
    #[must_use]
    pub fn source(&self, plugin: &PluginName, name: &str) -> (Arc<dyn Source>, LeaseTerms) {
        match self.configured.get(&(plugin.clone(), name.to_owned())) {
            Some(secret) => (Arc::clone(&secret.source), secret.terms),
            None => (Arc::clone(&self.stored), LeaseTerms::default()),
        }
    }

    /// Takes back what `handle` stands for, which a source of this kind gave.
    ///
    /// # Errors
    ///
    /// It may be alive still.
    pub async fn revoke(&self, kind: &str, handle: &str) -> Result<(), SourceError> {
        match (kind, &self.vault, &self.reach) {
            ("vault", Some(vault), _) => vault.revoke(handle).await,
            ("github-app", _, Some(reach)) => minted::revoke_installation(reach, handle).await,
            ("oauth", _, Some(reach)) => oauth::revoke(&self.store, reach, handle).await,
            _ => Err(SourceError::Unavailable(format!(
                "`tollgate.toml` has no source of the kind `{kind}` any more, and without it nothing can be taken back"
            ))),
        }
    }

    /// What holds for all that is lent.
    #[must_use]
    pub const fn settings(&self) -> Leases {
        self.settings
    }

    /// The host's own store, for the operator's commands.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }
}

/// What a plugin hears of a source that gave nothing; why is for the operator.
pub(crate) fn refused(error: SourceError) -> Refusal {
    match error {
        SourceError::Missing(detail) => not_granted().with_detail(detail),
        SourceError::Unavailable(detail) | SourceError::Uncertain(detail) => Refusal::new(
            Reason::SecretUnavailable,
            "the secret can't be had at the moment; only the operator can see why",
        )
        .with_detail(detail),
    }
}

/// The one refusal of a secret, whether there is none or it is not granted: a plugin can't find out
/// which names exist.
#[must_use]
pub fn not_granted() -> Refusal {
    Refusal::new(
        Reason::SecretNotGranted,
        "no secret of this name is granted to this call",
    )
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod lent_tests;
