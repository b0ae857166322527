//! A host of its own for each test, in a home of its own.
//!
//! What is injected: the clock, the resolver, the connector. The resolver answers with public
//! addresses and the connector leads those to a fixture on loopback, so that every check of the
//! guard is in force. Compiled code is shared between tests, so that each guest is compiled once.

pub(crate) mod artifacts;
pub(crate) mod binary;
pub(crate) mod mcp;
pub(crate) mod network;
pub(crate) mod served;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tollgate::call::{Arrival, Content, ProgressSink, Reply};
use tollgate::clock::Clock;
use tollgate::entropy::SystemEntropy;
use tollgate::home::Home;
use tollgate::host::{Host, Options, Refreshed};
use tollgate::identity::AgentId;
use tollgate::journal::record::{CallId, Caller, Changed, Event, Record};
use tollgate::journal::{Reader, verify};
use tollgate::reason::Reason;
use tollgate::secret::SecretValue;

use crate::upstream::Upstream;
use network::{Detour, Names};

/// 2026-11-22, when the certificates of the fixtures are valid.
pub(crate) const NOW: Duration = Duration::from_secs(1_795_305_600);

/// Everything that the probe asks for is permitted to everyone who is in the group.
pub(crate) const PROBE_POLICY: &str = r#"
@id("probe.calls")
permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"probe");
@id("probe.http")
permit (principal in Group::"everyone", action in Action::"http", resource in Plugin::"probe");
@id("probe.secrets")
permit (principal in Group::"everyone", action in Action::"use-secret", resource in Plugin::"probe");
@id("probe.clock")
permit (principal in Group::"everyone", action in Action::"clock", resource in Plugin::"probe");
@id("probe.random")
permit (principal in Group::"everyone", action in Action::"random", resource in Plugin::"probe");
"#;

/// The same, and the secret `seen` may be read.
pub(crate) const REVEAL: &str = r#"
@id("probe.reveal")
permit (principal in Group::"everyone", action in Action::"reveal-secret", resource == Secret::"seen");
"#;

