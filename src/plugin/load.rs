//! From a file to a plugin: read once, digested, compiled, described, checked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::describe::{self, ToolSchemas};
use super::description::{Description, Tool};
use super::signature;
use crate::capability::log::GuestLog;
use crate::config::Config;
use crate::digest::Digest;
use crate::grant::Grants;
use crate::json;
use crate::limits::CallLimits;
use crate::mcp::ListedTool;
use crate::name::{PluginName, ToolName};
use crate::reason::Refusal;
use crate::runtime::{Code, Runtime};
use crate::secret::Lent;
use crate::state::Signed;

/// What `describe` may use: a statement, not a computation.
const DESCRIBE_FUEL: u64 = 200_000_000;
/// Its time.
const DESCRIBE_TIME: std::time::Duration = std::time::Duration::from_secs(2);

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

impl Plugin {
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
        let limits = config.plugin_limits(name);
        let limits = CallLimits {
            fuel: limits.fuel.min(DESCRIBE_FUEL),
            time: limits.time.min(DESCRIBE_TIME),
            ..limits
        };
        let log = GuestLog::new(name.clone(), None, Lent::new(), limits.log_bytes);
        let said = runtime
            .describe(&code, &limits, log)
            .await
            .map_err(|refusal| {
                Refusal::new(
                    crate::reason::Reason::ComponentDescribe,
                    format!("`describe` did not answer: {refusal}"),
                )
                .with_detail(refusal.detail.unwrap_or_default())
            })?;
        let described = describe::check(name, said, code.capabilities())?;
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
        let listed = described
            .description
            .tools
            .iter()
            .map(|tool| (tool.name.clone(), Arc::new(ListedTool::of(tool))))
            .collect();
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

    /// Its tools as agents see them, in the order of names.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (&ToolName, &Arc<ListedTool>)> {
        self.listed.iter().map(|(name, listed)| (name, listed))
    }

    /// The canonical text of its description: part of its pin.
    pub(crate) fn described(&self) -> String {
        serde_json::to_value(&self.description)
            .map_or_else(|_| String::new(), |value| json::canonical(&value))
    }
}
