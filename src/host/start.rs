//! Starting: every part in the order in which the next one needs it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::Host;
use super::refresh::{self, Seen};
use crate::approval::Approvals;
use crate::call::{Pace, Places};
use crate::capability::Services;
use crate::clock::{SharedClock, Steady, SystemClock};
use crate::config::{self, Config, ConfigError};
use crate::egress::{Connector, Outbound, OwnClient, Resolver};
use crate::entropy::{SharedEntropy, SystemEntropy};
use crate::home::Home;
use crate::identity::{Identities, Issuers, People, Roots};
use crate::job::Jobs;
use crate::journal::record::{Event, Started};
use crate::journal::{self, Journal};
use crate::lease::{self, Leases};
use crate::plugin::Registry;
use crate::policy::PolicySet;
use crate::private::PrivateError;
use crate::revocation::Followers;
use crate::running::Running;
use crate::runtime::{Artifacts, Runtime, Settings};
use crate::secret::{Reach, Secrets};
use crate::state::{State, StateError};
use crate::tape::Tapes;
use crate::task::Tasks;
use crate::telemetry::Telemetry;

/// What a host is made of, where it is not the machine's own.
#[derive(Debug)]
pub struct Options {
    /// Where its files are.
    pub home: Home,
    /// The time of day.
    pub clock: SharedClock,
    /// Random bytes.
    pub entropy: SharedEntropy,
    /// How names become addresses. It feeds the guard; the guard checks what it says.
    pub resolver: Arc<dyn Resolver>,
    /// How addresses, once checked, become connections.
    pub connector: Arc<dyn Connector>,
    /// The program that compiles components, when run as `<program> compile-component`: this one.
    pub compiler: PathBuf,
}

impl Options {
    /// The machine's own clock, randomness, resolver and network.
    ///
    /// # Errors
    ///
    /// The path of this program is not known.
    pub fn new(home: Home) -> std::io::Result<Self> {
        Ok(Self {
            home,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            resolver: Arc::new(crate::egress::SystemResolver),
            connector: Arc::new(crate::egress::TcpConnector),
            compiler: std::env::current_exe()?,
        })
    }
}