/// What the probe needs to serve.
pub(crate) const PROBE_TOML: &str =
    "[plugin.probe.settings]\norigin = \"https://granted.example\"\n";

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub(crate) struct TestClock(pub(crate) AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl TestClock {
    pub(crate) fn set(&self, to: Duration) {
        self.0
            .store(u64::try_from(to.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// `policies/entities.json` with these agents in the group `everyone`.
pub(crate) fn entities<S: AsRef<str>>(agents: &[S]) -> String {
    let mut all = vec![
        serde_json::json!({"uid": {"type": "Group", "id": "everyone"}, "attrs": {}, "parents": []}),
    ];
    all.extend(agents.iter().map(|name| {
        serde_json::json!({
            "uid": {"type": "Agent", "id": format!("spiffe://tollgate.local/agent/{}", name.as_ref())},
            "attrs": {},
            "parents": [{"type": "Group", "id": "everyone"}],
        })
    }));
    serde_json::to_string_pretty(&all).unwrap()
}

/// Puts `bytes` at `path` as one step, as whoever drops a plugin should.
pub(crate) fn place(path: &Path, bytes: &[u8]) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let temporary = path.with_file_name(format!(".{name}.new"));
    fs::write(&temporary, bytes).unwrap();
    fs::rename(&temporary, path).unwrap();
}

/// A home to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// Name in `plugins/` and the component's bytes.
    plugins: Vec<(String, Vec<u8>)>,
    policies: Vec<(String, String)>,
    toml: String,
    agents: Vec<String>,
    secrets: Vec<(String, String, String)>,
}

impl Setup {
    /// Nothing at all, but the agents `alice` and `bob`.
    pub(crate) fn empty() -> Self {
        Self {
            agents: vec!["alice".into(), "bob".into()],
            ..Self::default()
        }
    }

    /// The probe, with everything permitted but reading secrets.
    pub(crate) fn probe() -> Self {
        Self::empty()
            .component("probe", guests::PROBE)
            .policy("probe", PROBE_POLICY)
            .toml(PROBE_TOML)
    }

    /// The probe with a policy of the test's own.
    pub(crate) fn probe_under(policy: &str) -> Self {
        Self::empty()
            .component("probe", guests::PROBE)
            .policy("probe", policy)
            .toml(PROBE_TOML)
    }

    /// A component that was built from source.
    pub(crate) fn component(self, name: &str, path: &str) -> Self {
        let bytes = fs::read(path).unwrap();
        self.bytes(name, bytes)
    }

    /// A component, or what pretends to be one.
    pub(crate) fn bytes(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.plugins.push((format!("{name}.wasm"), bytes));
        self
    }

    /// `policies/<name>.cedar`, in the place of one of that name.
    pub(crate) fn policy(mut self, name: &str, text: &str) -> Self {
        let file = format!("{name}.cedar");
        self.policies.retain(|(other, _)| *other != file);
        self.policies.push((file, text.to_owned()));
        self
    }

    /// A shipped plugin, with the policy that is shipped with it.
    pub(crate) fn shipped(self, name: &str) -> Self {
        let (_, path) = guests::PLUGINS
            .iter()
            .find(|(shipped, _)| *shipped == name)
            .unwrap();
        let policy =
            fs::read_to_string(repository().join(format!("policies/{name}.cedar"))).unwrap();
        self.component(name, path).policy(name, &policy)
    }

    /// The shared rules that are shipped.
    pub(crate) fn shared_rules(self) -> Self {
        let text = fs::read_to_string(repository().join("policies/shared.cedar")).unwrap();
        self.policy("shared", &text)
    }

    /// More of `tollgate.toml`.
    pub(crate) fn toml(mut self, text: &str) -> Self {
        self.toml.push_str(text);
        self.toml.push('\n');
        self
    }

    /// More agents in the group `everyone`.
    pub(crate) fn agents(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.agents.extend(names);
        self
    }

    /// A secret in the host's own store.
    pub(crate) fn secret(mut self, plugin: &str, name: &str, value: &str) -> Self {
        self.secrets
            .push((plugin.into(), name.into(), value.into()));
        self
    }

    /// Makes the home, without starting anything.
    pub(crate) async fn make(&self) -> (TempDir, Home) {
        let folder = tempfile::Builder::new().prefix("tg").tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        home.create().unwrap();
        for (file, bytes) in &self.plugins {
            place(&home.plugins().join(file), bytes);
        }
        for (file, text) in &self.policies {
            fs::write(home.policies().join(file), text).unwrap();
        }
        fs::write(
            home.policies().join("entities.json"),
            entities(&self.agents),
        )
        .unwrap();
        fs::write(
            home.root().join("ca.pem"),
            crate::upstream::tls::authority_pem(),
        )
        .unwrap();
        let toml = format!("{}\n[egress]\nextra_ca = [\"ca.pem\"]\n", self.toml);
        fs::write(home.config(), toml).unwrap();
        artifacts::seed(&home, &self.plugins).await;
        for (plugin, name, value) in &self.secrets {
            tollgate::secret::Store::new(&home, Arc::new(SystemEntropy))
                .set(
                    &plugin.parse().unwrap(),
                    name,
                    &SecretValue::new(value.as_bytes().to_vec()),
                )
                .unwrap();
        }
        (folder, home)
    }

    /// Makes the home and starts a host in it, with a fixture upstream.
    pub(crate) async fn start(&self) -> Bench {
        let (folder, home) = self.make().await;
        Bench::start_in(folder, home).await
    }
}

impl Bench {
    /// Starts a host in a home that was made, with a fixture upstream.
    pub(crate) async fn start_in(folder: TempDir, home: Home) -> Self {
        let upstream = Upstream::start().await;
        let clock = Arc::new(TestClock(AtomicU64::new(0)));
        clock.set(NOW);
        let resolver = Arc::new(Names::default());
        let connector = Arc::new(Detour::to(&upstream));
        let host = Host::start(Options {
            home,
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            resolver: resolver.clone(),
            connector: connector.clone(),
            compiler: program(),
        })
        .await
        .unwrap();
        Self {
            host,
            resolver,
            connector,
            upstream,
            folder,
        }
    }
}

/// Adds agents to a home that no host serves yet.
pub(crate) fn known(home: &Home, names: &[&str]) {
    let state = tollgate::state::State::open(&home.database()).unwrap();
    let identities = tollgate::identity::Identities::new(
        state,
        Arc::new(tollgate::clock::SystemClock),
        Arc::new(SystemEntropy),
    );
    for name in names {
        identities.issue(name, None).unwrap();
    }
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program itself.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tollgate"))
}

/// A running host and all that is around it.
pub(crate) struct Bench {
    pub(crate) host: Arc<Host>,
    pub(crate) resolver: Arc<Names>,
    pub(crate) connector: Arc<Detour>,
    pub(crate) upstream: Upstream,
    pub(crate) folder: TempDir,
}

/// An agent of this host.
pub(crate) fn agent(name: &str) -> AgentId {
    AgentId::local(name).unwrap()
}

impl Bench {
    /// A call as `alice`.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.call_as("alice", tool, arguments.to_string()).await
    }

    /// A call with arguments as they are.
    pub(crate) async fn call_as(
        &self,
        name: &str,
        tool: &str,
        arguments: impl Into<Vec<u8>>,
    ) -> Reply {
        self.host
            .call(arrival(name, tool, arguments), CancellationToken::new())
            .await
    }

    /// A call that goes on by itself. The token cancels it.
    pub(crate) fn spawn(&self, name: &str, tool: &str, arguments: Value) -> Running {
        let host = self.host.clone();
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let arrival = arrival(name, tool, arguments.to_string());
        let task = tokio::spawn(async move { host.call(arrival, token).await });
        Running { task, cancel }
    }

    /// Takes in what changed on disk.
    pub(crate) async fn refresh(&self) -> Refreshed {
        self.host.refresh().await
    }

    /// Drops a file into `plugins/` and takes it in; gives what was written about it.
    pub(crate) async fn drop_plugin(&self, name: &str, bytes: &[u8]) -> Vec<Changed> {
        let before = self.records().len();
        place(&self.plugin_file(name), bytes);
        self.refresh().await;
        self.changes_since(before)
    }

    pub(crate) fn plugin_file(&self, name: &str) -> PathBuf {
        self.host.home().plugins().join(format!("{name}.wasm"))
    }

    pub(crate) fn policy_file(&self, name: &str) -> PathBuf {
        self.host.home().policies().join(format!("{name}.cedar"))
    }

    /// Every `changed` record after the first `before` records.
    pub(crate) fn changes_since(&self, before: usize) -> Vec<Changed> {
        self.records()
            .into_iter()
            .skip(before)
            .filter_map(|record| match record.event {
                Event::Changed(changed) => Some(changed),
                _ => None,
            })
            .collect()
    }

    /// Every record of the journal.
    pub(crate) fn records(&self) -> Vec<Record> {
        records(&self.host.home().journal())
    }

    /// The records of one call.
    pub(crate) fn records_of(&self, call: CallId) -> Vec<Event> {
        self.records()
            .into_iter()
            .map(|record| record.event)
            .filter(|event| event.call() == Some(call))
            .collect()
    }

    /// Asserts that the journal is whole.
    #[track_caller]
    pub(crate) fn verify(&self) {
        assert_verifies(&self.host.home().journal());
    }

    /// The last outcome of `call`; there is exactly one.
    #[track_caller]
    pub(crate) fn outcome(&self, call: CallId) -> tollgate::journal::record::Outcome {
        let mut outcomes: Vec<_> = self
            .records_of(call)
            .into_iter()
            .filter_map(|event| match event {
                Event::Outcome(outcome) => Some(outcome),
                _ => None,
            })
            .collect();
        assert_eq!(outcomes.len(), 1, "a call has exactly one outcome");
        outcomes.remove(0)
    }
}

/// A call that goes on by itself.
pub(crate) struct Running {
    pub(crate) task: tokio::task::JoinHandle<Reply>,
    pub(crate) cancel: CancellationToken,
}

impl Running {
    pub(crate) async fn reply(self) -> Reply {
        self.task.await.unwrap()
    }
}

/// A call as `name`, as HTTP would hand it over.
pub(crate) fn arrival(name: &str, tool: &str, arguments: impl Into<Vec<u8>>) -> Arrival {
    Arrival {
        caller: Caller {
            agent: agent(name),
            user: None,
            transport: "http".into(),
            client: None,
            task: None,
            chain: Vec::new(),
        },
        tool: tool.into(),
        arguments: arguments.into().into(),
        credential: None,
        progress: None,
    }
}

/// The same, with somewhere for its progress to go.
pub(crate) fn arrival_with(
    name: &str,
    tool: &str,
    arguments: &Value,
    sink: ProgressSink,
) -> Arrival {
    Arrival {
        progress: Some(sink),
        ..arrival(name, tool, arguments.to_string())
    }
}

/// Every record of the journal in `folder`.
pub(crate) fn records(folder: &Path) -> Vec<Record> {
    let mut reader = Reader::new(folder);
    let mut all = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        all.push(record);
    }
    all
}

/// Asserts that the journal in `folder` is whole.
#[track_caller]
pub(crate) fn assert_verifies(folder: &Path) {
    let report = verify(folder, |_| {}).unwrap();
    assert!(
        report.is_good(),
        "the journal does not verify: {:?}",
        report.first_bad
    );
    assert!(report.records > 0);
}

/// Every reason that stands in an event.
pub(crate) fn reason_of(event: &Event) -> Option<Reason> {
    match event {
        Event::Refusal(refused) => Some(refused.reason),
        Event::Hold(held) => Some(held.reason),
        Event::HostCallOutcome(outcome) => outcome.reason,
        Event::Outcome(outcome) => outcome.reason,
        Event::Changed(changed) => changed.reason,
        _ => None,
    }
}

/// Looking at a reply.
pub(crate) trait Look {
    /// The reason for which the host gave no result.
    fn reason(&self) -> Option<Reason>;
    /// All text of the result.
    fn text(&self) -> String;
    /// A member of the structured content.
    fn at(&self, pointer: &str) -> &Value;
    /// How often each reason was refused during the call, as the result says.
    fn refused(&self, code: &str) -> u64;
    /// Everything that goes to the agent, as text.
    fn everything(&self) -> String;
}

impl Look for Reply {
    fn reason(&self) -> Option<Reason> {
        self.refusal.as_ref().map(|refusal| refusal.reason)
    }

    fn text(&self) -> String {
        self.completion
            .content
            .iter()
            .filter_map(|content| match content {
                Content::Text { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn at(&self, pointer: &str) -> &Value {
        self.completion
            .structured
            .as_ref()
            .and_then(|value| value.pointer(pointer))
            .unwrap_or(&Value::Null)
    }

    fn refused(&self, code: &str) -> u64 {
        self.completion
            .meta
            .get("dev.tollgate/refused")
            .and_then(|refused| refused[code].as_u64())
            .unwrap_or(0)
    }

    fn everything(&self) -> String {
        format!(
            "{}\n{:?}\n{:?}",
            self.completion.canonical(),
            self.completion.meta,
            self.refusal
        )
    }
}

impl Bench {
    /// Waits until so many calls have begun to run.
    pub(crate) async fn begun(&self, calls: usize) {
        loop {
            let begun = self
                .records()
                .iter()
                .filter(|record| matches!(record.event, Event::Intent(_)))
                .count();
            if begun >= calls {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}
