//! From a file to a plugin: read once, digested, compiled, described, checked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::describe::{self, ToolSchemas};
use super::description::{Description, Offer, Tool};
use super::folder::{Content, name_of};
use super::signature;
use crate::capability::log::GuestLog;
use crate::config::Config;
use crate::digest::Digest;
use crate::grant::Grants;
use crate::json;
use crate::limits::CallLimits;
use crate::mcp::ListedTool;
use crate::name::{ParseNameError, PluginName, ToolName};
use crate::reason::{Reason, Refusal};
use crate::runtime::{Code, Runtime};
use crate::secret::Lent;
use crate::state::Signed;

/// A plugin that can serve.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) name: PluginName,
    /// Digest of its file.
    pub(crate) digest: Digest,
    pub(crate) description: Description,
    /// The signature that came with it, where one was verified.
    pub(crate) signed: Option<Signed>,
    pub(crate) code: Code,
    /// The most that any of its calls can be granted.
    pub(crate) ceiling: Grants,
    /// Places for its calls.
    pub(crate) places: Arc<Semaphore>,
    /// How many places there are.
    pub(crate) places_total: usize,
    schemas: HashMap<ToolName, (usize, ToolSchemas)>,
    /// Its tools as agents see them.
    listed: Vec<(ToolName, Arc<ListedTool>)>,
}

/// A file that holds no plugin that could serve.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// Digest of its content, where it could be read and named.
    pub(crate) digest: Option<Digest>,
    /// Why.
    pub(crate) refusal: Refusal,
}

impl Plugin {
    /// The plugin in `file` of the folder, which holds `content`.
    ///
    /// # Errors
    ///
    /// It has no name that a plugin can have, or it can't serve.
    pub(crate) async fn of_file(
        runtime: &Runtime,
        config: &Config,
        file: &str,
        content: &Content,
        now: std::time::Duration,
    ) -> Result<Self, Unusable> {
        let unread = |refusal| Unusable {
            digest: None,
            refusal,
        };
        let name = name_of(file)
            .map_err(|error| unread(Refusal::new(Reason::NameInvalid, error.to_string())))?;
        let bytes = content.bytes.as_ref().map_err(|r| unread(r.clone()))?;
        let refused = |refusal| Unusable {
            digest: Some(Digest::of(bytes)),
            refusal,
        };
        let note = content.note.as_ref().map_err(|r| refused(r.clone()))?;
        Self::load(runtime, config, &name, bytes, note.as_deref(), now)
            .await
            .map_err(refused)
    }

    /// Loads the component `bytes`, which came with the signature `note`, as the plugin `name`.
    ///
    /// # Errors
    ///
    /// Why it can't serve, with a message for the operator.
    pub(crate) async fn load(
        runtime: &Runtime,
        config: &Config,
        name: &PluginName,
        bytes: &[u8],
        note: Option<&str>,
        now: std::time::Duration,
    ) -> Result<Self, Refusal> {
        let digest = Digest::of(bytes);
        // Before the compiler gets to see it.
        let signed = signature::check(&config.trust, name, digest, note, now)?;
        let code = runtime.code(digest, bytes).await?;
        let describe = config.describe_limits(name);
        let limits = CallLimits {
            fuel: describe.fuel,
            time: describe.time,
            ..config.plugin_limits(name)
        };
        let log = GuestLog::new(name.clone(), None, Lent::new(), limits.log_bytes);
        let said = runtime
            .describe(&code, &limits, log)
            .await
            .map_err(|refusal| {
                Refusal::new(
                    Reason::ComponentDescribe,
                    format!("`describe` did not answer: {refusal}"),
                )
                .with_detail(refusal.detail.unwrap_or_default())
            })?;
        let described = describe::check(name, said, code.capabilities(), code.completes())?;
        let settings: BTreeMap<String, String> = config
            .settings(name)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let ceiling = Grants::ceiling(&described.description, &settings)?;
        let schemas = described
            .description
            .tools
            .iter()
            .zip(described.schemas)
            .enumerate()
            .map(|(index, (tool, schemas))| (tool.name.clone(), (index, schemas)))
            .collect();
        let prefix = config.prefix(name);
        let listed = described
            .description
            .tools
            .iter()
            .map(|tool| {
                let listed = ListedTool::of(tool, prefix.wire(&tool.name)?);
                Ok((tool.name.clone(), Arc::new(listed)))
            })
            .collect::<Result<_, ParseNameError>>()
            .map_err(|error| Refusal::new(Reason::NameInvalid, error.to_string()))?;
        Ok(Self {
            name: name.clone(),
            listed,
            digest,
            description: described.description,
            signed,
            code,
            ceiling,
            places: Arc::new(Semaphore::new(config.plugin_concurrency(name))),
            places_total: config.plugin_concurrency(name),
            schemas,
        })
    }

    /// The tool of this name, and its schemas.
    pub(crate) fn tool(&self, name: &ToolName) -> Option<(&Tool, &ToolSchemas)> {
        let (index, schemas) = self.schemas.get(name)?;
        Some((self.description.tools.get(*index)?, schemas))
    }

    /// The tool of this name, as agents see it.
    pub(crate) fn shown(&self, name: &ToolName) -> Option<&Arc<ListedTool>> {
        let (index, _) = self.schemas.get(name)?;
        self.listed.get(*index).map(|(_, listed)| listed)
    }

    /// Where its resources are, those with one address each.
    pub(crate) fn places_of_resources(&self) -> impl Iterator<Item = (&ToolName, &String)> {
        self.description
            .tools
            .iter()
            .filter_map(|tool| match &tool.offer {
                Offer::Resource { uri, .. } => Some((&tool.name, uri)),
                _ => None,
            })
    }

    /// All that it offers, as agents see it, in the order of names.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (&ToolName, &Arc<ListedTool>)> {
        self.listed.iter().map(|(name, listed)| (name, listed))
    }

    /// The canonical text of its description: part of its pin.
    pub(crate) fn described(&self) -> String {
        serde_json::to_value(&self.description)
            .map_or_else(|_| String::new(), |value| json::canonical(&value))
    }
}
