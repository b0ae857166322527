//! A host of its own for each test, in a home of its own.
//!
//! What is injected: the clock, the resolver, the connector. The resolver answers with public
//! addresses and the connector leads those to a fixture on loopback, so that every check of the
//! guard is in force. Compiled code is shared between tests, so that each guest is compiled once.

pub(crate) mod artifacts;
mod bench;
pub(crate) mod binary;
mod look;
pub(crate) mod mcp;
pub(crate) mod network;
mod random;
pub(crate) mod served;
mod setup;
pub(crate) mod web;

pub(crate) use bench::{Bench, Running, TestClock};
pub(crate) use look::{Look, change, intents, reason_of};
pub(crate) use random::Random;
pub(crate) use setup::{PROBE_POLICY, PROBE_TOML, REVEAL, Setup, place};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tollgate::call::{Arrival, ProgressSink};
use tollgate::clock::SharedClock;
use tollgate::egress::{SystemResolver, TcpConnector};
use tollgate::entropy::SystemEntropy;
use tollgate::home::Home;
use tollgate::host::{Host, Options};
use tollgate::identity::AgentId;
use tollgate::journal::record::{Caller, Record};
use tollgate::journal::{Reader, verify};

/// 2026-11-22, when the certificates of the fixtures are valid.
pub(crate) const NOW: Duration = Duration::from_secs(1_795_305_600);

/// Adds agents to a home that no host serves yet, and gives their tokens.
pub(crate) fn known<S: AsRef<str>>(home: &Home, names: &[S]) -> Vec<String> {
    let state = tollgate::state::State::open(&home.database()).unwrap();
    let identities = tollgate::identity::Identities::new(
        state,
        Arc::new(tollgate::clock::SystemClock),
        Arc::new(SystemEntropy),
    );
    names
        .iter()
        .map(|name| {
            let issued = identities.issue(name.as_ref(), None).unwrap();
            issued.token.expose().to_owned()
        })
        .collect()
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program itself.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tollgate"))
}

/// A component that was made to be refused, or to behave oddly.
pub(crate) fn misfit(kind: &str) -> Vec<u8> {
    let (_, path) = guests::MISFITS
        .iter()
        .find(|(name, _)| *name == kind)
        .unwrap();
    std::fs::read(path).unwrap()
}

/// An agent of this host.
pub(crate) fn agent(name: &str) -> AgentId {
    AgentId::local(name).unwrap()
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
        client: Default::default(),
        round: None,
        job: None,
        kind: Default::default(),
        approval: None,
        trace: None,
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

/// A host over the machine's own network.
pub(crate) async fn host(home: Home, clock: SharedClock) -> Arc<Host> {
    let options = Options {
        home,
        clock,
        entropy: Arc::new(SystemEntropy),
        resolver: Arc::new(SystemResolver),
        connector: Arc::new(TcpConnector),
        compiler: program(),
    };
    Host::start(options).await.unwrap()
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
