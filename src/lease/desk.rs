//! Where leases come from and go back to: the secrets in force, or what a test puts in their place.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use crate::config::{LeaseTerms, Leases as Settings};
use crate::name::PluginName;
use crate::secret::{Secrets, Source, SourceError};

/// The secrets in force, which change with the configuration.
pub(crate) type SharedSecrets = Arc<ArcSwap<Secrets>>;

/// Finds sources, and takes back.
#[async_trait]
pub(crate) trait Desk: Send + Sync {
    /// Where the secret `name` of `plugin` comes from, and on what terms it is lent.
    fn source(&self, plugin: &PluginName, name: &str) -> (Arc<dyn Source>, LeaseTerms);
    /// What holds for all leases.
    fn settings(&self) -> Settings;
    /// Takes back what `handle` stands for, which a source of this kind gave.
    async fn revoke(&self, kind: &str, handle: &str) -> Result<(), SourceError>;
}

#[async_trait]
impl Desk for ArcSwap<Secrets> {
    fn source(&self, plugin: &PluginName, name: &str) -> (Arc<dyn Source>, LeaseTerms) {
        self.load().source(plugin, name)
    }

    fn settings(&self) -> Settings {
        self.load().settings()
    }

    async fn revoke(&self, kind: &str, handle: &str) -> Result<(), SourceError> {
        let secrets = self.load_full();
        secrets.revoke(kind, handle).await
    }
}