/// The host can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Files that only the host's user may read.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal.
    #[error("the journal in `{folder}` can't be used: {error}")]
    Journal {
        /// Where.
        folder: PathBuf,
        /// Why.
        error: Box<journal::OpenError>,
    },
    /// The journal takes nothing.
    #[error(transparent)]
    Unwritable(#[from] journal::Unwritable),
    /// The runtime.
    #[error(transparent)]
    Runtime(#[from] crate::runtime::StartError),
    /// Certificates or proxy.
    #[error("`[egress]` can't be used: {0}")]
    Egress(#[from] crate::egress::OutboundConfigError),
    /// The keys of step tokens.
    #[error(transparent)]
    Roots(#[from] crate::identity::RootError),
    /// A backup was not put back whole.
    #[error("a restore of `{0}` was cut short: run `tollgate restore` with the same backup again")]
    Unrestored(PathBuf),
    /// The key of compiled code.
    #[error("the key of compiled code in `{0}` can't be made: {1}")]
    Key(PathBuf, String),
}

/// What plugins say to everybody's clients and nobody heard yet. Who misses some is told that lists may have changed.
const NOTICES: usize = 256;

/// How long the end of the host waits for jobs to end, and then for leases to be taken back.
const ENDING: Duration = Duration::from_secs(5);

impl Host {
    /// Starts a host, and waits until all of its plugins are loaded.
    ///
    /// # Errors
    ///
    /// As for [`Host::open`].
    pub async fn start(options: Options) -> Result<Arc<Self>, StartError> {
        let host = Self::open(options).await?;
        host.refresh().await;
        Ok(host)
    }

    /// Opens a host: its journal and state, its policies, and the plugins whose compiled code is
    /// there already. The others are loaded by the next [`Host::refresh`]; until then they are
    /// `loading`, and everything else is served.
    ///
    /// A plugin or a policy that can't be used keeps nothing else from serving; it is logged, and
    /// `tollgate plugins` and `tollgate check` say so.
    ///
    /// # Errors
    ///
    /// The configuration is not valid, another host has the journal, or the machine lacks what is needed.
    pub async fn open(options: Options) -> Result<Arc<Self>, StartError> {
        let Options {
            home,
            clock,
            entropy,
            resolver,
            connector,
            compiler,
        } = options;
        home.create()?;
        if crate::backup::is_unfinished(&home) {
            return Err(StartError::Unrestored(home.root().to_owned()));
        }
        let config = Config::load(&home)?;
        let journal = open_journal(&home, &config, &clock, Arc::clone(&entropy))?;
        // Once more, now that no restore can begin: one that did in between moves aside what is opened here.
        if crate::backup::is_unfinished(&home) {
            return Err(StartError::Unrestored(home.root().to_owned()));
        }
        let state = State::open(&home.database())?;
        // Records carry the machine's time as it is; what expires asks one that never goes back.
        let steady = Arc::new(Steady::new(clock, state.latest_time()?));
        let clock: SharedClock = Arc::clone(&steady) as SharedClock;
        let key = artifact_key(&home, entropy.as_ref())?;
        let artifacts = Artifacts::new(home.artifacts(), key, compiler);
        // A plugin that is being described takes a place beside those that run.
        let places = config.concurrency.host.saturating_add(4);
        let settings = Settings::for_machine(places, crate::limits::POOLED_TABLE_ENTRIES);
        let runtime = Arc::new(Runtime::start(settings, artifacts)?);
        let outbound = Outbound::with(
            &refresh::outbound_config(&config),
            Arc::clone(&clock),
            resolver,
            connector,
        )?;
        let policy = Arc::new(ArcSwap::from_pointee(
            PolicySet::load(&home.policies(), &[], None).set,
        ));
        let tasks = Tasks::load(
            state.clone(),
            journal.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        )?;
        let jobs = Jobs::open(
            state.clone(),
            journal.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        )?;
        let approvals = Approvals::open(
            state.clone(),
            journal.clone(),
            Arc::clone(&policy),
            tasks.clone(),
            Arc::clone(&steady),
            Arc::clone(&entropy),
            config.approvals,
        )?;
        approvals.watch_time();
        let reach = Reach::new(OwnClient::of(&outbound), Arc::clone(&clock));
        let secrets = Secrets::new(&home, &config, Arc::clone(&entropy), Some(reach.clone()));
        let store = secrets.store().clone();
        let secrets = Arc::new(ArcSwap::from_pointee(secrets));
        let leases = Leases::open(lease::Parts {
            desk: Arc::clone(&secrets) as _,
            state: state.clone(),
            store,
            journal: journal.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            haste: 1,
        })?;
        let services = Arc::new(Services {
            policy,
            approvals,
            journal: journal.clone(),
            outbound,
            secrets,
            leases,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            telemetry: Telemetry::new(&config.telemetry, Arc::clone(&clock), Arc::clone(&entropy)),
            notices: tokio::sync::broadcast::Sender::new(NOTICES),
        });
        let registry = Registry::new(
            home.plugins(),
            Arc::clone(&runtime),
            state.clone(),
            journal.clone(),
            Arc::clone(&clock),
        );
        let places = Places::new(config.concurrency);
        let roots = Roots::open(&home.keys().join("steps.key"), &*entropy, clock.now())?;
        let identities =
            Identities::new(state.clone(), Arc::clone(&clock), Arc::clone(&entropy)).with(roots);
        let client = OwnClient::of(&services.outbound);
        identities.trust(|before| Issuers::new(&config, Some(client), before));
        let host = Arc::new(Self {
            identities,
            people: People::new(state.clone(), Arc::clone(&clock), Arc::clone(&entropy)),
            doors: super::doors::Doors::default(),
            tapes: Tapes::new(&home, Arc::clone(&entropy)),
            page: std::sync::OnceLock::new(),
            entropy,
            reach,
            config: ArcSwap::from_pointee(config),
            runtime,
            registry,
            services,
            state,
            tasks,
            jobs,
            running: Running::default(),
            followers: Followers::default(),
            steady,
            pace: Pace::default(),
            places,
            draining: CancellationToken::new(),
            changes: tokio::sync::watch::Sender::new(0),
            looked: AtomicBool::new(false),
            refreshing: tokio::sync::Mutex::new(Seen::default()),
            anchoring: tokio::sync::Mutex::default(),
            home,
        });
        // In this order: a token that is no more begins nothing, and a job that is over waits for no
        // approval. The other way round a job would take the end of its approval for its own, or try
        // again in between.
        host.follow(Arc::new(host.identities().clone()));
        host.follow(Arc::new(host.jobs().clone()));
        host.follow(Arc::new(host.approvals().clone()));
        host.refresh_compiled().await;
        host.journal().append(&Event::Started(Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_set: Some(host.policy().digest()),
            plugins: host.catalogue().serving.len(),
        }))?;
        host.followers().add(Arc::new(host.leases().clone()));
        host.leases().resume();
        tokio::spawn(crate::task::keep(Arc::downgrade(&host)));
        Ok(host)
    }

    /// Ends in order: writes that it stopped, and closes the journal.
    pub async fn stop(&self) {
        self.drain();
        // First of all: their calls need what is closed below to end in order.
        self.jobs.close(ENDING).await;
        // What is over is so on the disk, whatever the clock says at the next start.
        if let Err(refusal) = self.approvals().sweep().await {
            tracing::warn!(%refusal, "expired approvals could not be written down");
        }
        self.tasks.close().await;
        // Most sources answer at once; what does not is taken back by the next start.
        self.leases().close(ENDING).await;
        if let Err(error) = self.journal().append(&Event::Stopped {}) {
            tracing::error!(%error, "the end of the host could not be written down");
        }
        let journal = self.journal().clone();
        if let Err(error) = journal.close().await {
            tracing::error!(%error, "the journal could not be closed");
        }
    }
}

/// The key under which compiled code is kept; made at the first start.
pub(crate) fn artifact_key(
    home: &Home,
    entropy: &dyn crate::entropy::Entropy,
) -> Result<[u8; 32], StartError> {
    let path = home.keys().join("artifacts.key");
    let kept = match crate::private::read(&path, 32) {
        Ok(bytes) => bytes.as_slice().try_into().ok(),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(key) = kept {
        return Ok(key);
    }
    // Also where it is damaged: compiled code that no longer verifies is compiled again.
    let mut key = [0; 32];
    entropy
        .fill(&mut key)
        .map_err(|error| StartError::Key(path.clone(), error.to_string()))?;
    crate::private::replace(&path, &key)?;
    Ok(key)
}

fn open_journal(
    home: &Home,
    config: &Config,
    clock: &SharedClock,
    entropy: SharedEntropy,
) -> Result<Journal, StartError> {
    let options = journal::Options {
        sync: match config.journal.sync {
            config::Sync::Gated => journal::Sync::Gated,
            config::Sync::Always => journal::Sync::Always,
            config::Sync::Interval => journal::Sync::Interval(journal::SYNC_WITHIN),
        },
        segment_bytes: config.journal.segment_size,
        segment_age: config.journal.segment_age,
        entropy,
        keep: Some(journal::Keep {
            compress: config.journal.compress,
            bytes: config.journal.keep_size,
            age: config.journal.keep_age,
        }),
        ..journal::Options::new(Arc::clone(clock))
    };
    let folder = home.journal();
    let (journal, recovery) =
        Journal::open(&folder, options).map_err(|error| StartError::Journal {
            folder,
            error: Box::new(error),
        })?;
    if recovery.cut_bytes > 0 {
        tracing::warn!(
            bytes = recovery.cut_bytes,
            "the journal ended in a torn record, which was cut"
        );
    }
    for call in &recovery.unknown {
        tracing::warn!(%call, "a call was under way when the host died; what it did is not known, and it is not run again");
    }
    Ok(journal)
}
