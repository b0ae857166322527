//! Secrets: where their values come from, and where they must never go.
//!
//! A secret belongs to a plugin and is named `<plugin>/<name>`. A plugin gets a handle or a
//! placeholder, and the host puts the value in on the way out, towards the bound origin only. What
//! was lent to a call is searched for in everything that the call sends and returns.

mod aside;
mod forms;
mod lent;
mod placeholder;
mod scan;
mod source;
mod store;
mod value;
mod views;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

pub use aside::aside;
pub use forms::SHORTEST as SHORTEST_SEARCHED;
pub use lent::{Found, Lent};
pub use placeholder::{HEADERS as PLACEHOLDER_HEADERS, Placeholders, Substituted};
pub use source::{SecretSource, SourceError};
pub use store::{Store, StoreError};
pub use value::{MAX_VALUE, SecretValue};

use crate::config::{Config, SecretPlace};
use crate::entropy::SharedEntropy;
use crate::home::Home;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};

/// Every secret that the host can lend.
#[derive(Clone)]
pub struct Secrets {
    store: Store,
    configured: BTreeMap<(PluginName, String), Arc<dyn SecretSource>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("store", &self.store.path())
            .field("configured", &self.configured.keys())
            .finish_non_exhaustive()
    }
}

impl Secrets {
    /// The secrets of `home`, from where `config` says. Cheap: made anew when the configuration changes.
    #[must_use]
    pub fn new(home: &Home, config: &Config, entropy: SharedEntropy) -> Self {
        Self::with_variables(home, config, entropy, |name| std::env::var_os(name))
    }

    /// The same, with another way to look up environment variables.
    #[must_use]
    pub fn with_variables(
        home: &Home,
        config: &Config,
        entropy: SharedEntropy,
        lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Self {
        let lookup = Arc::new(lookup);
        let configured = config
            .secret_places()
            .filter_map(|(plugin, name, place)| {
                let source: Arc<dyn SecretSource> = match place {
                    SecretPlace::Store => return None,
                    SecretPlace::Variable(variable) => Arc::new(source::Variable {
                        name: variable.clone(),
                        lookup: Arc::clone(&lookup) as _,
                    }),
                    SecretPlace::File(path) => Arc::new(source::File { path: path.clone() }),
                };
                Some(((plugin.clone(), name.to_owned()), source))
            })
            .collect();
        Self {
            store: Store::new(home, entropy),
            configured,
        }
    }

    /// The value of the secret `name` of `plugin`. May read a file: from async code, in `spawn_blocking`.
    ///
    /// # Errors
    ///
    /// `secret.not_granted`, the very same as for one that policy does not grant, where there is none;
    /// `secret.unavailable` where its source failed. Why is in the detail, for the operator.
    pub fn get(&self, plugin: &PluginName, name: &str) -> Result<SecretValue, Refusal> {
        let source: &dyn SecretSource = self
            .configured
            .get(&(plugin.clone(), name.to_owned()))
            .map_or(&self.store, |s| &**s);
        source.get(plugin, name).map_err(|e| match e {
            SourceError::Missing(detail) => not_granted().with_detail(detail),
            SourceError::Unavailable(detail) => Refusal::new(
                Reason::SecretUnavailable,
                "the secret can't be had at the moment; only the operator can see why",
            )
            .with_detail(detail),
        })
    }

    /// The host's own store, for the operator's commands.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
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
