//! `kill -9` of the real program at random points, under load, again and again over one disk.
//!
//! What must hold over any number of deaths: whatever reached the upstream was written down before, and was
//! sent once; whatever a client was told stands in the journal; every call has one end, or is named as
//! unknown; an approval is used once at most, and none is lost.
//!
//! 200 deaths in every run; `cargo xtask crash` for 10,000. The points are random by themselves; a seed
//! would not bring one back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tollgate::home::Home;
use tollgate::journal::record::{CallId, Event};

use crate::harness::binary::{Daemon, run, run_as};
use crate::harness::mcp::Client;
use crate::harness::{Random, Setup, assert_verifies, records};
use crate::upstream::Upstream;

/// Homes that are killed beside each other.
const LANES: usize = 4;

/// `alice` sends as she likes, `bob` after a person agreed.
pub(crate) const BOB_IS_HELD: &str = r#"
@id("alice")
permit (principal == Agent::"spiffe://tollgate.local/agent/alice", action in Action::"call", resource in Plugin::"probe");
@id("bob")
permit (principal == Agent::"spiffe://tollgate.local/agent/bob", action == Action::"call:probe.send", resource)
when { context.approved };
@id("requests")
permit (principal in Group::"everyone", action == Action::"http:probe.send", resource);
"#;

fn kills() -> usize {
    match std::env::var("TOLLGATE_KILLS") {
        Ok(count) => count.parse().expect("TOLLGATE_KILLS is a number"),
        Err(_) => 200,
    }
}

/// A home that dies and comes back.
struct Lane {
    number: usize,
    random: Random,
    upstream: Upstream,
    home: Home,
    _folder: TempDir,
    alice: String,
    bob: String,
    ada: String,
    /// Calls whose answers came.
    told: BTreeSet<String>,
    /// What people agreed to, and where its request goes.
    approved: Vec<(String, String)>,
}

impl Lane {
    async fn begin(number: usize) -> Self {
        let upstream = Upstream::start().await;
        let setup = Setup::probe_at(&upstream.origin(), BOB_IS_HELD)
            .shared_rules()
            .toml("[approvals]\nper_minute = 1000");
        let (folder, home) = setup.make().await;
        let mut daemon = Daemon::start(&home).await;
        let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
        let ada = run(&home, &["person", "add", "ada"]).await;
        assert_eq!(ada.code, 0, "{ada:?}");
        daemon.kill().await;
        Self {
            number,
            // Each lane has deaths of its own.
            random: Random::from(u64::from(std::process::id()) * 256 + number as u64),
            upstream,
            home,
            _folder: folder,
            alice,
            bob,
            ada: ada.out.trim().to_owned(),
            told: BTreeSet::new(),
            approved: Vec::new(),
        }
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.upstream.plain);
        json!({"requirement": "api", "method": "GET", "url": url})
    }

    /// Starts the program, gives it work, and kills it somewhere in the middle of that.
    async fn life(&mut self, life: usize) {
        let mut daemon = Daemon::start(&self.home).await;
        // What people agreed to and nobody used, in one life or another, is there to be used.
        let mut work = JoinSet::new();
        for (id, path) in std::mem::take(&mut self.approved) {
            if self.status(&id).await == "approved" {
                work.spawn(once(daemon.client(&self.bob), self.get(&path)));
                self.approved.push((id, path));
            }
        }
        let asks = life.is_multiple_of(4);
        if asks {
            let path = format!("/approved/{}/{life}", self.number);
            let held = daemon.client(&self.bob);
            let held = held.call("probe_send", &self.get(&path)).await;
            let id = held["_meta"]["dev.tollgate/refusal"]["approvalId"]
                .as_str()
                .unwrap();
            let said = run_as(&self.home, &self.ada, &["approvals", "approve", id]).await;
            assert_eq!(said.code, 0, "{said:?}");
            self.approved.push((id.to_owned(), path.clone()));
            // Twice at once: it is used once.
            for _ in 0..2 {
                work.spawn(once(daemon.client(&self.bob), self.get(&path)));
            }
        }
        for stream in 0..3 {
            let (client, alice) = (daemon.client(&self.alice), self.number);
            let url = format!(
                "http://{}/free/{alice}/{life}/{stream}",
                self.upstream.plain
            );
            work.spawn(async move {
                let mut told = Vec::new();
                for number in 0.. {
                    let url = format!("{url}/{number}");
                    let send = json!({"requirement": "api", "method": "GET", "url": url});
                    let echo = json!({"text": url});
                    for (tool, arguments) in [("probe_send", &send), ("probe_echo", &echo)] {
                        let Some(answer) = client.try_call(tool, arguments).await else {
                            return told;
                        };
                        told.extend(ran(&answer));
                    }
                }
                told
            });
        }
        // So many requests further, and a little: anywhere between two steps of a call.
        let seen = self.upstream.arrivals();
        let more = usize::try_from(self.random.below(8)).unwrap();
        self.upstream.arrived(seen + more).await;
        for _ in 0..self.random.below(400) {
            tokio::task::yield_now().await;
        }
        daemon.kill().await;
        while let Some(told) = work.join_next().await {
            self.told.extend(told.unwrap());
        }
    }

    async fn status(&self, id: &str) -> String {
        let show = ["--format", "json", "approvals", "show", id];
        let said = run_as(&self.home, &self.ada, &show).await;
        assert_eq!(said.code, 0, "{said:?}");
        let status = said.lines()[0]["status"].as_str().unwrap().to_owned();
        assert!(["approved", "used"].contains(&status.as_str()), "{status}");
        status
    }

    /// Starts it a last time, and holds what is written against what happened. How many calls were cut
    /// short.
    async fn end(self) -> usize {
        let mut daemon = Daemon::start(&self.home).await;
        for (id, path) in &self.approved {
            if self.status(id).await == "approved" {
                let ran = daemon.client(&self.bob);
                let ran = ran.call("probe_send", &self.get(path)).await;
                assert_eq!(ran["structuredContent"]["status"], 200, "{ran}");
                assert_eq!(self.status(id).await, "used");
            }
        }
        daemon.stop().await;
        assert_verifies(&self.home.journal());
        let written = Written::of(&self.home);
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        for request in self.upstream.ledger().await {
            let path = request.line().split(' ').nth(1).unwrap().to_owned();
            *sent.entry(path).or_default() += 1;
        }
        for (path, times) in &sent {
            assert_eq!(*times, 1, "{path} was sent again");
            let url = format!("http://{}{path}", self.upstream.plain);
            assert!(written.targets.contains(&url), "{path} is nowhere written");
        }
        let lost: Vec<_> = self.told.difference(&written.ended).collect();
        assert!(lost.is_empty(), "answered, and not written: {lost:?}");
        for (call, ends) in &written.calls {
            assert_eq!(*ends, 1, "{call} has {ends} ends");
        }
        for (id, uses) in &written.uses {
            assert_eq!(*uses, 1, "{id} was used {uses} times");
        }
        written.calls.len() - written.ended.len()
    }
}

