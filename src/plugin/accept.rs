//! The operator accepts a plugin that waits: exactly the one that was shown.

use std::sync::Arc;

use super::admission::pin_of;
use super::catalogue::Status;
use super::diff::Diff;
use super::load::Plugin;
use super::registry::{Registry, about};
use crate::config::Config;
use crate::digest::Digest;
use crate::journal::record::Changed;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};
use crate::state::{AcceptedBy, Pin};

/// What the operator names of what is accepted, so that nothing else is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown {
    /// The digest of the changes that were shown.
    pub(crate) diff: Option<Digest>,
    /// The digest of the component; to go back to an older one, it has to be named.
    pub(crate) component: Option<Digest>,
}

/// A plugin as the folder holds it, and what was accepted of it.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// What was accepted.
    pub(crate) accepted: Option<Pin>,
    /// What would be accepted.
    pub(crate) found: Pin,
    /// The plugin that would serve.
    pub(crate) plugin: Arc<Plugin>,
    /// Why it waits; nothing where it serves.
    pub(crate) why: Option<Refusal>,
}

impl Waiting {
    /// What changed.
    pub(crate) fn diff(&self) -> Diff {
        Diff::between(self.accepted.as_ref(), &self.found)
    }
}

impl Registry {
    /// What there is under this name, and what was accepted of it.
    ///
    /// # Errors
    ///
    /// There is nothing that could be accepted, and why.
    pub(crate) fn waiting(&self, config: &Config, name: &PluginName) -> Result<Waiting, String> {
        let catalogue = self.catalogue();
        let file = format!("{name}.wasm");
        let Some(entry) = catalogue.entries.get(&file) else {
            return Err(format!(
                "there is no `{file}` in `{}`",
                self.folder.display()
            ));
        };
        let (plugin, why) = match (&entry.status, &entry.plugin) {
            (Status::Serving, Some(plugin)) => (plugin, None),
            (Status::Quarantined(refusal), Some(plugin)) => (plugin, Some(refusal.clone())),
            (Status::Loading | Status::Serving, _) => {
                return Err(format!("`{file}` is still being loaded; try again"));
            }
            (Status::Refused(refusal), _) | (Status::Quarantined(refusal), None) => {
                return Err(format!("`{file}` can't serve: {refusal}"));
            }
        };
        Ok(Waiting {
            accepted: self.state.pin(name).map_err(|error| error.to_string())?,
            found: pin_of(config, plugin, self.clock.now(), AcceptedBy::Operator),
            plugin: Arc::clone(plugin),
            why,
        })
    }

    /// Accepts the plugin that waits under this name: from now on it is the pinned one. It is
    /// written down before it is done.
    ///
    /// # Errors
    ///
    /// There is none, it is not the one that was shown, or it can't be written down.
    pub(crate) async fn accept(
        &self,
        config: &Config,
        name: &PluginName,
        shown: Shown,
    ) -> Result<(Digest, Digest), String> {
        let seen = self.looking.lock().await;
        let waiting = self.waiting(config, name)?;
        let (digest, diff) = (waiting.found.component, waiting.diff().digest());
        if shown.component.is_some_and(|named| named != digest) {
            return Err(format!(
                "the component of `{name}` is {digest}, which is not the one that was named"
            ));
        }
        if shown.diff.is_some_and(|shown| shown != diff) {
            return Err(format!(
                "`{name}` changed again since it was shown; see `tollgate plugins diff {name}`"
            ));
        }
        let Some(why) = waiting.why else {
            return Ok((digest, diff));
        };
        if why.reason == Reason::PinRollback && shown.component.is_none() {
            return Err(format!("`{name}` waits: {why}"));
        }
        // While it waited, another plugin may have come to serve under one of its names.
        if let Some(refusal) = self.collision(&waiting.plugin, &seen) {
            return Err(format!("`{name}` can't serve: {refusal}"));
        }
        self.record(Changed {
            diff: Some(diff),
            ..about("plugin.accepted", name.as_str(), Some(digest))
        })
        .map_err(|error| format!("nothing was changed: {error}"))?;
        let (state, pin) = (self.state.clone(), waiting.found);
        tokio::task::spawn_blocking(move || state.set_pin(&pin))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let file = format!("{name}.wasm");
        self.publish(&file, Ok(waiting.plugin), Status::Serving);
        Ok((digest, diff))
    }
}
