//! The host: everything that one daemon owns, put together.
//!
//! It holds what is in force (configuration, policies, plugins), each as one value that is swapped
//! whole, so that a call never sees half of a change; and the services that calls use. What a call
//! does with them is told in `call`.

pub mod anchors;
mod doors;
mod people;
mod pins;
mod refresh;
mod report;
mod serve;
mod start;
mod tasks;
mod watch;

pub use doors::Door;
pub use pins::{PluginDiff, Reach};
pub(crate) use refresh::load_policies;
pub use refresh::{RefreshFinding, Refreshed};
pub use report::{PluginReport, PluginStatus};
pub(crate) use start::artifact_key;
pub use start::{Options, StartError};
pub use watch::Watch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::approval::Approvals;
use crate::call::{Arrival, Pace, Places, Reply};
use crate::capability::Services;
use crate::clock::{SharedClock, Steady};
use crate::config::{Config, Tier};
use crate::entropy::SharedEntropy;
use crate::home::Home;
use crate::identity::{Identities, People};
use crate::job::Jobs;
use crate::journal::Journal;
use crate::journal::record::{Changed, Event};
use crate::name::ToolName;
use crate::plugin::{Catalogue, Description, Plugin, Registry};
use crate::policy::PolicySet;
use crate::revocation::Followers;
use crate::running::Running;
use crate::runtime::Runtime;
use crate::state::State;
use crate::tape::Tapes;
use crate::task::Tasks;

/// A running host.
#[derive(Debug)]
pub struct Host {
    home: Home,
    config: ArcSwap<Config>,
    runtime: Arc<Runtime>,
    registry: Registry,
    services: Arc<Services>,
    state: State,
    tapes: Tapes,
    identities: Identities,
    people: People,
    doors: doors::Doors,
    /// Where browsers reach the approval page, once its listener is there.
    page: std::sync::OnceLock<String>,
    entropy: SharedEntropy,
    reach: crate::secret::Reach,
    tasks: Tasks,
    jobs: Jobs,
    running: Running,
    followers: Followers,
    steady: Arc<Steady>,
    pace: Pace,
    places: Places,
    draining: CancellationToken,
    /// Changes with whatever may change what an agent sees.
    changes: tokio::sync::watch::Sender<u64>,
    /// Whether all of `plugins/` was looked at since the start.
    looked: AtomicBool,
    /// One change of what is in force at a time.
    refreshing: tokio::sync::Mutex<refresh::Seen>,
    /// One round of anchoring at a time.
    anchoring: tokio::sync::Mutex<()>,
}

impl Host {
    /// Carries out one call; see [`crate::call`].
    pub async fn call(&self, arrival: Arrival, cancel: CancellationToken) -> Reply {
        crate::call::call(self, arrival, cancel).await
    }

    /// Where its files are.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The policies in force.
    #[must_use]
    pub fn policy(&self) -> Arc<PolicySet> {
        self.services.policy.load_full()
    }

    /// The agents that there are.
    #[must_use]
    pub const fn identities(&self) -> &Identities {
        &self.identities
    }

    /// The durable state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What calls were given, where that is kept.
    #[must_use]
    pub const fn tapes(&self) -> &Tapes {
        &self.tapes
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.services.journal
    }

    /// What waits for a person, and what became of it.
    #[must_use]
    pub fn approvals(&self) -> &Approvals {
        &self.services.approvals
    }

    /// Where secrets come from.
    #[must_use]
    pub fn secrets(&self) -> Arc<crate::secret::Secrets> {
        self.services.secrets.load_full()
    }

    /// What is lent, and what has to be taken back.
    #[must_use]
    pub fn leases(&self) -> &crate::lease::Leases {
        &self.services.leases
    }

    /// Changes with whatever may change what an agent sees.
    #[must_use]
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Cancelled once the host takes no more calls.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Takes no more calls from now on. Those under way go on.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Whether it takes no more calls.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Writes that an operator changed something.
    ///
    /// # Errors
    ///
    /// The journal takes nothing; then the change must not be made.
    pub fn changed(&self, change: &str, subject: &str) -> Result<(), crate::journal::Unwritable> {
        let event = Event::Changed(Changed {
            change: change.to_owned(),
            subject: Some(subject.to_owned()),
            ..Changed::default()
        });
        self.journal().append(&event).map(drop)
    }

    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.registry.catalogue()
    }

    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn services(&self) -> Arc<Services> {
        Arc::clone(&self.services)
    }

    /// The tasks that agents are on.
    #[must_use]
    pub const fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The calls that run as jobs, and what came of them.
    #[must_use]
    pub const fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    pub(crate) fn telemetry(&self) -> &crate::telemetry::Telemetry {
        &self.services.telemetry
    }

    pub(crate) const fn running(&self) -> &Running {
        &self.running
    }

    pub(crate) const fn followers(&self) -> &Followers {
        &self.followers
    }

    pub(crate) const fn pace(&self) -> &Pace {
        &self.pace
    }

    pub(crate) const fn places(&self) -> &Places {
        &self.places
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock().now()
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.services.clock
    }

    /// The tier of a tool: the operator's, raised by what the plugin itself says of the tool.
    pub(crate) fn tier(&self, plugin: &Plugin, tool: &ToolName) -> Tier {
        tier(&self.config(), &plugin.description, tool)
    }
}

/// The tier of a tool under `config`: the operator's, raised by what the plugin itself says of the tool.
pub(crate) fn tier(config: &Config, plugin: &Description, tool: &ToolName) -> Tier {
    let hinted = match plugin.tool(tool) {
        Some(described) if described.hints.destructive => Tier::Hold,
        Some(described) if !described.hints.read_only => Tier::Log,
        _ => Tier::Auto,
    };
    config.tier(tool).max(hinted)
}

/// The name of that tier: the operator's own, unless the plugin's hints raise it above that.
pub(crate) fn tier_name(config: &Config, plugin: &Description, tool: &ToolName) -> String {
    let raised = tier(config, plugin, tool);
    if raised == config.tier(tool) {
        config.tier_name(tool).to_owned()
    } else {
        raised.as_str().to_owned()
    }
}