/// What the journal says.
#[derive(Default)]
struct Written {
    /// Targets of host calls that were about to happen.
    targets: BTreeSet<String>,
    /// How many ends each call that began has: its outcome, or that it is not known.
    calls: BTreeMap<String, usize>,
    /// Calls with an outcome.
    ended: BTreeSet<String>,
    uses: BTreeMap<String, usize>,
}

impl Written {
    fn of(home: &Home) -> Self {
        let mut written = Self::default();
        let end = |written: &mut Self, call: CallId| {
            if let Some(ends) = written.calls.get_mut(&call.to_string()) {
                *ends += 1;
            }
        };
        for record in records(&home.journal()) {
            match record.event {
                Event::Intent(intent) => {
                    written.calls.insert(intent.call.to_string(), 0);
                }
                Event::HostCall(made) => {
                    written.targets.insert(made.host_call.target);
                }
                Event::Outcome(outcome) => {
                    end(&mut written, outcome.call);
                    written.ended.insert(outcome.call.to_string());
                }
                Event::Recovered(recovered) => {
                    for call in recovered.unknown {
                        end(&mut written, call);
                    }
                }
                Event::ApprovalUsed(used) => {
                    *written.uses.entry(used.approval.to_string()).or_default() += 1;
                }
                _ => {}
            }
        }
        written
    }
}

/// One call, and its id where its answer came and it ran.
async fn once(client: Client, arguments: Value) -> Vec<String> {
    let answer = client.try_call("probe_send", &arguments).await;
    answer.as_ref().and_then(ran).into_iter().collect()
}

fn ran(answer: &Value) -> Option<String> {
    let call = answer["_meta"]["dev.tollgate/call"].as_str()?;
    (answer["isError"] == false).then(|| call.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn kill_9_at_any_point_loses_nothing_and_repeats_nothing() {
    let _killed = crate::attacks::stands_for("D01");
    let _cut_short = crate::attacks::stands_for("D03");
    let _nothing_missing = crate::attacks::stands_for("L11");
    let mut lanes = JoinSet::new();
    for number in 0..LANES {
        lanes.spawn(async move {
            let mut lane = Lane::begin(number).await;
            for life in 0..kills().div_ceil(LANES) {
                lane.life(life).await;
            }
            lane.end().await
        });
    }
    let mut cut_short = 0;
    while let Some(ended) = lanes.join_next().await {
        cut_short += ended.unwrap();
    }
    assert!(cut_short > 0, "no death came between two steps of a call");
    let report = format!(
        "{} deaths in {LANES} homes; {cut_short} calls were cut short, and each is known to be\n",
        kills().div_ceil(LANES) * LANES
    );
    eprint!("{report}");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash.txt");
    std::fs::write(place, report).unwrap();
}
